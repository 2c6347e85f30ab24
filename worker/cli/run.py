"""`cyclr-bulk run` and `update`: check, ask, see it through, write the result file; and go on where an earlier command stopped.

`cyclr-bulk submit`: check, ask, hand the file to the workers of a place.
"""

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from worker.bootstrap.place import Place
from worker.cli.check import check, find_in_the_way, settings_or_offline_check, show_check
from worker.cli.files import ResultPath, as_typed, is_piped, known_as, opened_source
from worker.cli.home import TendedHome
from worker.cli.options import FileArgument, YesOption, run_again, takes_options
from worker.cli.place import opened_place
from worker.cli.report import NOTHING_TO_DO, conclude_run, home_lines, in_the_way_lines, unfinished_lines
from worker.cli.terminal import (
    ALL_DONE,
    NOTHING_CHANGED,
    NOTHING_DONE,
    STOPPED,
    agrees,
    can_ask,
    failures_in_words,
    interrupts_in_words,
    say,
    say_all,
    tell,
)
from worker.cli.watching import Activity, see_through
from worker.domain.options import OPTIONS, UPDATE_OPTIONS, RunOptions
from worker.domain.states import JobState
from worker.domain.words import PAUSES, counted, in_words
from worker.intake import Source
from worker.intake.findings import Rejected
from worker.jobs.checking import Checked
from worker.jobs.loading import Unfinished, find_unfinished, load_job
from worker.settings import CyclrSettings
from worker.store.faults import lost_database_in_words
from worker.store.job_states import resume_job
from worker.store.jobs import JobStatus, list_unfinished_jobs
from worker.store.loading import new_job_id
from worker.store.memory import LOADER_SILENT_S, OtherLoad

SAID_AFTER_S = 3.0
RUN_EXAMPLES = """\b
Examples:
  cyclr-bulk run accounts.csv --first 5
  cyclr-bulk run accounts.csv --connector Mailchimp --yes
  cyclr-bulk run accounts.csv --no-look     into accounts that are empty
  cyclr-bulk run accounts.results.csv       the rows that failed, once more
  cyclr-bulk run accounts.results.csv --overwrite      and over what differs

\b
Exit codes:
  0  all rows are done; some may wait for the customer's authorisation
  1  some rows failed or were refused
  2  the file, a setting or the usage is wrong: nothing was changed
  3  stopped before the end, or declined; run it again to go on"""
UPDATE_EXAMPLES = """\b
Examples:
  cyclr-bulk update keys.csv --first 5
  cyclr-bulk update keys.csv --connector Mailchimp --yes
  cyclr-bulk update keys.results.csv      the rows that failed, once more

\b
Exit codes:
  0  all rows are done: what they name is there
  1  some rows failed or were refused: not all is as they ask
  2  the file, a setting or the usage is wrong: nothing was changed
  3  stopped before the end, or declined; type it again to go on"""
SUBMIT_EXAMPLES = """\b
Examples:
  cyclr-bulk submit accounts.csv
  cyclr-bulk submit keys.csv --for update
  JOB=$(cyclr-bulk submit accounts.csv --yes) && cyclr-bulk watch $JOB

\b
Exit codes:
  0  submitted, now or before; its id is on stdout
  2  the file, a setting or the usage is wrong: nothing was submitted
  3  declined"""

app = typer.Typer(rich_markup_mode=None)
ResultsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="OUT.csv",
        help="Where the result file goes, a workbook where it ends in .xlsx. An earlier result file there is replaced. Default: beside FILE,"
        " named NAME.results.csv.",
    ),
]


@app.command("run", epilog=RUN_EXAMPLES)
@takes_options(*(name for name in OPTIONS if name != "operation"))
def run_command(
    file: FileArgument, options: RunOptions, results: ResultsOption = None, yes: YesOption = False
) -> None:
    """Install what FILE asks for, or fill in what is missing of it, in the instance named by CYCLR_API_URL, and write a result
    for every row. What is there with other values is left alone, unless --overwrite is given.

    Run it again after any interruption: it goes on where it was.
    """
    _work_through(file, options, results, is_sure=yes)


