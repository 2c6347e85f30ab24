"""Rows that a stray quote has swallowed: an opening quote in a text runs to the next one, however many lines below.

What such a cell holds was meant to be rows, with customers and their credentials. So a cell with line breaks is held
against what rows of this file look like, and so is a line with fewer cells than the header, from which a quote may have
taken some along, or of which it may have left the rest to the next line.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from worker.domain.rows import SECRET_COLUMNS, Problem
from worker.domain.targets import fold
from worker.intake.columns import Header, may_have_lines
from worker.intake.files import Line

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
# Blocks that follow each other, and nothing between them; in a block base64, or a header such as `Proc-Type: 4,ENCRYPTED`.
_PEM = re.compile(
    r"(?:-----BEGIN [A-Z0-9 ]+-----\s*\n(?:(?:[A-Za-z0-9+/=]+|[A-Za-z-]+: [^\n]*)?[ \t\r]*\n)*-----END [A-Z0-9 ]+-----\s*)+"
)
_WORD = re.compile(r"[^\W_]+")
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def kind_of(account_id: str) -> str:
    """What ids that were made the same way have in common: `acme-1` and `globex-22` are both `a-9`."""
    if _GUID.fullmatch(account_id):
        return "guid"
    return _WORD.sub(lambda word: _kind_of_word(word[0]), account_id)


def _kind_of_word(word: str) -> str:
    if word.isdecimal():
        return "9"
    if not word.isalpha():
        return "x"
    return "a" if word.islower() else "A" if word.isupper() else "Aa"


@dataclass(slots=True)
class Usual:
    """What is usual in a file, by the lines that are sure of their cells.

    `connectors`: folded, as rows name them; `kinds`: of account ids, with the shortest and the longest length of each;
    `credentials`: the shortest and the longest length of one, None where there is none; `widths`: how many cells lines have;
    `has_short`: some line has fewer cells than the header, and nothing in it that explains it.
    """

    connectors: frozenset[str] = frozenset()
    kinds: dict[str, tuple[int, int]] | None = None
    credentials: tuple[int, int] | None = None
    widths: frozenset[int] = frozenset()
    has_short: bool = False


class Swallowed:
    """Finds the cells of a file that have swallowed others.

    `is_account`: whether Cyclr has an account of this id, as far as it was asked. `needs_connector`: whether rows name
    their connector.
    """

    def __init__(
        self,
        header: Header,
        usual: Usual,
        *,
        needs_connector: bool,
        is_account: Callable[[str], bool],
    ) -> None:
        self._header = header
        self._usual = usual
        self._account_at = header.positions["account_id"]
        self._connector_at = header.positions.get("connector") if needs_connector else None
        self._credentials_at = [header.positions[name] for name in SECRET_COLUMNS if name in header.positions]
        self._is_account = is_account

    def find(self, line: Line) -> tuple[int, Problem] | None:
        """The first cell of the line that may have swallowed others, by its position, and the problem; None where none has."""
        for position, text in line.broken:
            if not is_document(text) and self._has_rows(position, text):
                return position, self._rows_in(line, position, text)
        if is_unsure(line, self._header) and not self._is_short_as_usual(line):
            is_cut = bool(line.broken) or any('"' in cell for cell in line.cells)
            first = 0 if is_cut else find_merged(line, self._header)[0]
            reason = (
                f"expected {len(self._header.columns)} cells as in the header, got {len(line.cells)}, and a quote, a line break or "
                "a delimiter stands in one: is a quote misplaced here, or in the line above? If all is right, write the empty "
                "cells too"
            )
            return first, Problem(line.number, None, reason)
        return None

    def _rows_in(self, line: Line, position: int, text: str) -> Problem:
        below = len(_LINE_BREAK.findall(text))
        columns = self._header.columns
        column = columns[position] if position < len(columns) else ""
        return Problem(
            line.number,
            column or f"number {position + 1}",
            f"rows {line.number} to {line.number + below} of the file stand in this cell, since a quote opens in it and closes "
            f"{below} {'line' if below == 1 else 'lines'} below: write a quote that belongs to a text twice, in a text in "
            "quotes, or take it away; if all of it is one text, write it without line breaks",
        )

    def _is_short_as_usual(self, line: Line) -> bool:
        """Whether a short line is one among others, so that what stands in it stands where it should."""
        if not self._usual.has_short:
            return False
        connector = _cell(line.cells, self._connector_at)
        if self._connector_at is not None and fold(connector) not in self._usual.connectors:
            return False
        account_id = _cell(line.cells, self._account_at)
        if not (self._is_account(account_id) or self._is_of_the_kind(account_id)):
            return False
        taken = find_merged(line, self._header)
        missing = len(self._header.columns) - len(line.cells)
        hides_one = any(at <= secret <= at + missing for at in taken for secret in self._credentials_at)
        return not hides_one or self._has_credentials(line.cells)

    def _has_rows(self, position: int, text: str) -> bool:
        return any(
            self._is_row(cells, position)
            for line in _LINE_BREAK.split(text)
            for cells in readings(line, self._header.delimiter)
        )

    def _is_row(self, cells: tuple[str, ...], position: int) -> bool:
        """Whether a line of a cell reads as a row of this file, or as what was left of one.

        `position`: of the cell. The text that the quote opens ends in one of the lines, and what followed it in its row
        stands there; the others are rows, the last one as far as its own quote.
        """
        if (
            position
            and position + len(cells) in self._usual.widths
            and self._names_a_row(("",) * position + cells)
        ):
            return True
        return len(cells) > 1 and self._names_a_row(cells)

    def _names_a_row(self, cells: tuple[str, ...]) -> bool:
        is_whole = len(cells) in self._usual.widths
        is_prose = not self._header.is_spaced and _is_prose(cells)
        connector = _cell(cells, self._connector_at)
        account_id = _cell(cells, self._account_at)
        if connector and fold(connector) in self._usual.connectors:
            is_wider = len(cells) > len(self._header.columns)
            if is_whole or not (is_prose or is_wider) or self._is_account(account_id):
                return True
            return self._is_of_the_kind(account_id)
        if is_prose or len(cells) > len(self._header.columns):
            return False
        if account_id and self._is_account(account_id):
            return True
        # A word or a number may stand in a text too, unless all cells of a row are there.
        if self._is_of_the_kind(account_id) and (is_whole or not account_id.isalnum()):
            return True
        return is_whole and self._has_credentials(cells)

    def _is_of_the_kind(self, account_id: str) -> bool:
        kind = kind_of(account_id)
        lengths = (self._usual.kinds or {}).get(kind) if account_id else None
        if lengths is None:
            return False
        # Any number is of this kind, so its length counts.
        return kind != "9" or lengths[0] - 1 <= len(account_id) <= lengths[1] + 1

    def _has_credentials(self, cells: tuple[str, ...]) -> bool:
        """Whether the cells of credentials look like those of the file: of about their length, with digits, without blanks."""
        if self._usual.credentials is None:
            return False
        shortest, longest = self._usual.credentials
        given = [cell for at in self._credentials_at if (cell := _cell(cells, at))]
        return bool(given) and all(
            shortest <= 2 * len(cell) <= 4 * longest
            and any(map(str.isdecimal, cell))
            and not any(map(str.isspace, cell))
            for cell in given
        )


def _cell(cells: tuple[str, ...], position: int | None) -> str:
    return cells[position].strip() if position is not None and position < len(cells) else ""


def _is_prose(cells: tuple[str, ...]) -> bool:
    """A blank follows each comma in an address, and none in a file that a program has written."""
    return len(cells) > 1 and all(cell.startswith(" ") for cell in cells[1:] if cell)


def readings(line: str, delimiter: str) -> Iterator[tuple[str, ...]]:
    """The cells of one line of text, by the rules of quotes and without them: half of a quoted cell may stand in it."""
    plain = tuple(line.split(delimiter))
    yield plain
    if '"' in line:
        try:
            quoted = tuple(next(csv.reader([line], delimiter=delimiter), ()))
        except csv.Error:
            return
        if quoted != plain:
            yield quoted


def is_document(text: str) -> bool:
    """Whether the text is a printed key: JSON or PEM as a whole."""
    text = text.strip()
    if text.startswith("-----BEGIN ") and _PEM.fullmatch(text):
        return True
    if not text.startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def is_unsure(line: Line, header: Header) -> bool:
    """Whether a quote may have taken cells of this line along, or left the rest of it to the next one.

    A credential could stand in any column then, and be taken for an account or a connector: nobody is asked about them
    before the file is known as a whole.
    """
    if len(line.cells) >= len(header.columns) or not header.masked:
        return False
    if any('"' in cell for cell in line.cells) or any(not is_document(text) for _, text in line.broken):
        return True
    return bool(find_merged(line, header))


def find_merged(line: Line, header: Header) -> list[int]:
    """The cells that hold the delimiter as often as the line lacks cells, left of a credential or in one; by position."""
    missing = len(header.columns) - len(line.cells)
    last = max(header.masked, default=-1)
    return [
        position
        for position, cell in enumerate(line.cells)
        if missing > 0 and position <= last and cell.count(header.delimiter) >= missing
    ]


def first_hidden(line: Line, header: Header) -> int | None:
    """From where on a refused line may hold credentials in columns that are shown; None where it does not."""
    if len(line.cells) < len(header.columns) and header.masked:
        return 0  # perhaps what is left of a row whose text was ended too early
    for at, text in line.broken:
        name = header.names[at] if at < len(header.names) else None
        if name is not None and not may_have_lines(name) and not is_document(text):
            return at
    return None
