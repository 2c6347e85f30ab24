"""Arguments and options that several commands share, and how they are typed once more."""

import inspect
import shlex
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.domain.options import AS_WRITTEN_COLUMNS, OPTIONS, RunOptions, clashes, gone_options
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


class Deed(StrEnum):
    """What a file is for, by the command that does it."""

    RUN = "run"
    UPDATE = "update"

    @property
    def operation(self) -> str:
        return "install" if self is Deed.RUN else "update"

    @classmethod
    def of(cls, operation: str) -> "Deed":
        return next(deed for deed in cls if deed.operation == operation)


def known_columns(columns: Sequence[str] | None) -> Sequence[str] | None:
    """The same. Raises: BadParameter where one cannot be taken as written."""
    for column in columns or ():
        if column not in AS_WRITTEN_COLUMNS:
            known = ", ".join(map(repr, AS_WRITTEN_COLUMNS))
            raise typer.BadParameter(f"{column!r} is not one of {known}.")
    return columns


def named_columns(mapping: Sequence[str] | None) -> Sequence[str] | None:
    """The same. Raises: BadParameter where one does not say which column it is of."""
    for each in mapping or ():
        if not each.rpartition("=")[0].strip():
            raise typer.BadParameter(f"{each!r} is not COLUMN=NAME.")
    return mapping


def takes_options(
    *names: str, operation: str = "install"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """For a command with a parameter `options`: these are typed, each as the table has it, and come as one RunOptions.

    `operation`: what the command does, where it is not one of those that are typed. What makes no sense beside the others ends
    the command as wrong usage; so does an option of a version before, where the command had it.
    """
    gone = gone_options(flag) if "no_look" in names else {}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def called(**typed: Any) -> None:
            for name, instead in gone.items():
                if typed.pop(name):
                    raise typer.BadParameter(instead)
            given = {"operation": operation} | {name: typed.pop(name) for name in names}
            if isinstance(given["operation"], Deed):
                given["operation"] = given["operation"].operation
            for name in given.keys() & {"as_written", "map"}:
                given[name] = frozenset(given[name] or ())
            options = RunOptions(**given)
            for _, reason in clashes(options, flag):
                raise typer.BadParameter(reason)
            command(options=options, **typed)

        signature = inspect.signature(command)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            parameters += map(_typed_as, names) if parameter.name == "options" else [parameter]
        parameters += map(_gone, gone)
        called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return called

    return decorate


def _typed_as(name: str) -> inspect.Parameter:
    option = OPTIONS[name]
    kind, default, more = option.type, option.default, dict[str, Any]()
    does = option.metadata["does"]
    if name == "operation":
        kind, default, does = Deed, Deed.RUN, does.replace("install", Deed.RUN)
    elif kind == frozenset[str]:
        check = {"as_written": known_columns, "map": named_columns}[name]
        kind, default, more = list[str] | None, None, {"callback": check}
    elif kind == int | None:
        more = {"min": 1}
    given = typer.Option(flag(name), metavar=option.metadata["metavar"], help=does, **more)
    return inspect.Parameter(
        name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=Annotated[kind, given]
    )


def _gone(name: str) -> inspect.Parameter:
    """It is taken, so that its user is told what to type instead."""
    kind: Any = str | None if name == "if_present" else bool
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None if name == "if_present" else False,
        annotation=Annotated[kind, typer.Option(flag(name), hidden=True)],
    )


def flag(name: str) -> str:
    """The option as it is typed."""
    return "--for" if name == "operation" else f"--{name.replace('_', '-')}"


def run_again(
    file: Path, options: RunOptions, results: Path | None = None, *, is_deployed: bool = False
) -> str:
    """The command that goes on with the same job: the same options, all of its rows. `file`: as a person types it.

    `is_deployed`: it is handed to the workers of a deployment.
    """
    words = ["cyclr-bulk", "submit" if is_deployed else Deed.of(options.operation), file_argument(file)]
    words += _typed(options, "operation") if is_deployed else []
    words += _typed(options, "connector")
    words += ["--yes"] if file == STDIN else []  # nobody can be asked there
    words += ["--results", str(results)] if results else []
    for name in OPTIONS:
        if name not in ("operation", "connector", "first"):
            words += _typed(options, name)
    return " ".join(map(quoted, words))


def _typed(options: RunOptions, name: str) -> Sequence[str]:
    """The option as it is typed; nothing where it is not given."""
    value = getattr(options, name)
    if value == OPTIONS[name].default:
        return ()
    if value is True:
        return (flag(name),)
    values = sorted(value) if isinstance(value, frozenset) else [str(value)]
    return [word for each in values for word in (flag(name), each)]


def quoted(word: object) -> str:
    """The word as it is typed in a shell."""
    return shlex.quote(str(word))


def file_argument(file: Path) -> str:
    """The path so that no command takes it for an option; `-` stays what comes through a pipe."""
    return f"./{file}" if str(file).startswith("-") and file != STDIN else str(file)
