"""Which column of a file is which: names are compared without case, spaces and dashes read as underscores."""

import difflib
import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from worker.domain.rows import (
    AUTH_COLUMNS,
    NOT_EXPORTED,
    PROPERTY_PREFIX,
    SECRET_COLUMNS,
    Problem,
    Warning_,
    Way,
)
from worker.domain.words import counted, listed
from worker.intake.foreign import find_meant
from worker.intake.values import unescape

ACCOUNT_COLUMNS = ("account_name", "account_description", "account_timezone")
INPUT_COLUMNS = (
    "account_id",
    "connector",
    "connector_version",
    "name",
    "description",
    "authentication",
    *AUTH_COLUMNS,
    *ACCOUNT_COLUMNS,
    "reference",
)
RESULT_COLUMNS = (
    "_job",
    "_row",
    "_state",
    "_outcome",
    "_code",
    "_message",
    "_account_connector_id",
    "_attempts",
    "_authenticated",
    "_differs",
    "_changed",
    "_account_created",
)
PROBLEMS_COLUMN = "_problems"  # of a list of problems, which is no input
_HALVES = frozenset({"_job", "_row"})  # of the way to a stored row
OWN_PREFIX = (
    "x_"  # a column of the person's own: it stands in the result file again, and nothing else is done with it
)
MAX_COLUMNS = 500
_LISTED_COLUMNS = 30
# In lower case, as people and programs write them.
COLUMN_NAMES = frozenset(name.replace("_", separator) for name in INPUT_COLUMNS for separator in "_ -")
_NAMED_COLUMNS = 10

_MULTILINE = frozenset({"description", "account_description", "reference", "auth_value", "api_key"})
_KNOWN = frozenset({*INPUT_COLUMNS, *RESULT_COLUMNS})
_SEPARATORS = re.compile(r"[\s-]+")
# A credential in a column that was misspelt must not turn up in a result file.
_LOOKS_SECRET = re.compile(r"key|secret|token|passw|pwd|auth(?!or)|credential|propert")
_PLAIN_WORDS = re.compile(r"[^\W\d_]+([ _-][^\W\d_]+){0,3}")

ProblemOrWarning = TypeVar("ProblemOrWarning", Problem, Warning_)


def canonical(column: str) -> str:
    """The product's name for a column as typed; after `property.` the TargetName keeps its case."""
    column = column.strip()
    prefix, dot, target_name = column.partition(".")
    if dot and prefix.strip().casefold() == "property":
        return f"{PROPERTY_PREFIX}{target_name.strip()}"
    return _SEPARATORS.sub("_", column.casefold())


def is_known(column: str) -> bool:
    name = canonical(column)
    return name in _KNOWN or name.startswith(PROPERTY_PREFIX)


def is_own(column: str) -> bool:
    return canonical(column).startswith(OWN_PREFIX)


def find_position(columns: Sequence[str], name: str) -> int | None:
    """Where the column of this name stands among those that were typed."""
    return next((at for at, column in enumerate(columns) if canonical(column) == name), None)


