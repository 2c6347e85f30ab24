"""The file that a person names, a pipe too, and where its result file goes: never over the input, nor over what is none of ours.

A pipe is read once, to its end, and kept sealed while the command needs it. A check goes through a file several times, and a pipe can be read once. What came is kept in a file without a name, which is
gone with the process whatever ends it, sealed with a key that is nowhere but in the process's memory.
"""

import csv
import itertools
import os
import re
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from worker.cli.options import STDIN
from worker.cli.terminal import say
from worker.domain.options import RunOptions
from worker.domain.rows import Problem
from worker.embedded.home import make_private_folder
from worker.intake import Source, Unreadable, open_source, read_source
from worker.intake.columns import PROBLEMS_COLUMN
from worker.intake.workbooks import RESULT_SHEET, NoWorkbook, open_workbook
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
def opened_source(file: Path, options: RunOptions) -> Iterator[Source]:
    """The file, whatever it is, as long as the context lasts. `options`: say how it is read. Raises: Unreadable, HomeUnusable, OSError."""
    if not is_piped(file):
        yield open_source(file, options.sheet, options.map)
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
        yield read_source(name, pieces.open, options.sheet, options.map)


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


class ResultPath:
    """`given`: as named by a person, or None for a name beside the input.

    A name that was given may be that of an earlier result file, which is replaced; a name of our own choice
    replaces none but the same job's.
    """

    def __init__(self, file: Path, given: Path | None) -> None:
        """Raises: OSError where nothing can be written there, or something else would be lost."""
        self._file = file
        # What came through a pipe has only a name: nothing is there to be kept.
        self._input = file.stat() if file.exists() else None
        self._given = given
        _require_writable((given or file).parent, " with --results")
        if given is not None and given.exists():
            self._require_ours(given)

    def for_job(self, job_id: str) -> Path:
        """The path for this job's results. The same job gets the same path again."""
        if self._given is not None:
            return self._given
        stem = re.sub(r"\.results(-\d+)?$", "", self._file.stem)
        for number in itertools.count(1):
            suffix = "" if number == 1 else f"-{number}"
            path = self._file.with_name(f"{stem}.results{suffix}.csv")
            if not path.exists() or (not self._is_input(path) and job_id in (_jobs_of(path) or ())):
                return path
        raise AssertionError("unreachable")

    def _require_ours(self, given: Path) -> None:
        if self._is_input(given):
            raise OSError(None, "this is the input; name another file with --results", str(given))
        if given.is_dir():
            raise OSError(
                None, "expected a file for the results, got a folder; name a file in it", str(given)
            )
        _require_file(given)
        if _jobs_of(given) is None:
            raise OSError(
                None, "it exists and is no result file of cyclr-bulk; name another with --results", str(given)
            )

    def _is_input(self, path: Path) -> bool:
        return self._input is not None and os.path.samestat(path.stat(), self._input)


def require_problems_path(path: Path, file: Path) -> None:
    """Raises: OSError where no list of problems can be written there, or something else would be lost."""
    _require_writable(path.parent, " with --problems")
    if path.is_dir() or not (path.is_file() or not path.exists()):
        raise OSError(None, "expected a file for the problems, got something else; name a file", str(path))
    if path.exists() and ((file.exists() and path.samefile(file)) or not _has_problems(path)):
        reason = "it exists and is no list of problems; name another file with --problems"
        raise OSError(None, reason, str(path))


def _has_problems(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            return text.readline().rstrip("\r\n").endswith(PROBLEMS_COLUMN)
    except (OSError, UnicodeError):
        return False


def require_result_path(path: Path) -> None:
    """For a job whose input is not at hand. Raises: OSError where nothing can be written there, or something else
    would be lost."""
    _require_writable(path.parent)
    if path.is_dir():
        raise OSError(None, "expected a file for the results, got a folder; name a file in it", str(path))
    _require_file(path)
    if path.exists() and _jobs_of(path) is None:
        reason = "it exists and is no result file of cyclr-bulk; name another"
        raise OSError(None, reason, str(path))


def _require_file(path: Path) -> None:
    """A result file appears whole or not at all, which no pipe does; and who looked into one would wait there."""
    if path.exists() and not path.is_file():
        raise OSError(None, "expected a file for the results, got a pipe or a device; name a file", str(path))


def _require_writable(folder: Path, how: str = "") -> None:
    if not folder.is_dir():
        reason = f"there is no such folder for the result file; make it, or name another{how}"
        raise OSError(None, reason, str(folder))
    try:
        # Tried, since the permission bits do not tell it all: a full or foreign disk, a read-only mount.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = f"no result file can be written there ({error.strerror}); name another place{how}"
        raise OSError(None, reason, str(folder)) from None


def _jobs_of(path: Path) -> set[str] | None:
    """The ids of the jobs in a result file (of a workbook none is told); None for any other file."""
    if path.suffix.casefold() == ".xlsx":
        return set() if _is_result_workbook(path) else None
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            first_line = text.readline()
            delimiter = max(",;\t|", key=first_line.count)
            text.seek(0)
            rows = csv.DictReader(text, delimiter=delimiter)
            if "_job" not in (rows.fieldnames or ()):
                return None
            return {row["_job"] for row in rows if row["_job"]}
    except (OSError, UnicodeError, csv.Error):
        return None


def _is_result_workbook(path: Path) -> bool:
    try:
        return RESULT_SHEET in open_workbook(path.read_bytes()).sheets
    except (OSError, NoWorkbook):
        return False
