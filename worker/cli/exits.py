"""What is said to a person, and asked; how a failure is said, and the exit codes."""

import gc
import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import FrameType
from typing import Any, TextIO

import typer

from worker.cli.streams import is_output_cut, visible, visible_line
from worker.domain.failures import ToldFailure

ALL_INSTALLED = 0
SOME_FAILED = 1
NOTHING_DONE = 2  # the file, the settings or the usage is wrong, and nothing was installed
STOPPED = 3  # before the end, or declined
ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": False}
PROMPT = "[y/N]: "

Say = Callable[[str], None]


def say(text: str = "") -> None:
    """A line for the person, to stderr: stdout is for what was asked for."""
    _write_line(sys.stderr, text)


def tell(text: str = "") -> None:
    """A line of what was asked for, to stdout."""
    _write_line(sys.stdout, text)


def tell_json(value: Any, *, indent: int | None = None) -> None:
    """JSON that was asked for, to stdout."""
    sys.stdout.write(visible(json.dumps(value, indent=indent, ensure_ascii=False, default=_in_iso)) + "\n")
    sys.stdout.flush()


def _in_iso(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()


def _write_line(stream: TextIO, text: str) -> None:
    stream.write(f"{visible_line(text)}\n")
    stream.flush()


def say_all(lines: Iterable[str], to: Say = say) -> None:
    for line in lines:
        to(line)


def require_whole_output() -> None:
    """For a command that was asked for nothing but its output. Raises: Exit where a part of it could not be written."""
    if is_output_cut():
        say("Not all of what was asked for was written.")
        raise typer.Exit(NOTHING_DONE)


@contextmanager
def failures_in_words(
    *, nothing_done: str = "Nothing was installed.", problems_to: Say = say, code: int = NOTHING_DONE
) -> Iterator[None]:
    """Known failures end the command with their message and this exit code, an interrupt with 3.

    `problems_to`: where problems of the file go; `check` was asked for them.
    """
    end_loading()  # whoever comes here has the most of it
    try:
        with interrupts_in_words(nothing_done):
            yield
    except ToldFailure as failure:
        _say_failure(failure, problems_to)
    except OSError as error:
        say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    else:
        return
    say(nothing_done)
    raise typer.Exit(code)


def _say_failure(failure: ToldFailure, problems_to: Say) -> None:
    # Imported here: a command that has something to start does so before it loads what reads a file.
    from worker.cli.report import problem_lines
    from worker.intake.files import Unreadable
    from worker.intake.findings import Rejected
    from worker.settings import InvalidSettings

    match failure:
        case Unreadable():
            problems_to(f"{failure.path}: this file cannot be used.")
            say_all(problem_lines(failure.problems, len(failure.problems)), problems_to)
        case Rejected():
            say("Since the check, rows have got problems that they did not have:")
            say_all(problem_lines(failure.problems, failure.count))
        case InvalidSettings():
            say_all(str(failure).splitlines())
        case _:
            say(str(failure))


@contextmanager
def interrupts_in_words(what_now: str) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP end the command with a message and exit code 3."""
    try:
        with as_interrupts():
            yield
    except KeyboardInterrupt:
        say(f"Stopped. {what_now}")
        raise typer.Exit(STOPPED) from None


@contextmanager
def as_interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP end the command as Ctrl-C does: with its `finally` blocks, and a message."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [n for n in (getattr(signal, name) for name in names) if signal.getsignal(n) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def end_loading() -> None:
    """The garbage collector, which `main` let rest, goes on. What is loaded stays, so nobody looks through it from here on."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def can_ask() -> bool:
    return sys.stdin.isatty()


def agrees(question: str) -> bool:
    """Whether the person says yes. What was typed before the question is no answer to it."""
    _forget_what_was_typed()
    shown = visible_line(question)
    while True:
        # Not by `input`: it would edit the line as if the question, which may fill several lines, were not there.
        sys.stderr.write(f"{shown}{_between(shown)}{PROMPT}")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line.endswith("\n"):  # the end of the input
            say()
            return False
        answer = ANSWERS.get(line.strip().casefold())
        if answer is not None:
            return answer
        say("Please answer y or n.")


def _between(question: str) -> str:
    """What keeps the prompt whole, where the terminal's line ends in it."""
    columns = shutil.get_terminal_size().columns
    return "\n" if len(question) % columns + len(f" {PROMPT}") > columns else " "


def _forget_what_was_typed() -> None:
    try:
        import termios
    except ImportError:  # Windows
        return
    with suppress(termios.error, OSError, ValueError):
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