@dataclass(frozen=True)
class Header:
    """The columns of a file. `columns`: as typed; `names`: the product's name for each, None where unknown.

    `width`: the cells of the header line, with the empty ones at its end, which are no columns. `delimiter`: between cells.
    `is_spaced`: a blank follows each delimiter, in the whole file as in its header. `mapped`: the positions of columns of which
    a person has said what they are.
    """

    columns: tuple[str, ...]
    names: tuple[str | None, ...]
    width: int
    delimiter: str = ","
    is_spaced: bool = False
    mapped: frozenset[int] = frozenset()

    @property
    def result_columns(self) -> tuple[str, ...]:
        """As the result file names them: those that a person has named by the product's name, so that it is an input by itself."""
        return tuple(
            column
            if at not in self.mapped
            else name or (f"{OWN_PREFIX}{column}" if is_known(column) else column)
            for at, (column, name) in enumerate(zip(self.columns, self.names, strict=True))
        )

    @cached_property
    def positions(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names) if name is not None}

    @cached_property
    def is_result(self) -> bool:
        return "_state" in self.positions

    @cached_property
    def properties(self) -> tuple[str, ...]:
        """The property columns, in the file's order."""
        return tuple(name for name in self.positions if name.startswith(PROPERTY_PREFIX))

    @cached_property
    def inputs(self) -> tuple[tuple[str, int], ...]:
        """Name and position of every column that is read; the result columns are not."""
        return tuple(
            (name, position) for name, position in self.positions.items() if name not in RESULT_COLUMNS
        )

    @cached_property
    def secrets(self) -> tuple[tuple[str, int], ...]:
        """Name and position of every column whose values are secrets until the catalogue says otherwise."""
        return tuple((name, position) for name, position in self.inputs if is_secret(name))

    @cached_property
    def masked(self) -> frozenset[int]:
        """The positions whose values are never exported."""
        unknown = (
            position
            for position, name in enumerate(self.names)
            if name is None and _may_be_secret(self.columns[position])
        )
        return frozenset({*(position for _, position in self.secrets), *unknown})

    def label(self, name: str) -> str:
        """The column as the spreadsheet shows it."""
        position = self.positions.get(name)
        return name if position is None else self.columns[position]

    def labelled(self, finding: ProblemOrWarning) -> ProblemOrWarning:
        """The finding with its column as the spreadsheet shows it."""
        return finding if finding.column is None else replace(finding, column=self.label(finding.column))

    def mask(self, cells: Sequence[str]) -> tuple[str, ...]:
        """The cells in the file's column order, as many as there are columns, without the secrets."""
        masked = self.masked
        padded = (*cells, *("",) * (len(self.columns) - len(cells)))
        return tuple(
            NOT_EXPORTED if cell and position in masked else cell for position, cell in enumerate(padded)
        )

    def mask_from(self, cells: Sequence[str], position: int) -> tuple[str, ...]:
        """As `mask`, for a line that is not sure of its columns from `position` on: a secret may stand in any of them."""
        masked = self.mask(cells[: len(self.columns)])
        if not self.masked:
            return masked
        return tuple(NOT_EXPORTED if cell and at >= position else cell for at, cell in enumerate(masked))

    def problems(self) -> Iterator[Problem]:
        """What is wrong with it as a whole."""
        if PROBLEMS_COLUMN in map(canonical, self.columns):
            yield Problem(
                None, None, "this is a list of problems, without the credentials: correct your own file"
            )
            return
        if len(_HALVES.intersection(self.positions)) == 1:
            (given,) = _HALVES.intersection(self.positions)
            (other,) = _HALVES.difference(self.positions)
            reason = f"expected {other} beside it, as in a result file, got it alone: put {other} back, or take {given} out too"
            yield Problem(None, given, reason)
        if len(self.columns) > MAX_COLUMNS:
            yield Problem(None, None, f"expected at most {MAX_COLUMNS} columns, got {len(self.columns):,}")
            return
        if "account_id" not in self.positions:
            yield Problem(
                None, "account_id", f"expected this column, {self._found()}{self._meant()}", way=Way.COLUMNS
            )
        yield from self._repeated()
        for name, position in self.positions.items():
            if name == PROPERTY_PREFIX:
                yield Problem(
                    None, self.columns[position], "expected the TargetName of a property after the dot"
                )

    def warnings(self) -> Iterator[Warning_]:
        """What may be wrong with it. Those that say the same of many columns are one."""
        if self.is_result and _HALVES.isdisjoint(self.positions):
            yield Warning_(None, None, "a result file without _job and _row: all of its rows are new ones")
        unnamed: list[str] = []
        unknown: dict[tuple[bool, str], list[str]] = {}
        for position, name in enumerate(self.names):
            column = self.columns[position]
            if name is None and not column:
                unnamed.append(f"{position + 1}")
            elif name is None and is_own(column):
                if position in self.masked:
                    reason = "its values are not exported, since by its name they may be credentials: call it something else"
                    yield Warning_(None, column[:80], reason)
            elif name is None:
                hint = _did_you_mean(column)
                withheld = position in self.masked
                unknown.setdefault((withheld, hint), []).append(column)
        if len(unnamed) == 1:
            yield Warning_(None, None, f"column {unnamed[0]} has no name and is ignored")
        elif unnamed:
            reason = f"columns {_first_of(unnamed)} have no names and are ignored"
            yield Warning_(None, None, reason, len(unnamed))
        for (withheld, hint), columns in unknown.items():
            if len(columns) == 1:
                unsaid = ", its values are not exported" if withheld else ""
                yield Warning_(None, columns[0][:80], f"unknown, it is ignored{unsaid}{hint}")
            else:
                unsaid = ", their values are not exported" if withheld else ""
                reason = f"columns {_first_of(columns)} are unknown, they are ignored{unsaid}{hint}"
                yield Warning_(None, None, reason, len(columns))

    def _repeated(self) -> Iterator[Problem]:
        first: dict[str, str] = {}
        for name, column in zip(self.names, self.columns, strict=True):
            if name is None:
                continue
            if name in first:
                yield Problem(None, name, f"expected it once, got it as '{first[name]}' and as '{column}'")
            first.setdefault(name, column)

    def _meant(self) -> str:
        """What its names may be, in words."""
        found = [
            f"'{column[:40]}' is {meant}"
            for column, name in zip(self.columns, self.names, strict=True)
            if name is None and (meant := find_meant(column)) and meant not in self.positions
        ]
        return f"; perhaps {listed(found, len(found))}" if found else ""

    def _found(self) -> str:
        columns = self.columns
        if any(name is not None for name in self.names) or any(find_similar(column) for column in columns):
            # Where a quote in the header has swallowed lines, cells of theirs stand here as names.
            shown = ", ".join(
                column[:40]
                if name or _PLAIN_WORDS.fullmatch(column[:40]) or find_similar(column)
                else f"column {number}"
                for number, (column, name) in enumerate(zip(columns, self.names, strict=True), start=1)
                if number <= _LISTED_COLUMNS
            )
            more = len(columns) - _LISTED_COLUMNS
            return f"got {shown}" + (f" and {more} more" if more > 0 else "")
        # Perhaps there is no header, and what looks like one is data: only a first cell of plain words is shown.
        begins = f" that begins with '{columns[0]}'" if _PLAIN_WORDS.fullmatch(columns[0][:40]) else ""
        return f"got a first line of {counted(len(columns), 'cell')}{begins} and holds no column name; is the header missing?"


