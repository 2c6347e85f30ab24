"""`cyclr-bulk submit`: check, ask, hand the file to the workers of a deployment."""

from contextlib import ExitStack
from pathlib import Path

import typer

from worker.cli.check import check, settings_or_offline_check, show_check
from worker.cli.exits import ALL_INSTALLED, NOTHING_DONE, failures_in_words, say, tell
from worker.cli.piped import is_piped, opened_source
from worker.cli.report import standing
from worker.cli.run import agree, load, question, require_an_answer, require_installable
from worker.cli.workplace import Deployment, open_deployment
from worker.domain.states import JobState
from worker.intake import Source
from worker.intake.findings import Rejected
from worker.jobs.options import RunOptions, Unfinished, find_unfinished


def submit_command(file: Path, options: RunOptions, *, is_sure: bool) -> None:
    with failures_in_words(), ExitStack() as stack:
        if is_piped(file):
            require_an_answer(is_sure=is_sure)  # at once: what is read from a pipe then is lost
        source = stack.enter_context(opened_source(file))
        settings = settings_or_offline_check(source, options, needs_deployment=True)
        require_an_answer(is_sure=is_sure)
        deployment = open_deployment(stack, settings)
        begun = _find_begun(deployment, source, options)
        if begun is not None:
            raise typer.Exit(_submitted_before(begun, options))
        job_id = _submit(stack, deployment, source, options, is_sure=is_sure)
        tell(job_id)
        say(f"Submitted. Watch it with `cyclr-bulk watch {job_id}`.")


def _find_begun(deployment: Deployment, source: Source, options: RunOptions) -> Unfinished | None:
    database = deployment.database
    return find_unfinished(database.engine, database.instance_id, source.content_hash, options)


def _submit(
    stack: ExitStack, deployment: Deployment, source: Source, options: RunOptions, *, is_sure: bool
) -> str:
    checked = check(deployment, source, options)
    # Somebody else may have submitted this very file meanwhile.
    if checked.live and (begun := _find_begun(deployment, source, options)) is not None:
        raise typer.Exit(_submitted_before(begun, options))
    show_check(checked, to=say)
    require_installable(deployment, checked, options)
    agree(question(checked, options, deployment.settings), is_sure=is_sure)
    try:
        return load(stack, deployment, checked, options)
    except Rejected:
        begun = _find_begun(deployment, source, options)
        if begun is None:
            raise
    raise typer.Exit(_submitted_before(begun, options))


def _submitted_before(unfinished: Unfinished, options: RunOptions) -> int:
    """The same file once more: its job goes on if it is running, whoever submits again after a lost connection."""
    job = unfinished.job
    if not unfinished.has_options(options):
        say(f"This file was submitted with other options: {standing(job)}. Nothing was installed.")
        say(f"To begin anew, end that job first: `cyclr-bulk cancel {job.id}`.")
        return NOTHING_DONE
    if job.state is JobState.PAUSED:
        say(f"This file was submitted before, and paused: {standing(job)}. Nothing was changed.")
        say(f"Let it go on with `cyclr-bulk resume {job.id}`, or end it with `cyclr-bulk cancel {job.id}`.")
        return NOTHING_DONE
    tell(job.id)
    say(f"This file was submitted before: {standing(job)}. Watch it with `cyclr-bulk watch {job.id}`.")
    return ALL_INSTALLED