@app.command("update", epilog=UPDATE_EXAMPLES)
@takes_options(*UPDATE_OPTIONS, operation="update")
def update_command(
    file: FileArgument, options: RunOptions, results: ResultsOption = None, yes: YesOption = False
) -> None:
    """Set what FILE names, credentials and properties, in connectors that are installed, and write a result for every row.
    Nothing is created, and what FILE does not name stays as it is.

    Type it again after any interruption: it goes on where it was.
    """
    _work_through(file, options, results, is_sure=yes)


def _work_through(file: Path, options: RunOptions, results: Path | None, *, is_sure: bool) -> None:
    with ExitStack() as stack:
        with failures_in_words():
            if is_piped(file):
                require_an_answer(is_sure=is_sure)  # at once: what is read from a pipe then is lost
            source = stack.enter_context(opened_source(file, options))
            result_path = ResultPath(known_as(file), results)
            settings = settings_or_offline_check(source, options)
            require_an_answer(is_sure=is_sure)
            say_all(home_lines(settings))
            home = stack.enter_context(TendedHome(settings, needs_workers=True))
            with lost_database_in_words(home.database.engine):
                job_id = _prepare(stack, home, source, file, options, is_sure=is_sure)
        with (
            failures_in_words(
                nothing_done=f"Job {job_id} is kept: run the same file again to go on.", code=STOPPED
            ),
            lost_database_in_words(home.database.engine),
        ):
            job = see_through(home, job_id)
        with interrupts_in_words(f"Job {job_id} is kept, its result file was not written."):
            code = conclude_run(
                home,
                job,
                result_path,
                options=options,
                how_to_go_on=(
                    # Its rows are here, and need not come once more.
                    f"cyclr-bulk resume {job_id}" if is_piped(file) else run_again(file, options, results)
                ),
            )
    raise typer.Exit(code)


def require_an_answer(*, is_sure: bool) -> None:
    if not is_sure and not can_ask():
        say("There is no terminal to ask on: add --yes to begin without a question.")
        say(NOTHING_CHANGED)
        raise typer.Exit(NOTHING_DONE)


def _prepare(
    stack: ExitStack, home: TendedHome, source: Source, file: Path, options: RunOptions, *, is_sure: bool
) -> str:
    """The id of a job that runs and is watched: the unfinished one of this file, or a new one."""
    begun = _find_begun(home, source, options)
    say_all(
        unfinished_lines(
            job
            for job in list_unfinished_jobs(home.database.engine)
            if begun is None or job.id != begun.job.id
        )
    )
    found = begun or _new_job(stack, home, source, options, is_sure=is_sure)
    if isinstance(found, str):
        return found
    _require_same_options(found, options, file)
    _go_on(stack, home, found.job, options, is_sure=is_sure)
    return found.job.id


def _find_begun(place: Place, source: Source, options: RunOptions) -> Unfinished | None:
    database = place.database
    return find_unfinished(database.engine, database.instance_id, source.content_hash, options)


def _new_job(
    stack: ExitStack, place: Place, source: Source, options: RunOptions, *, is_sure: bool
) -> str | Unfinished:
    """The id of a new job of this file; or the job that somebody else has begun of this very file meanwhile."""
    checked = check(place, source, options)
    if checked.live and (begun := _find_begun(place, source, options)) is not None:
        return begun
    show_check(place, checked, to=say)
    require_doable(place, checked, options)
    agree(question(checked, place.settings, place.clock.now()), is_sure=is_sure)
    try:
        return load(stack, place, checked, options)
    except Rejected:
        if (begun := _find_begun(place, source, options)) is None:
            raise
        return begun