def may_have_lines(name: str) -> bool:
    return name in _MULTILINE or name.startswith(PROPERTY_PREFIX)


def is_secret(name: str) -> bool:
    return name in SECRET_COLUMNS or name.startswith(PROPERTY_PREFIX)


def read_header(
    cells: Sequence[str],
    delimiter: str = ",",
    *,
    is_spaced: bool = False,
    mapping: AbstractSet[str] = frozenset(),
) -> tuple[Header, tuple[Problem, ...], tuple[Warning_, ...]]:
    """The header, what is wrong with it as a whole, and what may be. `is_spaced`: as in `Header`.

    `mapping`: what a person says that columns are, `Kontonummer=account_id`; nothing behind the sign: it is not used.
    """
    typed = _typed(cells)
    names = [canonical(column) if is_known(column) else None for column in typed]
    mapped: set[int] = set()
    wrong: list[Problem] = []
    for each in sorted(mapping):
        column, name = mapped_column(each), canonical(each.rpartition("=")[2])
        at = next((at for at, other in enumerate(typed) if _is_called(other, column)), None)
        if at is None:
            wrong.append(
                Problem(
                    None, None, f"there is no column '{column[:40]}', which was to be taken as another one"
                )
            )
        elif name and (not is_known(name) or name in RESULT_COLUMNS):
            reason = f"expected a column of the product behind '{column[:40]}=', got another name"
            wrong.append(Problem(None, None, f"{reason}{_did_you_mean(name)}"))
        else:
            names[at] = name or None
            mapped.add(at)
    header = Header(typed, tuple(names), len(cells), delimiter, is_spaced, frozenset(mapped))
    problems = (*wrong, *header.problems())
    return header, problems, () if problems else tuple(header.warnings())


def mapped_column(mapping: str) -> str:
    """The column, as typed, of which `mapping` says what it is."""
    return mapping.rpartition("=")[0].strip()


def _is_called(typed: str, column: str) -> bool:
    return typed.casefold() == column.casefold()


def _did_you_mean(name: str) -> str:
    return f"; did you mean {similar}?" if (similar := find_similar(name)) else ""


def _typed(cells: Sequence[str]) -> tuple[str, ...]:
    columns = [cell.strip() for cell in cells]
    while columns and not columns[-1]:
        columns.pop()
    if "_state" in map(canonical, columns):
        columns = [unescape(column) for column in columns]
    return tuple(columns)


def _may_be_secret(column: str) -> bool:
    """Whether an unknown column may hold credentials: by its name, or by one that it resembles."""
    letters = "".join(filter(str.isalpha, column.casefold()))
    return _LOOKS_SECRET.search(letters) is not None or find_similar(column) in SECRET_COLUMNS


def find_similar(column: str) -> str | None:
    """The column that this one resembles, or is the word for in another language, and that may be meant."""
    return find_meant(column) or next(
        iter(difflib.get_close_matches(canonical(column), INPUT_COLUMNS, n=1, cutoff=0.8)), None
    )


def is_plain_name(column: str) -> bool:
    """Whether it is words, so that it can be shown where it may be no name at all."""
    return len(column) <= 40 and _PLAIN_WORDS.fullmatch(column) is not None


def _first_of(columns: Sequence[str]) -> str:
    return listed([column[:40] for column in columns[:_NAMED_COLUMNS]], len(columns))
