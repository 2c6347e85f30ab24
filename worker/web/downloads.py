"""What a downloaded file is called."""

import re
import unicodedata
from urllib.parse import quote

from worker.store.jobs import JobStatus

LONGEST_STEM = 80
# What a download of ours adds to a name: a result file that is handed in again gets no longer a name each time.
_OURS = re.compile(r"(\.\d{6}-[a-z0-9]{6}\.[a-z][a-z0-9-]*)+$")
_NOT_IN_A_NAME = re.compile(r'[\x00-\x1f\x7f"*/:<>?\\|]')


def download_name(job: JobStatus, which: str) -> str:
    """`spring.261122-bcdfgh.failed.csv`: the job's file, the job, and which of its rows."""
    stem = job.source_name.rpartition(".")[0] or job.source_name
    stem = _NOT_IN_A_NAME.sub("_", _OURS.sub("", stem)).strip(" .")[:LONGEST_STEM]
    return ".".join(filter(None, (stem, job.id, which, "csv")))


def attachment(name: str) -> dict[str, str]:
    """The header that has a browser save what comes under this name."""
    name = _NOT_IN_A_NAME.sub("_", name)  # Cyclr's names of connectors, too
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    whole = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return {"Content-Disposition": f'attachment; filename="{plain}"{whole}'}
