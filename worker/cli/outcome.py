"""How a run ended: where its result file goes, the failures by reason, the exit code, and what to do next.

A result file never goes over the input, nor over what is no result file of ours.
"""

import csv
import itertools
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from worker.cli.exits import ALL_INSTALLED, SOME_FAILED, STOPPED, say, say_all, tell
from worker.cli.options import file_argument, quoted
from worker.cli.report import WAYS, counts_line, failure_lines
from worker.domain.states import JobState, PauseReason
from worker.domain.wording import counted
from worker.domain.words import PAUSES
from worker.jobs.results import write_result_file
from worker.store.jobs import JobStatus
from worker.store.session import Engine
from worker.store.tallies import list_failures

if TYPE_CHECKING:
    from worker.bootstrap.place import Place


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


def conclude_run(
    place: "Place",
    job: JobStatus,
    result_path: ResultPath,
    *,
    how_to_go_on: str,
    how_to_retry: Sequence[str] | None = None,
) -> int:
    """Write the result file, say how the run ended; the exit code.

    `how_to_go_on`: the command for a job that was stopped. `how_to_retry`: what to do about failed rows, in lines; None: the usual.
    """
    engine = place.database.engine
    # Written before anything is said: whoever reads what is said may have gone.
    path = _write_results(engine, job.id, _places(place, job.id, result_path))
    return say_outcome(
        engine, job, path, how_to_go_on=how_to_go_on, how_to_retry=how_to_retry or _how_to_retry(job, path)
    )


def say_outcome(
    engine: Engine, job: JobStatus, path: Path | None, *, how_to_go_on: str, how_to_retry: Sequence[str]
) -> int:
    """Say how a job ended or where it stopped; the exit code. `path`: of its result file, where one was written."""
    tell(counts_line(job))
    say_all(failure_lines(list_failures(engine, job.id), job.failed, job.id), tell)
    if path is not None:
        tell(f"Results, one line for every row: {path}")
    if job.state is JobState.COMPLETED:
        return _completed(job, how_to_retry)
    if job.state is JobState.CANCELLED:
        say(f"Job {job.id} was cancelled.")
        return STOPPED
    _paused(job, how_to_go_on)
    return STOPPED


def _places(place: "Place", job_id: str, result_path: ResultPath) -> tuple[Path, Path]:
    """Where the result file goes, and where it goes if it cannot go there."""
    home = place.settings.cyclr_bulk_home.expanduser()
    return result_path.for_job(job_id), home / f"{job_id}.results.csv"


def _write_results(engine: Engine, job_id: str, places: tuple[Path, Path]) -> Path | None:
    for path in places:
        try:
            write_result_file(engine, job_id, path, ways=WAYS)
        except OSError as error:
            say(f"The result file {path} could not be written: {error.strerror or error}.")
        else:
            return path
    say("Make room, then run the same file again: what is installed is found, and not installed twice.")
    return None


def _completed(job: JobStatus, how_to_retry: Sequence[str]) -> int:
    if not job.failed and not job.refused and not job.cancelled:
        return ALL_INSTALLED
    say_all(how_to_retry)
    return SOME_FAILED


def _how_to_retry(job: JobStatus, path: Path | None) -> Sequence[str]:
    if path is None:
        return ("Some rows are not installed.",)
    which = "the failed rows" if job.failed or job.cancelled else "the refused rows"
    fill = " (refused rows need their credentials filled in again)" if job.refused else ""
    command = f"cyclr-bulk run {quoted(file_argument(path))}"
    return (
        f"To try {which} again, mend what their messages name{fill} and run the result file:",
        f"  {command}",
    )


def _paused(job: JobStatus, how_to_go_on: str) -> None:
    reason = job.pause_reason or PauseReason.INTERRUPTED
    left = f"{counted(job.left, 'row')} {'is' if job.left == 1 else 'are'} left"
    say(f"Job {job.id} is paused: {PAUSES[reason].title}. {left}.")
    say(f"{PAUSES[reason].advice.removesuffix('.')}:")
    say(f"  {how_to_go_on}")
