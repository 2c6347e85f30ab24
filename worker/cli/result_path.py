"""Where the result file goes: never over the input, never over what is not ours, never over another job's."""

import csv
import itertools
import os
import re
from pathlib import Path


class ResultPath:
    """`given`: as named by a person, or None for a name beside the input."""

    def __init__(self, file: Path, given: Path | None) -> None:
        """Raises: OSError where nothing can be written there, or something else would be lost."""
        self._file = file
        self._given = given
        folder = (given or file).absolute().parent
        if not folder.is_dir():
            raise OSError(None, "expected an existing folder for the result file", str(folder))
        if not os.access(folder, os.W_OK):
            raise OSError(
                None,
                "the result file cannot be written there; name another place with --results",
                str(folder),
            )
        if given is not None and given.exists():
            if given.samefile(file):
                raise OSError(None, "this is the input; name another file with --results", str(given))
            if given.is_dir() or _jobs_of(given) is None:
                raise OSError(
                    None,
                    "it exists and is no result file of cyclr-bulk; name another with --results",
                    str(given),
                )

    def for_job(self, job_id: str) -> Path:
        """The path for this job's results. The same job gets the same path again."""
        if self._given is not None:
            return self._given
        stem = re.sub(r"\.results(-\d+)?$", "", self._file.stem)
        for number in itertools.count(1):
            suffix = "" if number == 1 else f"-{number}"
            path = self._file.with_name(f"{stem}.results{suffix}.csv")
            if not path.exists():
                return path
            if path.samefile(self._file):
                continue
            if job_id in (_jobs_of(path) or ()):
                return path
        raise AssertionError("unreachable")


def _jobs_of(path: Path) -> set[str] | None:
    """The ids of the jobs in a result file; None for any other file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            first_line = text.readline()
            delimiter = max(",;\t|", key=first_line.count)
            text.seek(0)
            rows = csv.DictReader(text, delimiter=delimiter)
            if "_job" not in (rows.fieldnames or ()):
                return None
            return {row["_job"] for row in rows if row["_job"]}
    except (OSError, UnicodeError, csv.Error):
        return None
