"""stdin, stdout and stderr that outlive their other ends: a closed terminal, a pipe's end or a full disk must not end a run
half-way, nor change what its exit code says."""

import errno
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO, cast

_NOBODY_READS = (errno.EPIPE, errno.EIO)


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
