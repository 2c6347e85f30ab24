"""`cyclr-bulk check`: everything up to the question whether to run."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from worker.bootstrap.place import Place
from worker.cli.files import as_typed, opened_source, require_problems_path
from worker.cli.home import TendedHome
from worker.cli.options import FileArgument, run_again, takes_options
from worker.cli.place import ask, read_settings
from worker.cli.report import (
    NOTHING_TO_DO,
    WAYS,
    estimate_lines,
    found_lines,
    home_lines,
    in_the_way_lines,
    problem_lines,
    unfinished_lines,
    warning_lines,
)
from worker.cli.terminal import ALL_DONE, NOTHING_DONE, Say, failures_in_words, say, say_all, tell
from worker.cli.watching import Activity
from worker.domain.options import OPTIONS, RunOptions
from worker.domain.words import counted
from worker.intake import Source
from worker.jobs.checking import Checked, check_file, check_offline
from worker.jobs.loading import Unfinished, find_unfinished
from worker.jobs.problem_lists import iter_problem_list
from worker.jobs.results import appearing_whole
from worker.jobs.views import earlier_lines
from worker.settings import CyclrSettings, InvalidSettings
from worker.store.faults import lost_database_in_words
from worker.store.jobs import JobStatus, list_unfinished_jobs
from worker.store.listing import find_job
from worker.store.memory import DatabaseMemory

app = typer.Typer(rich_markup_mode=None)
NOT_ASKED_OF_A_CHECK = ("first", "skip_invalid", "no_undo")
ProblemsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="OUT.csv",
        help="Write the rows with problems to a file too, each with all that is wrong with it, without credentials.",
        show_default=False,
    ),
]
EXAMPLES = """\b
Examples:
  cyclr-bulk check accounts.csv
  cyclr-bulk check accounts.csv --connector Mailchimp
  cyclr-bulk check keys.csv --for update
  cyclr-bulk check accounts.csv --as-written account_id
  cyclr-bulk check accounts.csv --problems problems.csv
  cyclr-bulk check customers.xlsx --sheet November
  cyclr-bulk check kunden.csv --map Konto=account_id --map Konnektor=connector