def _require_same_options(unfinished: Unfinished, options: RunOptions, file: Path) -> None:
    if unfinished.has_options(options):
        return
    say(f"This file was begun with other options: {unfinished.job.named}. Go on with them:")
    say(f"  {run_again(as_typed(file), unfinished.options)}")
    say(NOTHING_CHANGED)
    raise typer.Exit(NOTHING_DONE)


def require_doable(place: Place, checked: Checked, options: RunOptions) -> None:
    if checked.live and not options.skip_invalid and not checked.survey.problems:
        again = "run this file again" if checked.is_only_live else "correct this file and run it again"
        say_all(in_the_way_lines(find_in_the_way(place, checked), others=checked.planned, again=again))
        say(NOTHING_CHANGED)
        raise typer.Exit(NOTHING_DONE)
    if checked.survey.problems or (checked.problem_count and not options.skip_invalid):
        hint = (
            ""
            if checked.survey.problems or not checked.planned
            else f", or add --skip-invalid to leave {counted(checked.refused, 'row')} out"
        )
        say(f"{NOTHING_CHANGED} Correct the file{hint}.")
        raise typer.Exit(NOTHING_DONE)
    if not checked.planned and checked.refused:
        say("Nothing was changed: every row that was not done by an earlier job has a problem.")
        raise typer.Exit(NOTHING_DONE)
    if not checked.planned:
        tell(NOTHING_TO_DO)
        raise typer.Exit(ALL_DONE)


def question(checked: Checked, settings: CyclrSettings, now: datetime) -> str:
    """What is about to be done, in sentences; the first is the question."""
    options, rows, estimate = checked.options, checked.planned, checked.estimate
    first = f"the first {options.first:,} of " if options.first and options.first < rows else ""
    parts = [f"{_deed(options)} {first}{counted(rows, 'connector')} at {settings.api_host}?"]
    if options.no_look and estimate.looks:
        were, are = ("was", "is") if estimate.looks == 1 else ("were", "are")
        parts.append(f"{counted(estimate.looks, 'row')} {were} tried before and {are} looked for first.")
    if estimate.overwrites:
        parts.append(_overwriting(estimate.overwrites, options, settings, now))
    if checked.refused:
        left_out = "row with a problem is" if checked.refused == 1 else "rows with problems are"
        parts.append(f"{checked.refused:,} {left_out} left out.")
    whole = "All of it" if first else "It"
    parts.append(f"{whole} takes about {in_words(estimate.seconds)} at {checked.pace}.")
    return " ".join(parts)


def _deed(options: RunOptions) -> str:
    if options.operation == "update":
        return "Update"
    if options.no_look:
        return "Install"
    return "Install, fill in or change" if options.overwrite else "Install or fill in"


def _overwriting(at_most: int, options: RunOptions, settings: CyclrSettings, now: datetime) -> str:
    """How many values at most, and what is kept of them."""
    values = "1 value that is there is" if at_most == 1 else f"{at_most:,} values that are there are"
    if options.no_undo:
        return f"At most {values} overwritten, and nothing of them is kept."
    until = now + timedelta(hours=settings.cyclr_secret_retention_h)
    return f"At most {values} overwritten; what they were is kept until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC."


def agree(request: str, *, is_sure: bool) -> None:
    if is_sure:
        say(request.replace("?", ".", 1))
        return
    if not agrees(request):
        say(f"Declined. {NOTHING_CHANGED}")
        raise typer.Exit(STOPPED)


def _go_on(stack: ExitStack, home: TendedHome, job: JobStatus, options: RunOptions, *, is_sure: bool) -> None:
    if job.state is JobState.RUNNING:
        say(f"Another command is at work on this file ({job.named}). Watching it.")
        stack.enter_context(home.watch(job.id))
        return
    why = f" It stopped because {PAUSES[job.pause_reason].title}." if job.pause_reason else ""
    more = f" with the next {counted(options.first, 'row')}" if options.first and job.held else ""
    agree(f"Go on{more} at {home.settings.api_host}? This is {job.named}.{why}", is_sure=is_sure)
    stack.enter_context(home.watch(job.id))
    resume_job(home.database.engine, job.id, first=options.first)
    home.ring()


