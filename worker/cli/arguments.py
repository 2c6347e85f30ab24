"""Arguments and options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A CSV with one row per account.", show_default=False)
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


class IfPresent(StrEnum):
    INSTALL = "install"
    SKIP = "skip"


IfPresentOption = Annotated[
    IfPresent,
    typer.Option(help="What to do where the same connector is there under another Name. `skip` looks first."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]
