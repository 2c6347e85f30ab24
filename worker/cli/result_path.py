"""Where the result file goes: never over the input, never over what is no result file of ours."""

import csv
import itertools
import os
import re
import tempfile
from pathlib import Path


class ResultPath:
    """`given`: as named by a person, or None for a name beside the input.

    A name that was given may be that of an earlier result file, which is replaced; a name of our own choice
    replaces none but the same job's.
    """

    def __init__(self, file: Path, given: Path | None) -> None:
        """Raises: OSError where nothing can be written there, or something else would be lost."""
        self._file = file
        # What came through a pipe has only a name: nothing is there to be kept.
        self._input = file.stat() if file.exists() else None
        self._given = given
        _require_writable((given or file).parent, " with --results")
        if given is not None and given.exists():
            self._require_ours(given)

    def for_job(self, job_id: str) -> Path:
        """The path for this job's results. The same job gets the same path again."""
        if self._given is not None:
            return self._given
        stem = re.sub(r"\.results(-\d+)?$", "", self._file.stem)
        for number in itertools.count(1):
            suffix = "" if number == 1 else f"-{number}"
            path = self._file.with_name(f"{stem}.results{suffix}.csv")
            if not path.exists() or (not self._is_input(path) and job_id in (_jobs_of(path) or ())):
                return path
        raise AssertionError("unreachable")

    def _require_ours(self, given: Path) -> None:
        if self._is_input(given):
            raise OSError(None, "this is the input; name another file with --results", str(given))
        if given.is_dir():
            raise OSError(
                None, "expected a file for the results, got a folder; name a file in it", str(given)
            )
        _require_file(given)
        if _jobs_of(given) is None:
            raise OSError(
                None, "it exists and is no result file of cyclr-bulk; name another with --results", str(given)
            )

    def _is_input(self, path: Path) -> bool:
        return self._input is not None and os.path.samestat(path.stat(), self._input)


def require_result_path(path: Path) -> None:
    """For a job whose input is not at hand. Raises: OSError where nothing can be written there, or something else
    would be lost."""
    _require_writable(path.parent)
    if path.is_dir():
        raise OSError(None, "expected a file for the results, got a folder; name a file in it", str(path))
    _require_file(path)
    if path.exists() and _jobs_of(path) is None:
        reason = "it exists and is no result file of cyclr-bulk; name another"
        raise OSError(None, reason, str(path))


def _require_file(path: Path) -> None:
    """A result file appears whole or not at all, which no pipe does; and who looked into one would wait there."""
    if path.exists() and not path.is_file():
        raise OSError(None, "expected a file for the results, got a pipe or a device; name a file", str(path))


def _require_writable(folder: Path, how: str = "") -> None:
    if not folder.is_dir():
        reason = f"there is no such folder for the result file; make it, or name another{how}"
        raise OSError(None, reason, str(folder))
    try:
        # Tried, since the permission bits do not tell it all: a full or foreign disk, a read-only mount.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = f"no result file can be written there ({error.strerror}); name another place{how}"
        raise OSError(None, reason, str(folder)) from None


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
