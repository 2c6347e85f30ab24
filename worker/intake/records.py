"""Bytes become numbered records: which encoding they are in, and the structure of a CSV file, with bounds on one record.

The encoding is what a byte order mark says, else strict UTF-8, else Windows-1252 with a warning. Where nearly all lines with
letters beyond ASCII are UTF-8, a byte that is not spoils its own line only.
"""

import codecs
import csv
import hashlib
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, TextIO

from worker.intake.columns import is_known

CHUNK_BYTES = 1 << 18
_MAX_LINE_BYTES = 1 << 23
_VALID_PER_BAD = 4  # lines, of those with bytes beyond ASCII, in a file that is meant to be UTF-8
_BAD_BYTE = re.compile("[\udc80-\udcff]")  # as the error handler "surrogateescape" gives it
_HEAD_BYTES = 4096

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ARCHIVE = b"PK\x03\x04"  # as which a workbook comes
_NOT_TEXT = (
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook, or one with a password"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a gzip archive"),
)
_BEGINNING = rb"(?:\xef\xbb\xbf)*\s*"
_OTHER_TEXT = (
    (
        re.compile(_BEGINNING + rb"<(?:!--|(?:!doctype|html|head|meta|body|table)\b)", re.IGNORECASE),
        "this is HTML, not CSV: export the sheet as CSV",
    ),
    (re.compile(_BEGINNING + rb"<\?xml\b", re.IGNORECASE), "this is XML, not CSV: export the sheet as CSV"),
    (
        re.compile(_BEGINNING + rb"(?:\[\s*[{\[\]\"]|\{\s*\")"),
        "this is JSON, not CSV: export the sheet as CSV, or hand the list to the HTTP API",
    ),
)


@dataclass(frozen=True, slots=True)
class Content:
    """What a first pass over the bytes found. `encoding`: for `open`; None where `fault` says why, or it is an archive.

    `broken_utf8`: the encoding that it would have, if some bytes of it were no mistakes.
    """

    content_hash: str
    encoding: str | None
    fault: str | None = None
    warning: str | None = None
    is_archive: bool = False
    broken_utf8: str | None = None


class _Trial:
    """Decodes the whole file in one encoding, strictly, to see whether it can be that one."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.failed_in_line: int | None = None
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._lines = 1

    def feed(self, chunk: bytes, *, final: bool) -> None:
        if self.failed_in_line is not None:
            return
        try:
            self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            self.failed_in_line = self._lines + error.object[: error.start].count(b"\n")
        self._lines += chunk.count(b"\n")


def detect_content(stream: BinaryIO) -> Content:
    """Reads the stream to its end, a piece at a time: its SHA-256 and its encoding."""
    head = stream.read(_HEAD_BYTES)
    if head.startswith(_ARCHIVE):
        return Content("", None, is_archive=True)
    digest = hashlib.sha256()
    trials = [_Trial(encoding) for encoding in _candidates(head)]
    for chunk in itertools.chain([head], iter(partial(stream.read, CHUNK_BYTES), b"")):
        digest.update(chunk)
        for trial in trials:
            trial.feed(chunk, final=False)
    for trial in trials:
        trial.feed(b"", final=True)
    return _judge(digest.hexdigest(), head, trials)


def _candidates(head: bytes) -> tuple[str, ...]:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return (encoding,)
    return _unmarked_utf16(head) or ("utf-8", "cp1252")


def _unmarked_utf16(head: bytes) -> tuple[str, ...]:
    # Text of western languages has a zero in nearly every second byte; anything else has none.
    units = len(head) // 2
    low, high = head[0::2].count(0), head[1::2].count(0)
    if units and high > 0.4 * units and low < 0.05 * units:
        return ("utf-16-le",)
    if units and low > 0.4 * units and high < 0.05 * units:
        return ("utf-16-be",)
    return ()


def _judge(content_hash: str, head: bytes, trials: list[_Trial]) -> Content:
    for mark, what in _NOT_TEXT:
        if head.startswith(mark):
            return Content(content_hash, None, f"expected a CSV file, got {what}: export the sheet as CSV")
    text = head.lstrip(b"\xff\xfe").replace(b"\0", b"")  # of UTF-16 too, as far as it is ASCII
    for pattern, fault in _OTHER_TEXT:
        if pattern.match(text):
            return Content(content_hash, None, fault)
    first = trials[0]
    guessed = f"the file is not UTF-8 (line {first.failed_in_line}), so it was read as Windows-1252"
    broken = first.encoding if first.failed_in_line and first.encoding.startswith("utf-8") else None
    for trial in trials:
        if trial.failed_in_line is None:
            warning = None if trial is first else guessed
            return Content(content_hash, trial.encoding, warning=warning, broken_utf8=broken)
    expected = "UTF-16" if first.encoding.startswith("utf-16") else "UTF-8"
    return Content(
        content_hash,
        None,
        f"expected text in {expected}, got other bytes in line {first.failed_in_line}: save it as 'CSV UTF-8'",
        broken_utf8=broken,
    )


def is_nearly_utf8(stream: BinaryIO) -> bool:
    """Whether of the lines with bytes beyond ASCII nearly all are UTF-8. In another encoding hardly a line is by chance."""
    valid = bad = 0
    for line in iter(partial(stream.readline, _MAX_LINE_BYTES), b""):
        if line.isascii():
            continue
        try:
            line.decode()
            valid += 1
        except UnicodeDecodeError:
            bad += 1
    return valid >= _VALID_PER_BAD * bad


def has_bad_bytes(text: str) -> bool:
    return not text.isascii() and _BAD_BYTE.search(text) is not None


def without_bad_bytes(text: str) -> str:
    """The text with the usual mark in place of each."""
    return _BAD_BYTE.sub("\ufffd", text)


DELIMITERS = (",", ";", "\t", "|")
MAX_LINE_CHARACTERS = 2_000_000
MAX_RECORD_CHARACTERS = 5_000_000
_SAMPLE_CHARACTERS = 1 << 16
_SAMPLE_RECORDS = 20
_MARK = "\ufeff"
# Excel's own line above the header: it says the delimiter, and no spreadsheet shows it. Source: Microsoft's support pages.
_SEPARATOR_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?[^\w"]*', re.IGNORECASE)


class Damaged(Exception):
    """The structure breaks in the record that begins in row `number`: later rows cannot be told apart."""

    def __init__(self, number: int, reason: str) -> None:
        self.number = number
        self.reason = reason
        super().__init__(f"row {number}: {reason}")


class _Lines:
    """The physical lines of a text, one at a time, none longer than the bounds."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._is_first = True
        self._number = 0
        self._record_characters = 0

    def begin(self, number: int) -> None:
        """What comes next is the record of this number."""
        self._number = number
        self._record_characters = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_LINE_CHARACTERS)
        if self._is_first:
            self._is_first = False
            line = line.lstrip(_MARK)  # some programs write a second byte order mark
            if _SEPARATOR_LINE.fullmatch(line.rstrip("\r\n")):
                line = self._text.readline(MAX_LINE_CHARACTERS)
        if not line:
            raise StopIteration
        if "\0" in line:
            raise Damaged(self._number, "expected text, got a NUL character: export the sheet as CSV again")
        if len(line) == MAX_LINE_CHARACTERS:
            raise Damaged(
                self._number,
                f"expected lines of less than {MAX_LINE_CHARACTERS:,} characters, got a longer one",
            )
        self._record_characters += len(line)
        if self._record_characters > MAX_RECORD_CHARACTERS:
            raise Damaged(
                self._number,
                f"expected rows of at most {MAX_RECORD_CHARACTERS:,} characters, got a longer one; "
                "is a quote not closed?",
            )
        return line


