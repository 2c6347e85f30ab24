"""Arguments and options that several commands share, and how they are typed once more."""

import inspect
import shlex
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.domain.options import AS_WRITTEN_COLUMNS, OPTIONS, RunOptions
from worker.domain.states import Code

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


YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]

STDIN = Path("-")  # the rows come through a pipe


def known_columns(columns: Sequence[str] | None) -> Sequence[str] | None:
    """The same. Raises: BadParameter where one cannot be taken as written."""
    for column in columns or ():
        if column not in AS_WRITTEN_COLUMNS:
            known = ", ".join(map(repr, AS_WRITTEN_COLUMNS))
            raise typer.BadParameter(f"{column!r} is not one of {known}.")
    return columns


def takes_options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """For a command with a parameter `options`: these are typed, each as the table has it, and come as one RunOptions."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def called(**typed: Any) -> None:
            given = {name: typed.pop(name) for name in names}
            if "as_written" in given:
                given["as_written"] = frozenset(given["as_written"] or ())
            command(options=RunOptions(**given), **typed)

        signature = inspect.signature(command)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            parameters += map(_typed_as, names) if parameter.name == "options" else [parameter]
        called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return called

    return decorate


def _typed_as(name: str) -> inspect.Parameter:
    option = OPTIONS[name]
    kind, default, more = option.type, option.default, dict[str, Any]()
    if kind == frozenset[str]:
        kind, default, more = list[str] | None, None, {"callback": known_columns}
    elif kind == int | None:
        more = {"min": 1}
    given = typer.Option(
        _flag(name), metavar=option.metadata["metavar"], help=option.metadata["does"], **more
    )
    return inspect.Parameter(
        name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=Annotated[kind, given]
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def run_again(file: Path, options: RunOptions, results: Path | None = None) -> str:
    """The command that goes on with the same job: the same options, all of its rows. `file`: as a person types it."""
    words = ["cyclr-bulk", "run", file_argument(file), *_typed(options, "connector")]
    words += ["--yes"] if file == STDIN else []  # nobody can be asked there
    words += ["--results", str(results)] if results else []
    for name in ("skip_invalid", "look_first", "if_present", "as_written"):
        words += _typed(options, name)
    return " ".join(map(quoted, words))


def _typed(options: RunOptions, name: str) -> Sequence[str]:
    """The option as it is typed; nothing where it is not given."""
    value = getattr(options, name)
    if value == OPTIONS[name].default:
        return ()
    if value is True:
        return (_flag(name),)
    values = sorted(value) if isinstance(value, frozenset) else [str(value)]
    return [word for each in values for word in (_flag(name), each)]


def quoted(word: object) -> str:
    """The word as it is typed in a shell."""
    return shlex.quote(str(word))


def file_argument(file: Path) -> str:
    """The path so that no command takes it for an option; `-` stays what comes through a pipe."""
    return f"./{file}" if str(file).startswith("-") and file != STDIN else str(file)