class SaidWait:
    """Says for which load this one waits, and by whom that is loaded, once for each that takes longer than a moment."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self._said: set[str] = set()

    def __call__(self, other: OtherLoad, waited_s: float) -> None:
        self._activity.say(f"waiting for job {other.job_id}, for {waited_s:.0f} s")
        if waited_s < SAID_AFTER_S or other.job_id in self._said:
            return
        self._said.add(other.job_id)
        loader = f" by {other.loader}" if other.loader else ""
        heard = f"It was heard of {other.silent_s:.0f} s ago"
        say(
            f"Waiting for {other}{loader}: it is in the middle of a write to the database. {heard}: is that process stopped? Let it"
            " go on, or end it."
            if other.is_writing
            else f"Waiting for {other}{loader}: it has rows of this file. {heard}; what is silent for {LOADER_SILENT_S:.0f} s is"
            " taken for dead, and this one goes on."
        )


def load(stack: ExitStack, place: Place, checked: Checked, options: RunOptions) -> str:
    """The id of the new job: running, and watched while `stack` lasts."""
    database = place.database
    job_id = new_job_id(place.clock.now())
    # Watched before its first row is written: a command that starts now must not take it for abandoned.
    stack.enter_context(place.watch(job_id))
    with Activity() as activity:
        load_job(
            checked,
            options,
            engine=database.engine,
            sealer=database.sealer,
            instance_id=database.instance_id,
            job_id=job_id,
            on_rows=lambda count: activity.say(f"loading: {counted(count, 'row')}"),
            on_wait=SaidWait(activity),
        )
    place.ring()
    return job_id


@app.command("submit", epilog=SUBMIT_EXAMPLES)
@takes_options(*OPTIONS)
def submit_command(
    file: FileArgument,
    options: RunOptions,
    yes: YesOption = False,
) -> None:
    """Check FILE, ask, and hand it to the workers of the deployment that DATABASE_URL and REDIS_URL name.

    The job's id is printed on stdout, all else on stderr. The same file submitted again is the same job until it ends.
    """
    with failures_in_words(), ExitStack() as stack:
        if is_piped(file):
            require_an_answer(is_sure=yes)  # at once: what is read from a pipe then is lost
        source = stack.enter_context(opened_source(file, options))
        settings = settings_or_offline_check(source, options, needs_deployment=True)
        require_an_answer(is_sure=yes)
        place = stack.enter_context(opened_place(settings))
        found = _find_begun(place, source, options) or _new_job(stack, place, source, options, is_sure=yes)
        if isinstance(found, Unfinished):
            raise typer.Exit(_submitted_before(found, options))
        tell(found)
        say(f"Submitted. Watch it with `cyclr-bulk watch {found}`.")


def _submitted_before(unfinished: Unfinished, options: RunOptions) -> int:
    """The same file once more: its job goes on if it is running, whoever submits again after a lost connection."""
    job = unfinished.job
    if not unfinished.has_options(options):
        say(f"This file was submitted with other options: {job.named}. {NOTHING_CHANGED}")
        say(f"To begin anew, end that job first: `cyclr-bulk cancel {job.id}`.")
        return NOTHING_DONE
    if job.state is JobState.PAUSED:
        say(f"This file was submitted before, and paused: {job.named}. {NOTHING_CHANGED}")
        say(f"Let it go on with `cyclr-bulk resume {job.id}`, or end it with `cyclr-bulk cancel {job.id}`.")
        return NOTHING_DONE
    tell(job.id)
    say(f"This file was submitted before: {job.named}. Watch it with `cyclr-bulk watch {job.id}`.")
    return ALL_DONE