def iter_records(text: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records with their row numbers, as a spreadsheet counts: from 1, a quoted newline opens no row, an
    empty line is one. A first line `sep=;` is none.

    Raises: Damaged.
    """
    lines = _Lines(text)
    # Blanks before a quote belong to nobody: values are trimmed anyway.
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    for number in itertools.count(1):
        lines.begin(number)
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise Damaged(number, _reason(error)) from None
        yield number, cells


def _reason(error: csv.Error) -> str:
    # The csv module tells its faults apart by their text alone.
    text = str(error)
    if "unexpected end of data" in text:
        return "a quote is opened here and not closed before the end of the file"
    if "field larger than" in text:
        return (
            f"expected cells of at most {csv.field_size_limit():,} characters, got a longer one; "
            "is a quote not closed?"
        )
    return (
        "expected a delimiter after a closing quote, got more text; "
        "a quote inside a quoted value is written twice"
    )


def is_filler(cells: Sequence[str]) -> bool:
    """Whether a record is an empty line or a comment: no header and no row."""
    return not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith("#")


def find_delimiter(text: TextIO) -> tuple[str, bool]:
    """The delimiter that the first line names (`sep=;`), else the one under which the first lines make the best header:
    most known columns, then equal widths; and whether a blank follows each in the header.

    A file of one column gives a comma.
    """
    sample = text.read(_SAMPLE_CHARACTERS).lstrip(_MARK)
    first, _, below = sample.partition("\n")
    named = _SEPARATOR_LINE.fullmatch(first.rstrip("\r"))
    if named:
        sample = below
    if len(sample) >= _SAMPLE_CHARACTERS - len(first):
        sample = sample[: max(sample.rfind("\n"), sample.rfind("\r")) + 1] or sample
    delimiter = max(DELIMITERS, key=lambda each: _score(sample, each))
    # The line may be left of a file that was written anew.
    if named and (_score(sample, named[1])[:2] != (0, 0) or _score(sample, delimiter)[:2] == (0, 0)):
        delimiter = named[1]
    lines = (line for line in sample.splitlines() if delimiter in line)
    _, *cells = next(lines, "").split(delimiter)
    return delimiter, bool(cells) and all(cell.startswith(" ") for cell in cells)


def _score(sample: str, delimiter: str) -> tuple[int, int, float, int]:
    header, *rows = list(itertools.islice(_sample(sample, delimiter), _SAMPLE_RECORDS)) or [[]]
    width = len(header)
    alike = sum(len(row) == width for row in rows) / len(rows) if rows and width > 1 else 0.0
    known = sum(map(is_known, header))
    # Titles may stand above the header, and have no delimiter.
    below = 0 if known else max((sum(map(is_known, row)) for row in rows), default=0)
    return known, below, alike, width


def _sample(sample: str, delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        yield from (cells for cells in reader if not is_filler(cells))
    except csv.Error:
        return
