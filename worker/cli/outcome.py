"""How a run ended: the result file, the failures by reason, the exit code, and what to do next."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from worker.cli.commands import file_argument, quoted
from worker.cli.exits import ALL_INSTALLED, SOME_FAILED, STOPPED, say, say_all, tell
from worker.cli.failures import failure_lines
from worker.cli.report import WAYS, counts_line
from worker.cli.result_path import ResultPath
from worker.domain.states import JobState, PauseReason
from worker.domain.wording import counted
from worker.domain.words import PAUSES
from worker.jobs.results import write_result_file
from worker.store.jobs import JobStatus
from worker.store.session import Engine
from worker.store.tallies import list_failures

if TYPE_CHECKING:
    from worker.cli.session import Session


def conclude_run(
    session: "Session",
    job: JobStatus,
    result_path: ResultPath,
    *,
    how_to_go_on: str,
    how_to_retry: Sequence[str] | None = None,
) -> int:
    """Write the result file, say how the run ended; the exit code.

    `how_to_go_on`: the command for a job that was stopped. `how_to_retry`: what to do about failed rows, in lines; None: the usual.
    """
    engine = session.database.engine
    # Written before anything is said: whoever reads what is said may have gone.
    path = _write_results(engine, job.id, _places(session, job.id, result_path))
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


def _places(session: "Session", job_id: str, result_path: ResultPath) -> tuple[Path, Path]:
    """Where the result file goes, and where it goes if it cannot go there."""
    home = session.settings.cyclr_bulk_home.expanduser()
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
