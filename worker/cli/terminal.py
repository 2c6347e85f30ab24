"""What is said to a person, and asked, and the exit codes; by streams that outlive their other ends.

A closed terminal, a pipe's end or a full disk must not end a run half-way, nor change what its exit code says.
"""

import errno
import gc
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import FrameType
from typing import Any, TextIO, cast

import typer

from worker.domain.failures import ToldFailure

ALL_DONE = 0
SOME_FAILED = 1
NOTHING_DONE = 2  # the file, the settings or the usage is wrong, and nothing was changed
STOPPED = 3  # before the end, or declined
NOTHING_CHANGED = "Nothing was changed."
ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": False}
PROMPT = "[y/N]: "

Say = Callable[[str], None]

_NOBODY_READS = (errno.EPIPE, errno.EIO)


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
    *, nothing_done: str = NOTHING_CHANGED, problems_to: Say = say, code: int = NOTHING_DONE
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


class LastingStream:
    """The stream, where text that cannot be written any more is dropped: the exit code still tells how it ended.

    Whoever writes here, a library's error too: what a terminal would obey is shown instead, but for `write_as_it_is`.
    `is_cut`: whether text was lost that somebody waits for, on a full disk, say. `on_cut` is told then, once, why.
    """

    def __init__(self, stream: TextIO, on_cut: Callable[[str], None] = lambda _why: None) -> None:
        self._stream = stream
        self._on_cut = on_cut
        self.is_cut = False

    def write(self, text: str) -> int:
        self.write_as_it_is(visible(text))
        return len(text)

    def write_as_it_is(self, text: str) -> int:
        """For data that was asked for, and for what draws on the terminal."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def __getattr__(self, name: str) -> Any:
        # Where the terminal's letters are not known, click would write there, past all of this.
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self._stream, name)

    def _drop(self, error: OSError) -> None:
        where = _where(self._stream)
        # What is still in the stream's buffer goes there too: else Python fails as it ends.
        with suppress(OSError), open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())
        if error.errno not in _NOBODY_READS and not self.is_cut:
            self.is_cut = True
            self._on_cut(f"{where}: {error.strerror}")


class Drawing:
    """A stream for what moves the cursor: a bar, say. Each text in it was made visible before."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        write = getattr(self._stream, "write_as_it_is", self._stream.write)
        return int(write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def write_data(text: str) -> None:
    """Write what was asked for to stdout: a file or a program gets it as it is, a person at a terminal made visible."""
    is_for_eyes = sys.stdout.isatty()
    Drawing(sys.stdout).write(visible(text.replace("\r\n", "\n")) if is_for_eyes else text)
    sys.stdout.flush()


def _where(stream: TextIO) -> str:
    """The file that the stream is written to, where the system tells."""
    try:
        path = os.readlink(f"/proc/self/fd/{stream.fileno()}")
    except OSError:
        return "stdout"
    return path if path.startswith("/") else "stdout"


def use_lasting_streams() -> None:
    """For the whole command, once, before it opens anything."""
    _fill_closed_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # What a person asks for must not be lost since the terminal lacks a letter.
            stream.reconfigure(errors="replace")
    sys.stderr = cast(TextIO, LastingStream(sys.stderr))
    sys.stdout = cast(TextIO, LastingStream(sys.stdout, _say_cut))


def _fill_closed_descriptors() -> None:
    """Where a descriptor of the three is closed, the next file that is opened would become it: a database, say."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it becomes the lowest that is free
    # Python has none where the descriptor was closed.
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _say_cut(why: str) -> None:
    sys.stderr.write(f"{why}. What the command tells is not written there any more.\n")
    sys.stderr.flush()


def is_output_cut() -> bool:
    """Whether something that was asked for could not be written to stdout."""
    return getattr(sys.stdout, "is_cut", False)


# Names of files, columns, connectors and accounts, and what Cyclr says, may hold what a terminal obeys (escape sequences), what
# turns a line around (bidi controls) and what nobody sees. Each such character is shown as JSON writes it: `\u001b`, `\u202e`.
# So JSON stays what it was, for whoever parses it.
# These are C0 without tab and newline, DEL, C1; soft hyphen; marks and overrides of direction; what has no width, or fills a line or a
# paragraph; tags; halves of characters.
_HIDDEN = re.compile(
    "[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\u3164\\ud800-\\udfff\\ufeff\\uffa0\\ufff0-\\ufffb\\U000e0000-\\U000e0fff]"
)


def visible(text: str) -> str:
    """The text with every hidden character shown. Newlines and tabs stay."""
    return text if text.isascii() and text.isprintable() else _HIDDEN.sub(_shown, text)


def visible_line(text: str) -> str:
    """As `visible`, on one line: a newline in a name must not make a line of its own, which would pass for one of ours."""
    return visible(text).replace("\n", "\\n")


def _shown(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    # As JSON writes it: in two halves.
    return f"\\u{0xD800 + (code - 0x10000 >> 10):04x}\\u{0xDC00 + (code - 0x10000 & 0x3FF):04x}"
