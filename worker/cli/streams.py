"""stdout and stderr that outlive their readers: a closed terminal or a pipe's end must not end a run half-way."""

import errno
import os
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

_NOBODY_READS = (errno.EPIPE, errno.EIO)


class LastingStream:
    """The stream, where text that nobody can read any more is dropped: the exit code still tells how it ended."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
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
        return getattr(self._stream, name)

    def _drop(self, error: OSError) -> None:
        """Raises: the error, where it is of another kind: a full disk is not silence."""
        if error.errno not in _NOBODY_READS:
            raise error
        with suppress(OSError), open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())


def use_lasting_streams() -> None:
    """For the whole command, once."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # What a person asks for must not be lost since the terminal lacks a letter.
            stream.reconfigure(errors="replace")
    sys.stdout = cast(TextIO, LastingStream(sys.stdout))
    sys.stderr = cast(TextIO, LastingStream(sys.stderr))
