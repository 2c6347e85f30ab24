"""A file that comes through a pipe: read once, to its end, and kept sealed while the command needs it.

A check goes through a file several times, and a pipe can be read once. What came is kept in a file without a name, which is
gone with the process whatever ends it, sealed with a key that is nowhere but in the process's memory.
"""

import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from worker.cli.exits import say
from worker.cli.options import STDIN
from worker.domain.rows import Problem
from worker.embedded.home import make_private_folder
from worker.intake import Source, Unreadable, open_source, read_source
from worker.settings import InvalidSettings, load_settings
from worker.store.sealing import Sealer
from worker.web.waiting import PIECE_BYTES, PieceStream

_NAMES_OF_STDIN = frozenset({STDIN, *map(Path, ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"))})


def is_piped(file: Path) -> bool:
    """Whether this cannot be read twice, so that it has to be kept."""
    if file in _NAMES_OF_STDIN:
        return True
    try:
        return not (stat.S_ISREG(mode := file.stat().st_mode) or stat.S_ISDIR(mode))
    except OSError:
        return False


def known_as(file: Path) -> Path:
    """The file under a name for people, and for files beside it: what comes through a pipe may have none."""
    if file in _NAMES_OF_STDIN:
        return Path("stdin")
    return (
        Path("pipe") if is_piped(file) and file.parent in (Path("/dev/fd"), Path("/proc/self/fd")) else file
    )


def as_typed(file: Path) -> Path:
    """As a person names it next time: `-` for what comes through a pipe without a name."""
    return STDIN if known_as(file) in (Path("stdin"), Path("pipe")) and is_piped(file) else file


@contextmanager
def opened_source(file: Path) -> Iterator[Source]:
    """The file, whatever it is, as long as the context lasts. Raises: Unreadable, HomeUnusable, OSError."""
    if not is_piped(file):
        yield open_source(file)
        return
    name, folder = known_as(file), _folder()
    _require_pipe(file, name)
    say(
        f"Reading {name} to its end; Ctrl-C ends that."
    )  # said first: where nobody writes yet, it is waited for here
    with _open_pipe(file) as pipe, tempfile.TemporaryFile(dir=folder) as kept:
        pieces = _Pieces(kept)
        while data := pipe.read(PIECE_BYTES):  # as much as is sealed at once, however little comes at a time
            try:
                pieces.add(data)
            except OSError as error:  # a full disk does not say where it is full
                raise OSError(error.errno, error.strerror, str(folder)) from None
        yield read_source(name, pieces.open)


def _require_pipe(file: Path, name: Path) -> None:
    """Raises: Unreadable where there is nothing that could be read to an end."""
    is_stdin = file in _NAMES_OF_STDIN
    if is_stdin and sys.stdin.isatty():
        reason = "expected rows through a pipe, got a terminal: name a file, or type `... | cyclr-bulk ... -`"
        raise _unreadable(name, reason)
    mode = os.fstat(0).st_mode if is_stdin else file.stat().st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise _unreadable(name, "expected a CSV file or a pipe, got a device")
    if stat.S_ISSOCK(mode) and not is_stdin:
        raise _unreadable(name, "expected a CSV file or a pipe, got a socket")
    if stat.S_ISDIR(mode):
        raise _unreadable(name, "expected a CSV file or a pipe, got a folder")


def _open_pipe(file: Path) -> BinaryIO:
    return open(0, "rb", closefd=False) if file in _NAMES_OF_STDIN else file.open("rb")


def _folder() -> Path:
    """Where there is room for large files, as far as we know: the home, else the folder for temporary files."""
    try:
        settings = load_settings()
    except InvalidSettings:  # said by whoever needs them
        return Path(tempfile.gettempdir())
    if settings.is_deployed:
        return Path(tempfile.gettempdir())
    home = settings.cyclr_bulk_home.expanduser().absolute()
    make_private_folder(home, known_by="home.lock")
    return home


class _Pieces:
    """What came, sealed piece by piece in a file that is open."""

    def __init__(self, kept: IO[bytes]) -> None:
        self._kept = kept
        self._sealer = Sealer({"pipe": secrets.token_bytes(32)})
        self._places: list[tuple[int, int]] = []

    def add(self, data: bytes) -> None:
        """Raises: OSError, where there is no room."""
        sealed = self._sealer.seal_bytes(data, self._belongs_to(len(self._places)))
        self._places.append((self._kept.seek(0, os.SEEK_END), len(sealed)))
        self._kept.write(sealed)
        self._kept.flush()

    def open(self) -> BinaryIO:
        """All of it from the start, as often as it is asked for."""
        return PieceStream.buffered(self._iter())

    def _iter(self) -> Iterator[bytes]:
        for number, (offset, size) in enumerate(self._places):
            self._kept.seek(offset)  # each time: several may read in turns
            yield self._sealer.open_bytes(self._kept.read(size), self._belongs_to(number))

    def _belongs_to(self, number: int) -> str:
        return f"pipe/{number}"


def _unreadable(name: Path, reason: str) -> Unreadable:
    return Unreadable(name, [Problem(None, None, reason)])
