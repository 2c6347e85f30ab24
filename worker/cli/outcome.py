"""How a run ended: the result file, the failures by reason, the exit code, and what to do next."""

import shlex

import typer

from worker.cli.exits import ALL_INSTALLED, SOME_FAILED, STOPPED, say
from worker.cli.report import show_counts, show_failures
from worker.cli.result_path import ResultPath
from worker.cli.session import Session
from worker.domain.states import PAUSE_MESSAGES, JobState, PauseReason
from worker.jobs import write_result_file
from worker.store.jobs import JobStatus, count_waiting_for_authorisation, list_failures

RETRY = "To try the failed rows again, mend what their messages name and run the result file:"
WHAT_TO_DO = {
    PauseReason.TOO_MANY_FAILURES: "Look at the reasons above, mend what they name, then go on:",
    PauseReason.PARTNER_CREDENTIALS: "Correct CYCLR_CLIENT_ID and CYCLR_CLIENT_SECRET, then go on:",
    PauseReason.WRONG_API_URL: "Correct CYCLR_API_URL and run the file again:",
    PauseReason.RELEASE_CHANGED: "Check the file against the new release (cyclr-bulk check), then go on:",
}


def conclude_run(
    session: Session,
    job: JobStatus,
    result_path: ResultPath,
    *,
    delimiter: str,
    how_to_go_on: str,
    how_to_retry: str | None = None,
) -> int:
    """Write the result file, say how the run ended; the exit code.

    `how_to_go_on`: the command for a job that was stopped. `how_to_retry`: what to do about failed rows; None: the usual.
    """
    engine = session.database.engine
    show_counts(job, count_waiting_for_authorisation(engine, job.id))
    show_failures(list_failures(engine, job.id))
    path = result_path.for_job(job.id)
    try:
        write_result_file(engine, job.id, path, delimiter=delimiter)
        typer.echo(f"Results, one line for every row: {path}")
    except OSError as error:
        say(
            f"The result file {path} could not be written: {error.strerror}. Run the same command again to write it."
        )
    if job.state is JobState.COMPLETED:
        return _completed(job, how_to_retry or f"{RETRY}\n  cyclr-bulk run {quoted(path)}")
    if job.state is JobState.CANCELLED:
        say(f"Job {job.id} was cancelled.")
        return STOPPED
    reason = job.pause_reason or PauseReason.INTERRUPTED
    say(f"Job {job.id} is paused: {PAUSE_MESSAGES[reason]}. {job.left:,} rows are left.")
    say(WHAT_TO_DO.get(reason, "Go on with:"))
    say(f"  {how_to_go_on}")
    return STOPPED


def _completed(job: JobStatus, how_to_retry: str) -> int:
    if not job.failed and not job.refused and not job.cancelled:
        return ALL_INSTALLED
    say(how_to_retry)
    return SOME_FAILED


def quoted(word: object) -> str:
    """The word as it is typed in a shell."""
    return shlex.quote(str(word))
