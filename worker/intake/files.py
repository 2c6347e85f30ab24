"""A file becomes lines: encoding, delimiter and header are found once, then every pass streams.

Why a file cannot be worked with at all:

Unreadable    the file as a whole is wrong: nothing of it can be used
FileChanged   it is not the file any more that was opened
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

from worker.domain.failures import ToldFailure
from worker.domain.rows import Problem, Warning_
from worker.intake.columns import Header, canonical, find_similar, is_known, is_plain_name, read_header
from worker.intake.records import (
    CHUNK_BYTES,
    Content,
    Damaged,
    detect_content,
    find_delimiter,
    has_bad_bytes,
    is_filler,
    is_nearly_utf8,
    iter_records,
    without_bad_bytes,
)
from worker.intake.values import is_spreadsheet_error, may_be_secret, unescape
from worker.intake.workbooks import (
    MAX_PACKED_BYTES,
    RESULT_SHEET,
    Doubted,
    NoWorkbook,
    Workbook,
    open_workbook,
)


class Unreadable(ToldFailure):
    """The file as a whole is wrong. `problems` is never empty. `preview`: where only its column names are wrong."""

    def __init__(self, path: Path, problems: Iterable[Problem], preview: "Preview | None" = None) -> None:
        self.path = path
        self.preview = preview
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{path}: {problem}" for problem in self.problems))


class FileChanged(ToldFailure):
    """The bytes differ from those that were opened, so what was found then does not hold any more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path} was changed while it was being read: start again when it is complete")


class Preview(NamedTuple):
    """The columns of a file that cannot be used yet, with values of some rows; None: it may be a secret, or is no name."""

    header: Header
    columns: tuple[str | None, ...]
    rows: tuple[tuple[int, tuple[str | None, ...]], ...]


OpenBytes = Callable[[], BinaryIO]

_BLANKS_BUT_TABS = "".join(filter(str.isspace, map(chr, range(0x3001)))).replace("\t", "")
_SEARCHED_RECORDS = 50  # for a header below titles
_SHOWN_NAMES = ("account_id", "account_name", "name", "connector")
_SHOWN_GUESSES = 3
_SHOWN_ROWS = 3
_SHOWN_CHARACTERS = 80

ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "cp1252": "Windows-1252",
}
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}


class Line(NamedTuple):
    """A line below the header, cells trimmed. `number`: as a spreadsheet shows it, the header's being 1.

    `broken`: the cells that have line breaks, as they stand in the file: position -> text. `doubts`: those of a workbook
    that are perhaps not what it shows: position -> why. `spoilt`: the positions of cells with bytes that are no text.
    """

    number: int
    cells: tuple[str, ...]
    broken: tuple[tuple[int, str], ...] = ()
    doubts: tuple[tuple[int, str], ...] = ()
    spoilt: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"Line(number={self.number})"

    @property
    def is_empty(self) -> bool:
        return not any(self.cells)

    @property
    def is_comment(self) -> bool:
        """A line with line breaks in a cell is none: whatever a quote has swallowed must not be left out with it."""
        return (
            bool(self.cells)
            and self.cells[0].startswith("#")
            and not self.broken
            and not is_spreadsheet_error(self.cells[0])
        )


