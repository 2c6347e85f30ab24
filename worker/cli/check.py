"""`cyclr-bulk check`: everything up to the question whether to run."""

from pathlib import Path

import typer

from worker.cli.exits import ALL_INSTALLED, NOTHING_DONE, failures_in_words, say
from worker.cli.progress import Activity
from worker.cli.report import say_problems, say_warnings, show_estimate, show_found
from worker.cli.session import Session
from worker.intake import Options, Source, open_source
from worker.jobs import Checked, DatabaseMemory, RunOptions, check_file, check_offline
from worker.settings import CyclrSettings, InvalidSettings, load_settings


def check_command(file: Path, options: RunOptions) -> None:
    with failures_in_words(nothing_done="Nothing was changed."):
        source = open_source(file)
        settings = settings_or_offline_check(source, options)
        with Session(settings, needs_workers=False) as session:
            checked = check(session, source, options)
        show_check(checked, settings.cyclr_calls_per_second)
    if checked.problem_count:
        raise typer.Exit(NOTHING_DONE)
    typer.echo("No problems. `cyclr-bulk run` installs it.")
    raise typer.Exit(ALL_INSTALLED)


def check(session: Session, source: Source, options: RunOptions) -> Checked:
    """The checked file. Raises what `check_file` raises."""
    database = session.database
    with Activity() as activity:
        return session.ask(
            lambda client, limiter: check_file(
                source,
                Options(database.instance_id, options.connector),
                client=client,
                limiter=limiter,
                memory=DatabaseMemory(database.engine, database.sealer),
                looks_first=options.looks_first,
                on_progress=activity.say,
            )
        )


def settings_or_offline_check(source: Source, options: RunOptions) -> CyclrSettings:
    """The settings; where they are wrong, the file's own problems are said beside it.

    Raises: InvalidSettings.
    """
    try:
        settings = load_settings()
        settings.require_cyclr()
    except InvalidSettings:
        checked = check_offline(source, Options("", options.connector))
        show_found(checked)
        if checked.problem_count:
            say_problems(checked.problems, checked.problem_count)
        say("Connectors and accounts were not checked: Cyclr cannot be asked yet.")
        raise
    return settings


def show_check(checked: Checked, calls_per_second: float) -> None:
    """What was found, all problems and warnings, the time it will take."""
    show_found(checked)
    say_warnings([*checked.source.warnings, *checked.findings.warnings])
    if checked.problem_count:
        say_problems(checked.problems, checked.problem_count)
    show_estimate(checked, calls_per_second)
