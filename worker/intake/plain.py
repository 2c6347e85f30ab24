"""The rows that most files are made of, read in a fraction of the time.

`rows.py` holds the rules. Most of them look at which cells are filled, and most lines of a file have the same ones
filled: what such a line may be is found once, by those rules. What depends on a value (a length, an invisible
character, a rounded number) is ruled out for the whole line at once. Every other line is read by `rows.py`.
"""

import re
from dataclasses import dataclass

from worker.domain.connectors import ConnectorRef
from worker.domain.options import RunOptions
from worker.domain.rows import AUTH_COLUMNS, NOT_EXPORTED, NewAccount, Problem, RefusedRow, Row
from worker.intake.columns import COLUMN_NAMES, Header, is_secret
from worker.intake.files import Line
from worker.intake.rows import LATER, longest, read_row
from worker.intake.swallowed import Swallowed
from worker.intake.values import is_plain

_MOST_SHAPES = _MOST_REFS = 1_000
_ROUNDED = re.compile(r"\de\+\d")
# Columns whose values have rules of their own.
_READ_ONE_BY_ONE = frozenset({"expires", "account_timezone"})

Filled = tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class _Shape:
    """What lines with the same cells filled have in common: positions, None where the cell is empty."""

    account_id: int
    connector: int | None
    version: int | None
    name: int | None
    description: int | None
    authentication: int | None
    reference: int | None
    account_name: int | None
    account_description: int | None
    username: int | None
    secrets: tuple[tuple[str, int], ...]
    masked: tuple[int, ...]
    longest: tuple[tuple[int, int], ...]
    shortest: int  # of these


class RowReader:
    """Reads the lines of one file. `read` gives what `read_row` gives, for a line that is neither empty nor a comment.

    `swallowed`: as in `read_row`.
    """

    def __init__(self, header: Header, options: RunOptions, swallowed: Swallowed | None = None) -> None:
        self._header = header
        self._options = options
        self._swallowed = swallowed
        self._is_after_cut = False
        self._shapes: dict[Filled, _Shape | None] = {}
        self._refs: dict[tuple[str, str | None], ConnectorRef] = {}

    def read(self, line: Line) -> Row | RefusedRow:
        filled = tuple(map(bool, line.cells))
        try:
            shape = self._shapes[filled]
        except KeyError:
            shape = self._find_shape(line, filled)
            if len(self._shapes) < _MOST_SHAPES:
                self._shapes[filled] = shape
        if (
            shape is not None
            and not (line.broken or line.doubts or line.spoilt or self._is_after_cut)
            and _is_plain(line.cells, shape)
        ):
            return self._row(line.number, line.cells, shape)
        row = read_row(line, self._header, self._options, self._swallowed)
        if self._is_after_cut and any('"' in cell for cell in line.cells):
            reason = "the line above ends too early, and this may be the rest of it: mend the quotes there"
            problem = Problem(line.number, None, reason)
            row = RefusedRow(line.number, self._header.mask_from(line.cells, 0), (problem,))
        is_short = len(line.cells) < len(self._header.columns)
        self._is_after_cut = self._swallowed is not None and is_short and isinstance(row, RefusedRow)
        return row

    def _find_shape(self, line: Line, filled: Filled) -> _Shape | None:
        """None where a rule may refuse such a line for what is filled, or for values that only `rows.py` knows."""
        header = self._header
        if header.is_result or len(line.cells) != len(header.columns):
            return None
        sample = Line(line.number, tuple("x" if cell else "" for cell in line.cells))
        positions = {name: at for name, at in header.positions.items() if filled[at]}
        if not _READ_ONE_BY_ONE.isdisjoint(positions):
            return None
        if isinstance(read_row(sample, header, self._options), RefusedRow):
            return None
        inputs = [(name, at) for name, at in header.inputs if filled[at]]
        return _Shape(
            account_id=positions["account_id"],
            connector=positions.get("connector"),
            version=positions.get("connector_version"),
            name=positions.get("name"),
            description=positions.get("description"),
            authentication=positions.get("authentication"),
            reference=positions.get("reference"),
            account_name=positions.get("account_name"),
            account_description=positions.get("account_description"),
            username=positions.get("username"),
            secrets=tuple((name, at) for name, at in inputs if is_secret(name) or name in AUTH_COLUMNS),
            masked=tuple(at for at in header.masked if filled[at]),
            longest=tuple((at, longest(name)) for name, at in inputs),
            shortest=min(longest(name) for name, _ in inputs),
        )

    def _row(self, number: int, cells: tuple[str, ...], shape: _Shape) -> Row:
        masked = list(cells)
        for at in shape.masked:
            masked[at] = NOT_EXPORTED
        account = None
        if shape.account_name is not None:
            account = NewAccount(cells[shape.account_name], _at(cells, shape.account_description))
        return Row(
            number,
            cells[shape.account_id],
            self._ref(_at(cells, shape.connector), _at(cells, shape.version)),
            tuple(masked),
            {name: cells[at] for name, at in shape.secrets},
            _at(cells, shape.name),
            _at(cells, shape.description),
            _at(cells, shape.authentication),
            account,
            _at(cells, shape.reference),
        )

    def _ref(self, name: str | None, version: str | None) -> ConnectorRef:
        key = (self._options.connector or name or "", version)
        ref = self._refs.get(key)
        if ref is None:
            ref = ConnectorRef(*key)
            if len(self._refs) < _MOST_REFS:
                self._refs[key] = ref
        return ref


def _is_plain(cells: tuple[str, ...], shape: _Shape) -> bool:
    """Whether no value of the line can break a rule."""
    text = "|" + "|".join(cells)
    if not text.isprintable() or not is_plain(cells, text):
        return False
    account_id = cells[shape.account_id]
    # Perhaps the header once more; and a rule looks closer at letters of other alphabets.
    if account_id.lower() in COLUMN_NAMES or not account_id.isascii():
        return False
    if len(text) > shape.shortest and any(len(cells[at]) > most for at, most in shape.longest):
        return False
    folded = text.casefold()
    # The pattern is slow in a long cell, and hardly any line has the two characters that it needs.
    if NOT_EXPORTED in folded or ("e+" in folded and _ROUNDED.search(folded)):
        return False
    if shape.username is not None and ":" in cells[shape.username]:
        return False
    return shape.authentication is None or (folded.isascii() and LATER not in folded)


def _at(cells: tuple[str, ...], position: int | None) -> str | None:
    return None if position is None else cells[position]
