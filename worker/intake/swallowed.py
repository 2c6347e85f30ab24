"""Rows that a stray quote has swallowed: an opening quote in a text runs to the next one, however many lines below.

What such a cell holds was meant to be rows, with customers and their credentials. So a cell with line breaks is held
against what rows of this file look like.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from worker.domain.rows import Problem
from worker.domain.targets import fold
from worker.domain.wording import counted
from worker.intake.columns import Header, may_have_lines
from worker.intake.files import Line

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
# Blocks that follow each other, and nothing between them.
_PEM = re.compile(r"(?:-----BEGIN [A-Z0-9 ]+-----[A-Za-z0-9+/=\s:,-]*?-----END [A-Z0-9 ]+-----\s*)+")
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
    """What is usual in a file. `connectors`: folded, as its rows name them; `kinds`: of its account ids, with the shortest
    and the longest length of each; `widths`: how many cells its lines have; `is_full`: no line has fewer cells than the
    header, but for such as may have lost some in a quote.
    """

    connectors: frozenset[str]
    kinds: dict[str, tuple[int, int]]
    widths: frozenset[int]
    is_full: bool


class Swallowed:
    """Finds the cells of a file that have swallowed rows.

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
        self._is_account = is_account
        width = len(header.columns)
        self._missing = max(0, width - min(usual.widths, default=width))

    def find(self, line: Line) -> tuple[int, Problem] | None:
        """The first cell of the line that has swallowed others, by its position, and the problem; None where there is none."""
        for position, text in line.broken:
            if not is_document(text) and self._has_rows(position, text):
                return position, self._problem(line, position, text)
        return self._find_short(line)

    def _problem(self, line: Line, position: int, text: str) -> Problem:
        last = line.number + len(_LINE_BREAK.findall(text))
        return Problem(
            line.number,
            self._column(position),
            f"rows {line.number} to {last} of the file stand in this cell, since a quote opens in it and closes {last - line.number} "
            "lines below: write a quote that belongs to a text twice, in a text in quotes, or take it away",
        )

    def _find_short(self, line: Line) -> tuple[int, Problem] | None:
        """A cell that has swallowed others of its own line, in a file whose lines are all as long as the header."""
        position = find_merged(line, self._header) if self._usual.is_full else None
        return None if position is None else (position, lost_cells(line, self._header))

    def first_unsure(self, line: Line) -> int | None:
        """From where on a refused line may hold credentials in columns that are shown; None where it does not."""
        unsure = [at for at, text in line.broken if self._has_no_lines(at) and not is_document(text)]
        merged = find_merged(line, self._header)
        return min((*unsure, *(() if merged is None else (merged,))), default=None)

    def _has_no_lines(self, position: int) -> bool:
        """Whether a cell of this column cannot have line breaks."""
        name = self._header.names[position] if position < len(self._header.names) else None
        return name is not None and not may_have_lines(name)

    def _column(self, position: int) -> str:
        columns = self._header.columns
        return (
            columns[position] if position < len(columns) and columns[position] else f"number {position + 1}"
        )

    def _has_rows(self, position: int, text: str) -> bool:
        lines = _LINE_BREAK.split(text)
        last = len(lines) - 1
        return any(
            self._is_row(cells, position, is_first=number == 0, is_last=number == last)
            for number, line in enumerate(lines)
            for cells in readings(line, self._header.delimiter)
        )

    def _is_row(self, cells: tuple[str, ...], position: int, *, is_first: bool, is_last: bool) -> bool:
        """Whether a line of the cell at `position` reads as a row of this file, or as what was left of one.

        The first line is what followed the quote in its row, and the last one what came before the closing quote in
        another; both may be whole rows too.
        """
        width = len(self._header.columns)
        if is_first and position and position + len(cells) in self._usual.widths:
            whole = ("",) * position + cells
            if self._names_a_row(whole, is_whole=True):
                return True
        if is_first or is_last:
            least = position + 1 - self._missing if is_last else 2
            is_whole = len(cells) in self._usual.widths
            return least <= len(cells) <= width and self._names_a_row(cells, is_whole=is_whole)
        return len(cells) in self._usual.widths and self._names_a_row(cells, is_whole=True)

    def _names_a_row(self, cells: tuple[str, ...], *, is_whole: bool) -> bool:
        connector = self._cell(cells, self._connector_at)
        if connector and fold(connector) in self._usual.connectors:
            return True
        account_id = self._cell(cells, self._account_at)
        if not account_id:
            return False
        return self._is_account(account_id) or (is_whole and self._is_of_the_kind(account_id, cells))

    def _cell(self, cells: tuple[str, ...], position: int | None) -> str:
        return cells[position].strip() if position is not None and position < len(cells) else ""

    def _is_of_the_kind(self, account_id: str, cells: tuple[str, ...]) -> bool:
        kind = kind_of(account_id)
        lengths = self._usual.kinds.get(kind)
        if lengths is None:
            return False
        if kind == "9":  # any number is of this kind, so its length counts
            return lengths[0] - 1 <= len(account_id) <= lengths[1] + 1
        # A blank follows each comma in an address, and none in a file that a program has written.
        return not all(cell.startswith(" ") for cell in cells[1:] if cell)


def find_moved(line: Line, header: Header) -> int | None:
    """From where on the cells of a line that is too short may stand in other columns than their own; None where they do not.

    A quote that ends a text too early leaves the rest of its row to the next line; one that ends it too late takes cells or
    lines along. A credential could stand in any column then, and be taken for an account or a connector.
    """
    if len(line.cells) >= len(header.columns) or not header.masked:
        return None
    if line.broken or any('"' in cell for cell in line.cells):
        return 0
    merged = find_merged(line, header)
    needed = max(header.positions[name] for name in ("account_id", "connector") if name in header.positions)
    return merged if merged is not None and merged < needed else None


def find_merged(line: Line, header: Header) -> int | None:
    """The position of a cell that may have swallowed others of its line, a credential among them; None where there is none."""
    missing = len(header.columns) - len(line.cells)
    if missing < 1:
        return None
    last_masked = max(header.masked, default=-1)
    places = (
        position
        for position, cell in enumerate(line.cells)
        if position < last_masked and cell.count(header.delimiter) >= missing
    )
    return next(places, None)


def lost_cells(line: Line, header: Header) -> Problem:
    return Problem(
        line.number,
        None,
        f"expected {counted(len(header.columns), 'cell')} as in the header, got {len(line.cells)}, and a quote, a line break or a delimiter "
        "stands in one: is a quote misplaced here, or in the line above? Write empty cells as such, and a quote of a text twice",
    )


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