@dataclass(frozen=True)
class Source:
    """A file that can be read as a whole, any number of times, as long as it stays as it is.

    `columns`: as typed. `bytes_hash`: SHA-256 of the bytes, in hex. `path`: for messages; the bytes come
    from `open_bytes`, so that an upload is a source too. `sheet`: of a workbook, whose cells have no encoding and no delimiter.
    `sheets`: all that the workbook has. `is_spoilt`: some bytes are not in its encoding.
    """

    path: Path
    encoding: str
    delimiter: str
    header: Header
    bytes_hash: str
    warnings: tuple[Warning_, ...]
    open_bytes: OpenBytes = field(repr=False)
    sheet: str | None = None
    sheets: tuple[str, ...] = ()
    mapping: frozenset[str] = frozenset()
    is_spoilt: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        return self.header.columns

    @property
    def content_hash(self) -> str:
        """What makes its rows what they are: the bytes, the sheet of a workbook, and what columns were said to be."""
        named = [f"{at}={self.header.names[at]}" for at in sorted(self.header.mapped)]
        parts = [self.bytes_hash, *([] if self.sheet is None else [self.sheet]), *named]
        return self.bytes_hash if len(parts) == 1 else hashlib.sha256("\x1f".join(parts).encode()).hexdigest()

    @property
    def form(self) -> dict[str, str]:
        """In what form the rows come, for people: `Encoding` -> `UTF-8`."""
        if self.sheet is not None:
            return {"Kind": self.encoding, "Sheet": self.sheet}
        return {
            "Encoding": ENCODINGS.get(self.encoding, self.encoding),
            "Delimiter": DELIMITERS.get(self.delimiter, self.delimiter),
        }

    def lines(self) -> Iterator[Line]:
        """The lines below the header, streamed; empty lines and comments too.

        In a file with a `_state` column escaped cells are given as they were before.

        Raises: FileChanged, at the end of the pass at the latest.
        """
        try:
            yield from self._sheet_lines() if self.sheet is not None else self._text_lines()
        except (OSError, UnicodeError, Damaged, NoWorkbook):
            # All of them were ruled out when the file was opened.
            raise FileChanged(self.path) from None

    def _text_lines(self) -> Iterator[Line]:
        hashed = _HashedStream(self.open_bytes())
        with _decoded(
            io.BufferedReader(hashed, CHUNK_BYTES), self.encoding, is_spoilt=self.is_spoilt
        ) as text:
            records = iter_records(text, self.delimiter)
            self._pass_header(records)
            clean = _cleaner(self.header)
            for number, cells in records:
                text_of_all = "".join(cells)
                if self.is_spoilt and has_bad_bytes(text_of_all):
                    spoilt = tuple(at for at, cell in enumerate(cells) if has_bad_bytes(cell))
                    cells = [without_bad_bytes(cell) for cell in cells]
                    yield _line(number, cells, clean, spoilt)
                elif "\n" in text_of_all or "\r" in text_of_all:
                    yield _line(number, cells, clean)
                else:
                    yield Line(number, tuple(map(clean, cells)))
            if hashed.hexdigest() != self.bytes_hash:
                raise FileChanged(self.path)

    def _sheet_lines(self) -> Iterator[Line]:
        """No quote can have swallowed anything here, so no cell counts as broken."""
        assert self.sheet is not None
        book, bytes_hash = _read_workbook(self.open_bytes)
        if bytes_hash != self.bytes_hash:
            raise FileChanged(self.path)
        records = book.records(self.sheet)
        self._pass_header(records)
        # A result file may have been saved as a workbook; in our own nothing was escaped.
        clean = str.strip if self.sheet == RESULT_SHEET else _cleaner(self.header)
        for number, cells in records:
            doubts = tuple((at, cell.reason) for at, cell in enumerate(cells) if isinstance(cell, Doubted))
            yield Line(number, tuple(map(clean, cells)), doubts=doubts)

    def _pass_header(self, records: Iterator[tuple[int, list[str]]]) -> None:
        cells = _find_header(records)
        if cells is None:
            raise FileChanged(self.path)
        header, _, _ = read_header(
            cells, self.delimiter, is_spaced=self.header.is_spaced, mapping=self.mapping
        )
        if header != self.header:
            raise FileChanged(self.path)


def open_source(path: Path, sheet: str | None = None, mapping: frozenset[str] = frozenset()) -> Source:
    """The file at `path`, found whole and well-formed. `sheet`: of a workbook; `mapping`: as in `read_header`. Raises: Unreadable, with all that is wrong."""
    if path.is_dir():
        raise Unreadable(path, [Problem(None, None, "expected a CSV file, got a folder")])
    return read_source(path, lambda: path.open("rb"), sheet, mapping)


def read_source(
    path: Path,
    open_bytes: OpenBytes,
    sheet: str | None = None,
    mapping: frozenset[str] = frozenset(),
) -> Source:
    """As `open_source`, for bytes from anywhere; each call of `open_bytes` gives them from the start."""
    try:
        with open_bytes() as stream:
            content = detect_content(stream)
        if content.is_archive:
            return _workbook(path, open_bytes, sheet, mapping)
        if sheet is not None:
            raise _unreadable(path, f"this is no workbook, so there is no sheet '{sheet}': name none")
        if content.broken_utf8 is not None:
            with open_bytes() as stream:
                if is_nearly_utf8(stream):
                    return _source(path, open_bytes, content, content.broken_utf8, mapping, is_spoilt=True)
        if content.encoding is None:
            raise _unreadable(path, content.fault or "")
        return _source(path, open_bytes, content, content.encoding, mapping)
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file") from None
    except OSError as error:
        raise _unreadable(path, f"the file cannot be read: {error.strerror}") from None
    except UnicodeError:
        raise FileChanged(path) from None


