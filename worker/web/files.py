"""Files for browsers: what a download is called, and for how long they may keep what never changes while we run."""

import hashlib
import re
import unicodedata
from functools import cache
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from worker.store.jobs import JobStatus

STATIC = Path(__file__).parent / "static"
FOR_EVER = "public, max-age=31536000, immutable"
FOR_A_DAY = "public, max-age=86400"
LONGEST_STEM = 80
# What a download of ours adds to a name: a result file that is handed in again gets no longer a name each time.
_OURS = re.compile(r"(\.\d{6}-[a-z0-9]{6}\.[a-z][a-z0-9-]*)+$")
_NOT_IN_A_NAME = re.compile(r'[\x00-\x1f\x7f"*/:<>?\\|]')

router = APIRouter(include_in_schema=False)


@cache
def address_of(name: str) -> str:
    """The address of this file as it is now, with its version in it: browsers need not ask again. Raises: OSError."""
    return f"/static/{name}?{_version(name)}"


@cache
def _version(name: str) -> str:
    return f"v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]}"


class Statics(StaticFiles):
    """The folder `static`. Who asks for the version that is here may keep it for ever.

    Another version is that of another process, of before or after an update: it is answered with what is here, and not
    kept.
    """

    def __init__(self) -> None:
        super().__init__(directory=STATIC)

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        if answer.status_code < 400 and scope["query_string"].decode("latin-1") == _version(path):
            answer.headers["Cache-Control"] = FOR_EVER
        return answer


@router.get("/favicon.ico")
def favicon() -> Response:
    """Asked for by browsers where no page names an icon."""
    return FileResponse(STATIC / "favicon.ico", headers={"Cache-Control": FOR_A_DAY})


def download_name(job: JobStatus, which: str, kind: str = "csv") -> str:
    """`spring.261122-bcdfgh.failed.csv`: the job's file, the job, and which of its rows."""
    stem = job.source_name.rpartition(".")[0] or job.source_name
    stem = _NOT_IN_A_NAME.sub("_", _OURS.sub("", stem)).strip(" .")[:LONGEST_STEM]
    return ".".join(filter(None, (stem, job.id, which, kind)))


def attachment(name: str) -> dict[str, str]:
    """The header that has a browser save what comes under this name."""
    name = _NOT_IN_A_NAME.sub("_", name)  # Cyclr's names of connectors, too
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    whole = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return {"Content-Disposition": f'attachment; filename="{plain}"{whole}'}
