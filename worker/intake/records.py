"""Text becomes numbered records: the structure of a CSV file, with bounds on what one record may hold."""

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import TextIO

from worker.intake.columns import is_known

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


class _BadText(Exception):
    """The text of the record in hand cannot be one."""


class _Lines:
    """The physical lines of a text, one at a time, none longer than the bounds."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._is_first = True
        self.record_characters = 0

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
            raise _BadText("expected text, got a NUL character: export the sheet as CSV again")
        if len(line) == MAX_LINE_CHARACTERS:
            raise _BadText(
                f"expected lines of less than {MAX_LINE_CHARACTERS:,} characters, got a longer one"
            )
        self.record_characters += len(line)
        if self.record_characters > MAX_RECORD_CHARACTERS:
            raise _BadText(
                f"expected rows of at most {MAX_RECORD_CHARACTERS:,} characters, got a longer one; "
                "is a quote not closed?"
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
        lines.record_characters = 0
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _BadText as error:
            raise Damaged(number, str(error)) from None
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