def _source(
    path: Path,
    open_bytes: OpenBytes,
    content: Content,
    encoding: str,
    mapping: frozenset[str],
    *,
    is_spoilt: bool = False,
) -> Source:
    with _decoded(open_bytes(), encoding, is_spoilt=is_spoilt) as text:
        delimiter, is_spaced = find_delimiter(text)
    damage: list[Problem] = []
    cells: list[str] | None = None
    below: list[tuple[int, list[str]]] = []
    is_guess = content.warning is not None and not is_spoilt
    guessed: list[str] = []
    with _decoded(open_bytes(), encoding, is_spoilt=is_spoilt) as text:
        records = iter_records(text, delimiter)
        try:
            cells = _find_header(records)
            below.extend(islice(records, _SEARCHED_RECORDS))
            if is_guess and cells is not None:
                guessed = _guessed_names(cells, chain(below, records))
            for _ in records:
                pass
        except Damaged as error:
            damage.append(Problem(error.number, None, error.reason))
    header, warnings = _judged_header(path, cells, below, damage, delimiter, mapping, is_spaced=is_spaced)
    if is_guess:
        shown = f" ({', '.join(guessed)})" if guessed else ""
        reason = f"{content.warning}: look at the names with accents{shown}, or save it as 'CSV UTF-8'"
        warnings = (Warning_(None, None, reason), *warnings)
    return Source(
        path,
        encoding,
        delimiter,
        header,
        content.content_hash,
        warnings,
        open_bytes,
        mapping=mapping,
        is_spoilt=is_spoilt,
    )


def _guessed_names(header: list[str], records: Iterable[tuple[int, list[str]]]) -> list[str]:
    """The first texts with letters that depend on the encoding, in columns that hold no secrets."""
    shown = [at for at, column in enumerate(header) if canonical(column) in _SHOWN_NAMES]
    found: dict[str, None] = {}
    for _, cells in records:
        # In a line of another width, or one that a quote has swallowed, a secret may stand anywhere.
        if len(cells) != len(header) or any("\n" in cell or "\r" in cell for cell in cells):
            continue
        found.update((f"'{cells[at].strip()[:40]}'", None) for at in shown if not cells[at].isascii())
        if len(found) >= _SHOWN_GUESSES:
            break
    return list(found)[:_SHOWN_GUESSES]


def _judged_header(
    path: Path,
    cells: list[str] | None,
    below: list[tuple[int, list[str]]],
    damage: list[Problem],
    delimiter: str,
    mapping: frozenset[str],
    *,
    is_spaced: bool,
) -> tuple[Header, tuple[Warning_, ...]]:
    """`damage`: what else is wrong with the file. Raises: Unreadable."""
    if cells is None:
        raise Unreadable(path, damage or [Problem(None, None, "the file is empty: expected a header line")])
    if has_bad_bytes("".join(cells)):
        reason = "a column name holds bytes that are not UTF-8, which most of the file is: type it again, and save the file as 'CSV UTF-8'"
        raise Unreadable(path, [Problem(None, None, reason), *damage])
    header, problems, warnings = read_header(cells, delimiter, is_spaced=is_spaced, mapping=mapping)
    swallowed = tuple(_swallowed_names(header, below))
    preview = None if damage or swallowed else _preview(header, below)
    problems = (*swallowed, *problems)
    if "account_id" not in header.positions and (number := _find_names(below)):
        problems = (Problem(None, None, f"the column names stand in row {number}: delete the rows above it"),)
    elif number := _find_more_names(header, below):
        reason = f"column names stand in row {number} too, below those of the header: write all of them into one row, without merged cells"
        problems = (*problems, Problem(None, None, reason))
    if problems or damage:
        raise Unreadable(path, [*problems, *damage], preview)
    return header, warnings


def _workbook(path: Path, open_bytes: OpenBytes, sheet: str | None, mapping: frozenset[str]) -> Source:
    is_named = sheet is not None
    try:
        book, bytes_hash = _read_workbook(open_bytes)
        sheet = book.find_sheet(sheet, mapping)
        records = book.records(sheet)
        cells = _find_header(records)
        below = list(islice(records, _SEARCHED_RECORDS))
        for _ in records:  # to its end, so that all is well with it when it is read
            pass
    except NoWorkbook as error:
        raise _unreadable(path, str(error)) from None
    header, warnings = _judged_header(path, cells, below, [], ",", mapping, is_spaced=False)
    if len(book.sheets) > 1 and not is_named:
        reason = f"the rows are those of the sheet '{sheet}'; the workbook has {len(book.sheets)} sheets ({', '.join(book.sheets)[:200]})"
        warnings = (Warning_(None, None, reason), *warnings)
    return Source(path, book.kind, ",", header, bytes_hash, warnings, open_bytes, sheet, book.sheets, mapping)


