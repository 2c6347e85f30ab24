"""Arguments and options that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from worker.domain.options import IfPresent

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
