"""Arguments and options that several commands share, and how they are typed once more."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from worker.domain.options import IfPresent
from worker.domain.states import Code
from worker.jobs.options import RunOptions

FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="A CSV with one row per account; - or a pipe, for rows that another command makes.",
        show_default=False,
    ),
]
JobArgument = Annotated[
    str,
    typer.Argument(metavar="JOB", help="The job's id, as `submit` and `jobs` show it.", show_default=False),
]
ConnectorOption = Annotated[
    str | None,
    typer.Option("--connector", metavar="NAME", help="Name or id of the connector, for all rows."),
]
FirstOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Install N rows, then pause; run again to go on.")
]
SkipInvalidOption = Annotated[
    bool,
    typer.Option("--skip-invalid", help="Install the good rows; the result file holds the others' problems."),
]
LookFirstOption = Annotated[
    bool,
    typer.Option("--look-first", help="Look into each account before the install. Doubles the calls."),
]


CodesOption = Annotated[
    list[Code] | None,
    typer.Option("--code", metavar="CODE", help="Only rows with this code; may be repeated."),
]
ReasonOption = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Only rows that failed for this reason; `failures` and `status` name its key.",
        show_default=False,
    ),
]


def known_columns(columns: Sequence[str] | None) -> Sequence[str] | None:
    """The same. Raises: BadParameter where one cannot be taken as written."""
    if columns:
        # Only then: with this import every command would take half as long again to start.
        from worker.intake.rows import AS_WRITTEN_COLUMNS

        for column in columns:
            if column not in AS_WRITTEN_COLUMNS:
                known = ", ".join(map(repr, AS_WRITTEN_COLUMNS))
                raise typer.BadParameter(f"{column!r} is not one of {known}.")
    return columns


AsWrittenOption = Annotated[
    list[str] | None,
    typer.Option(
        "--as-written",
        metavar="COLUMN",
        callback=known_columns,
        help="Take the values of this column as they stand, though a spreadsheet may have made them: account_id or"
        " connector_version; may be repeated.",
    ),
]


IfPresentOption = Annotated[
    IfPresent,
    typer.Option(help="What to do where the same connector is there under another Name. `skip` looks first."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]

STDIN = Path("-")  # the rows come through a pipe


def run_again(file: Path, options: RunOptions, results: Path | None = None) -> str:
    """The command that goes on with the same job: the same options, all of its rows. `file`: as a person types it."""
    words = ["cyclr-bulk", "run", file_argument(file)]
    words += ["--connector", options.connector] if options.connector else []
    words += ["--yes"] if file == STDIN else []  # nobody can be asked there
    words += ["--results", str(results)] if results else []
    words += ["--skip-invalid"] if options.skip_invalid else []
    words += ["--look-first"] if options.look_first else []
    words += ["--if-present", "skip"] if options.if_present is IfPresent.SKIP else []
    words += [word for column in sorted(options.as_written) for word in ("--as-written", column)]
    return " ".join(map(quoted, words))


def quoted(word: object) -> str:
    """The word as it is typed in a shell."""
    return shlex.quote(str(word))


def file_argument(file: Path) -> str:
    """The path so that no command takes it for an option; `-` stays what comes through a pipe."""
    return f"./{file}" if str(file).startswith("-") and file != STDIN else str(file)