def _read_workbook(open_bytes: OpenBytes) -> tuple[Workbook, str]:
    """The workbook and its SHA-256: it is read from its end, so it is in memory as a whole. Raises: NoWorkbook."""
    with open_bytes() as stream:
        packed = stream.read(MAX_PACKED_BYTES + 1)
    return open_workbook(packed), hashlib.sha256(packed).hexdigest()


def _find_header(records: Iterator[tuple[int, list[str]]]) -> list[str] | None:
    return next((cells for _, cells in records if not is_filler(cells)), None)


def _find_names(records: Iterable[tuple[int, list[str]]]) -> int | None:
    """The row of the first of these that is a header."""
    return next((number for number, cells in records if "account_id" in map(canonical, cells)), None)


def _preview(header: Header, below: Iterable[tuple[int, list[str]]]) -> Preview:
    """Three rows. Where no name is known or resembles one, the first line may be a row itself."""
    columns = tuple(
        column if name or find_similar(column) or is_plain_name(column) else None
        for column, name in zip(header.columns, header.names, strict=True)
    )
    whole = (
        (number, cells) for number, cells in below if not is_filler(cells) and len(cells) == header.width
    )
    rows = tuple((number, tuple(_shown(header, cells))) for number, cells in islice(whole, _SHOWN_ROWS))
    return Preview(header, columns, rows)


def _shown(header: Header, cells: Iterable[str]) -> Iterator[str | None]:
    for at, (cell, name) in enumerate(zip(cells, header.names, strict=False)):
        is_hidden = at in header.masked or "\n" in cell or (name is None and may_be_secret(cell))
        yield None if cell and is_hidden else cell.strip()[:_SHOWN_CHARACTERS]


def _find_more_names(header: Header, below: Iterable[tuple[int, list[str]]]) -> int | None:
    """The row below the header, where it has nothing but names for columns that have none above."""
    number, cells = next(((number, cells) for number, cells in below if not is_filler(cells)), (0, []))
    filled = [at for at, cell in enumerate(cells[: len(header.names)]) if cell.strip()]
    return (
        number if filled and all(header.names[at] is None and is_known(cells[at]) for at in filled) else None
    )


def _swallowed_names(header: Header, below: Iterable[tuple[int, list[str]]]) -> Iterator[Problem]:
    """The unknown names that hold lines of the file: a row was read as a part of the header, if the lines below are shorter."""
    widths = [len(cells) for _, cells in below if not is_filler(cells)]
    is_short = bool(widths) and max(widths) < len(header.columns)
    for position, (column, name) in enumerate(zip(header.columns, header.names, strict=True)):
        _, is_broken, rest = column.replace("\r", "\n").partition("\n")
        most = max(line.count(header.delimiter) for line in rest.split("\n"))
        if is_broken and name is None and (is_short or most >= max(1, position)):
            yield Problem(
                1,
                None,
                f"the name of column {position + 1} holds lines of the file: is a quote in the header not closed?",
            )


def _unreadable(path: Path, reason: str) -> Unreadable:
    return Unreadable(path, [Problem(None, None, reason)])


def _line(number: int, cells: list[str], clean: Callable[[str], str], spoilt: tuple[int, ...] = ()) -> Line:
    broken = tuple((at, cell) for at, cell in enumerate(cells) if "\n" in cell or "\r" in cell)
    return Line(number, tuple(map(clean, cells)), broken, spoilt=spoilt)


def _cleaner(header: Header) -> Callable[[str], str]:
    if header.is_result:
        return lambda cell: unescape(cell.strip()).strip()
    # A tab between tabs is a delimiter in quotes, which a quote may have swallowed.
    return (lambda cell: cell.strip(_BLANKS_BUT_TABS)) if header.delimiter == "\t" else str.strip


class _HashedStream(io.RawIOBase):
    """Bytes that are hashed on their way."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self._digest.update(chunk)
        return len(chunk)

    def close(self) -> None:
        self._stream.close()
        super().close()

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _decoded(stream: BinaryIO | io.BufferedReader, encoding: str, *, is_spoilt: bool = False) -> TextIO:
    errors = "surrogateescape" if is_spoilt else "strict"
    return io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline="")