\b
Exit codes:
  0  it can run
  2  the file or a setting is wrong, or Cyclr cannot be asked"""


@app.command("check", epilog=EXAMPLES)
@takes_options(*(name for name in OPTIONS if name not in NOT_ASKED_OF_A_CHECK))
def check_command(file: FileArgument, options: RunOptions, problems: ProblemsOption = None) -> None:
    """Read FILE, ask Cyclr about its connectors and accounts, and say all that is wrong. Changes nothing."""
    with (
        failures_in_words(problems_to=tell),
        opened_source(file, options) as source,
    ):
        if problems is not None:
            require_problems_path(problems, file)
        settings = settings_or_offline_check(source, options, to=tell)
        with (
            TendedHome(settings, needs_workers=False) as home,
            lost_database_in_words(home.database.engine),
        ):
            database = home.database
            unfinished = find_unfinished(database.engine, database.instance_id, source.content_hash, options)
            others = [job for job in list_unfinished_jobs(database.engine) if not _is(job.id, unfinished)]
            checked = check(home, source, options, besides=unfinished)
            in_the_way = find_in_the_way(home, checked)
            say_all(home_lines(settings), tell)
            show_check(home, checked, is_begun=unfinished is not None)
            if problems is not None:
                _write_problems(home, checked, problems, besides=unfinished)
        named = {job.id for job, _ in in_the_way}
        say_all(unfinished_lines(job for job in others if job.id not in named), tell)
        say_all(_verdict_lines(checked, as_typed(file), options, unfinished, in_the_way), tell)
    raise typer.Exit(NOTHING_DONE if checked.problem_count else ALL_DONE)


def _write_problems(place: Place, checked: Checked, path: Path, *, besides: Unfinished | None) -> None:
    """Raises: FileChanged, OSError."""
    database = place.database
    memory = _memory(place, besides)
    with appearing_whole(path) as out:
        out.writelines(iter_problem_list(checked, instance_id=database.instance_id, memory=memory, ways=WAYS))
    tell(f"Rows with problems, to read and to sort: {path} ({checked.refused:,})")


def _memory(place: Place, besides: Unfinished | None) -> DatabaseMemory:
    database = place.database
    return DatabaseMemory(database.engine, database.sealer, besides=besides.job.id if besides else None)


def check(place: Place, source: Source, options: RunOptions, *, besides: Unfinished | None = None) -> Checked:
    """The checked file. `besides`: the job of this very file, whose rows are not in their own way.

    Raises: NotAnswered, FileChanged.
    """
    database = place.database
    memory = _memory(place, besides)
    with Activity() as activity:
        return ask(
            place,
            lambda client, limiter: check_file(
                source,
                options,
                instance_id=database.instance_id,
                client=client,
                limiter=limiter,
                memory=memory,
                on_progress=activity.say,
            ),
        )


def find_in_the_way(place: Place, checked: Checked) -> list[tuple[JobStatus, int]]:
    """The unfinished jobs that have still to do rows of this file, and how many of these."""
    found = ((find_job(place.database.engine, job_id), count) for job_id, count in checked.live.items())
    return [(job, count) for job, count in found if job is not None]


def settings_or_offline_check(
    source: Source, options: RunOptions, *, to: Say = say, needs_deployment: bool = False
) -> CyclrSettings:
    """The settings; where they are wrong, the file's own problems are said beside it.

    Raises: InvalidSettings.
    """
    try:
        return read_settings(needs_cyclr=True, needs_deployment=needs_deployment)
    except InvalidSettings:
        checked = check_offline(source, options)
        say_all(found_lines(checked), to)
        _show_findings(checked, to)
        say("Connectors and accounts were not checked, since Cyclr cannot be asked with these settings.")
        raise


def show_check(place: Place, checked: Checked, *, is_begun: bool = False, to: Say = tell) -> None:
    """What was found, which rows are known to be done, the calls and the time that it will take (unless a part of it is done),
    all warnings and problems."""
    say_all(found_lines(checked), to)
    say_all(earlier_lines(place.database.engine, checked.done_by), to)
    if not is_begun:
        say_all(estimate_lines(checked), to)
    _show_findings(checked, to)


def _show_findings(checked: Checked, to: Say) -> None:
    say_all(warning_lines(checked.warnings, checked.warning_count), to)
    if checked.problem_count:
        say_all(problem_lines(checked.problems, checked.problem_count), to)


def _is(job_id: str, unfinished: Unfinished | None) -> bool:
    return unfinished is not None and unfinished.job.id == job_id


def _verdict_lines(
    checked: Checked,
    file: Path,
    options: RunOptions,
    unfinished: Unfinished | None,
    in_the_way: Sequence[tuple[JobStatus, int]],
) -> Iterator[str]:
    """What a person can do now."""
    if unfinished is not None:
        yield f"This is {unfinished.job.named}. Go on with:"
        yield f"  {run_again(file, unfinished.options)}"
    elif not checked.problem_count and not checked.planned:
        yield NOTHING_TO_DO
    elif not checked.problem_count:
        yield "No problems. Begin with:"
        yield f"  {run_again(file, options)}"
    elif in_the_way:
        again = "check this file again" if checked.is_only_live else "correct this file and check it again"
        yield from in_the_way_lines(in_the_way, others=checked.planned, again=again)
    elif checked.survey.problems or not checked.planned:
        yield "Correct the file, then check it again."
    else:
        yield f"Correct the file; or leave {counted(checked.refused, 'row')} out and go on with {checked.planned:,}:"
        yield f"  {run_again(file, replace(options, skip_invalid=True))}"
