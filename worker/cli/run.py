"""`cyclr-bulk run`: check, ask, install, write the result file; and go on where an earlier run stopped."""

import sys
from contextlib import ExitStack
from pathlib import Path

import typer

from worker.cli.check import check, settings_or_offline_check, show_check
from worker.cli.exits import ALL_INSTALLED, NOTHING_DONE, STOPPED, failures_in_words, say
from worker.cli.outcome import conclude_run, quoted
from worker.cli.progress import Activity
from worker.cli.report import in_words
from worker.cli.result_path import ResultPath
from worker.cli.session import Session
from worker.cli.watching import see_through
from worker.domain.states import PAUSE_MESSAGES, JobState
from worker.intake import Source, open_source
from worker.jobs import Checked, RunOptions, fingerprint, load_job
from worker.settings import CyclrSettings
from worker.store.jobs import JobStatus, find_unfinished_job, list_unfinished_jobs, resume_job
from worker.store.loading import new_job_id


def run_command(file: Path, options: RunOptions, results: Path | None, *, is_sure: bool) -> None:
    with ExitStack() as stack:
        with failures_in_words():
            source = open_source(file)
            result_path = ResultPath(file, results)
            settings = settings_or_offline_check(source, options)
            _require_an_answer(is_sure=is_sure)
            session = stack.enter_context(Session(settings, needs_workers=True))
            job_id = _prepare(stack, session, source, options, is_sure=is_sure)
        job = see_through(session, job_id)
        code = conclude_run(
            session, job, result_path, delimiter=source.delimiter, how_to_go_on=_again(file, options)
        )
    raise typer.Exit(code)


def _require_an_answer(*, is_sure: bool) -> None:
    if not is_sure and not sys.stdin.isatty():
        say("There is no terminal to ask on: add --yes to install without a question.")
        say("Nothing was installed.")
        raise typer.Exit(NOTHING_DONE)


def _prepare(
    stack: ExitStack, session: Session, source: Source, options: RunOptions, *, is_sure: bool
) -> str:
    """The id of a job that runs and is watched: the unfinished one of this file, or a new one."""
    print_of_file = fingerprint(source.content_hash, options, session.database.instance_id)
    unfinished = find_unfinished_job(session.database.engine, session.database.instance_id, print_of_file)
    _name_other_jobs(session, unfinished)
    if unfinished is not None:
        _go_on(stack, session, unfinished, options, is_sure=is_sure)
        return unfinished.id
    checked = check(session, source, options)
    show_check(checked, session.settings.cyclr_calls_per_second)
    _require_installable(checked, options)
    _ask(_question(checked, options, session.settings), is_sure=is_sure)
    return load(stack, session, checked, options)


def _require_installable(checked: Checked, options: RunOptions) -> None:
    if checked.survey.problems or (checked.problem_count and not options.skip_invalid):
        hint = (
            ""
            if checked.survey.problems or not checked.planned
            else ", or add --skip-invalid to leave those rows out"
        )
        say(f"Nothing was installed. Correct the file{hint}.")
        raise typer.Exit(NOTHING_DONE)
    if not checked.planned and checked.refused:
        say("Nothing was installed: every row that is not installed already has a problem.")
        raise typer.Exit(NOTHING_DONE)
    if not checked.planned:
        typer.echo("Nothing to do: every row is installed already.")
        raise typer.Exit(ALL_INSTALLED)


def _question(checked: Checked, options: RunOptions, settings: CyclrSettings) -> str:
    rows = checked.planned
    first = (
        f"the first {options.first:,} of {rows:,}" if options.first and options.first < rows else f"{rows:,}"
    )
    parts = [f"Install {first} connectors at {settings.api_host}?"]
    if options.looks_first:
        parts.append("Each account is looked into first, which doubles the calls.")
    if checked.refused:
        parts.append(f"{checked.refused:,} rows with problems are left out.")
    duration = in_words(checked.estimate.duration_s(settings.cyclr_calls_per_second))
    parts.append(f"All of it takes about {duration} at {settings.cyclr_calls_per_second:g} calls/s.")
    return " ".join(parts)


def _ask(question: str, *, is_sure: bool) -> None:
    if is_sure:
        say(question.replace("?", ".", 1))
        return
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        agreed = False
    if not agreed:
        say("Declined. Nothing was installed.")
        raise typer.Exit(STOPPED)


def _go_on(stack: ExitStack, session: Session, job: JobStatus, options: RunOptions, *, is_sure: bool) -> None:
    standing = f"job {job.id} of {job.source_name}: {job.final:,} of {job.total:,} rows are done"
    if job.state is JobState.RUNNING:
        say(f"Another command is installing this file ({standing}). Watching it.")
        stack.enter_context(session.watch(job.id))
        return
    why = f" It stopped because {PAUSE_MESSAGES[job.pause_reason]}." if job.pause_reason else ""
    more = f" with the next {options.first:,} rows" if options.first else ""
    _ask(f"Go on{more} at {session.settings.api_host}? This is {standing}.{why}", is_sure=is_sure)
    stack.enter_context(session.watch(job.id))
    resume_job(session.database.engine, job.id, first=options.first)
    session.ring()


def load(stack: ExitStack, session: Session, checked: Checked, options: RunOptions) -> str:
    """The id of the new job: running, and watched while `stack` lasts."""
    database = session.database
    job_id = new_job_id(session.now())
    # Watched before its first row is written: a command that starts now must not take it for abandoned.
    stack.enter_context(session.watch(job_id))
    with Activity() as activity:
        load_job(
            checked,
            options,
            engine=database.engine,
            sealer=database.sealer,
            instance_id=database.instance_id,
            job_id=job_id,
            on_rows=lambda count: activity.say(f"loading: {count:,} rows"),
        )
    session.ring()
    return job_id


def _name_other_jobs(session: Session, mine: JobStatus | None) -> None:
    for job in list_unfinished_jobs(session.database.engine):
        if mine is not None and job.id == mine.id:
            continue
        state = f"paused: {PAUSE_MESSAGES[job.pause_reason]}" if job.pause_reason else job.state
        say(
            f"Left alone: job {job.id} of {job.source_name}, {job.final:,} of {job.total:,} rows done ({state})."
        )


def _again(file: Path, options: RunOptions) -> str:
    """The command that goes on with the same job."""
    words = ["cyclr-bulk", "run", str(file)]
    if options.connector:
        words += ["--connector", options.connector]
    words += ["--skip-invalid"] if options.skip_invalid else []
    words += ["--look-first"] if options.look_first else []
    words += ["--if-present", "skip"] if options.skip_if_present else []
    return " ".join(map(quoted, words))
