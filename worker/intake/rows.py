"""A line becomes a row, by the rules that need nothing but the file; every problem of a line is found."""

import re
import unicodedata
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from worker.domain.accounts import why_no_account_id
from worker.domain.connectors import ConnectorRef
from worker.domain.rows import (
    AUTH_COLUMNS,
    NOT_EXPORTED,
    SECRET_COLUMNS,
    NewAccount,
    Problem,
    RefusedRow,
    Row,
    Warning_,
    Way,
)
from worker.domain.targets import fold
from worker.domain.wording import counted
from worker.intake.columns import (
    ACCOUNT_COLUMNS,
    RESULT_COLUMNS,
    Header,
    canonical,
    is_known,
    is_secret,
    may_have_lines,
)
from worker.intake.files import Line
from worker.intake.swallowed import Swallowed, first_hidden
from worker.intake.values import findings

LATER = "later"  # in the column authentication: the credential is given later, to Cyclr
SCIENTIFIC = re.compile(r"\d([.,]\d+)?E\+\d+", re.IGNORECASE)

_MAX_CHARACTERS = {
    "account_id": 200,
    "connector": 200,
    "connector_version": 100,
    "name": 250,
    "description": 4_000,
    "authentication": 200,
    "expires": 50,
    "account_name": 250,
    "account_description": 4_000,
    "account_timezone": 100,
    "reference": 500,
}
_MAX_SECRET_CHARACTERS = 50_000
_IDENTIFIERS = frozenset({"account_id", "connector", "connector_version"})
_NUMBERED = frozenset({"account_id", "connector", *SECRET_COLUMNS})
_BASIC = ("username", "password")
_TOKENS = ("access_token", "refresh_token", "expires")
_CREDENTIALS = (("auth_value",), _BASIC, ("api_key",), _TOKENS)


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for beside the file. `connector`: for all rows; None takes it from the column.

    `as_written`: columns whose values are taken as they stand, though a spreadsheet may have made them; of
    AS_WRITTEN_COLUMNS. `is_list`: the cells come from a list of values, so no quote can have swallowed any.
    """

    instance_id: str
    connector: str | None = None
    as_written: frozenset[str] = frozenset()
    is_list: bool = False


class Cells:
    """The cells of one line by the product's column names; a column that the file lacks reads as empty."""

    def __init__(self, line: Line, header: Header) -> None:
        self.number = line.number
        self.header = header
        self._values = {
            column: value
            for column, position in header.positions.items()
            if position < len(line.cells) and (value := line.cells[position])
        }

    def __getitem__(self, column: str) -> str:
        return self._values.get(column, "")

    def given(self) -> Iterator[tuple[str, str]]:
        """The input columns that are not empty here, and their values."""
        return ((column, value) for column, value in self._values.items() if column not in RESULT_COLUMNS)

    def problem(self, column: str, reason: str, way: Way | None = None) -> Problem:
        return Problem(self.number, self.header.label(column), reason, way=way)


def read_row(
    line: Line, header: Header, options: Options, swallowed: Swallowed | None = None
) -> Row | RefusedRow:
    """The row of a line that is neither empty nor a comment, or all the problems why it is none.

    `swallowed`: finds what a stray quote has swallowed; None where the file is not known as a whole yet.
    """
    has_too_many = len(line.cells) > header.width or any(line.cells[len(header.columns) :])
    found = swallowed.find(line) if swallowed is not None else None
    # Nothing stands where it should in such lines, so every other finding would mislead.
    if found is not None:
        position, problem = found
        first = _first_moved(line, header) if has_too_many else position
        return RefusedRow(line.number, header.mask_from(line.cells, first), (problem,))
    if _is_header(line, header):
        reason = "the header is repeated here: remove this row"
        return RefusedRow(line.number, header.mask_from(line.cells, 0), (Problem(line.number, None, reason),))
    if has_too_many:
        masked = header.mask_from(line.cells, _first_moved(line, header))
        return RefusedRow(line.number, masked, (_too_many_cells(line, header),))
    cells = Cells(line, header)
    problems, warnings = _judge(cells, options)
    masked = header.mask(line.cells[: len(header.columns)])
    hidden = first_hidden(line, header)
    if_refused = None if hidden is None else header.mask_from(line.cells, hidden)
    if not problems:
        return _row(cells, masked, if_refused, options, warnings)
    flawed = {problem.column for problem in problems}
    is_known = flawed.isdisjoint(header.label(column) for column in _IDENTIFIERS)
    row = _row(cells, masked, if_refused, options, warnings) if is_known else None
    return RefusedRow(line.number, if_refused or masked, problems, row)


def _first_moved(line: Line, header: Header) -> int:
    """From where on a credential may stand in a line with too many cells."""
    return min((*header.masked, *(position for position, _ in line.broken)), default=0)


def _is_header(line: Line, header: Header) -> bool:
    """Whether the line is a header once more, as where files were put one below the other: also one with other columns."""
    position = header.positions["account_id"]
    names = [canonical(cell.lstrip("\ufeff")) for cell in line.cells]
    if position < len(names) and names[position] == "account_id":
        return True
    filled = [name for name in names if name]
    known = sum(map(is_known, filled))
    return known > 1 and 2 * known > len(filled) and ("account_id" in names or known == len(filled))


def withheld_columns(row: Row, header: Header) -> tuple[str, ...]:
    """The columns whose values the item at `row.stored_at` has to give."""
    if row.stored_at is None:
        return ()
    return tuple(
        column
        for column, position in header.secrets
        if row.cells[position] == NOT_EXPORTED and column not in row.secrets
    )


def is_free(row: Row, header: Header) -> bool:
    """Whether a row of a result file brings its own credential, and takes nothing of what is stored."""
    return not withheld_columns(row, header) and not row.secrets.keys().isdisjoint(AUTH_COLUMNS)


def credential_kinds(columns: Iterator[str] | frozenset[str]) -> list[str]:
    """The kinds of credential among the columns, each by its leading column: `username` stands for Basic."""
    present = frozenset(columns)
    return [kind[0] for kind in _CREDENTIALS if present.intersection(kind)]


def _too_many_cells(line: Line, header: Header) -> Problem:
    # Empty cells at the end count: behind a value that was cut in two they hide that all others have moved.
    empty = "" if any(line.cells[len(header.columns) :]) else ", the last of them empty"
    also = ", and no delimiters behind the last column" if empty else ""
    return Problem(
        line.number,
        None,
        f"expected {counted(len(header.columns), 'cell')} as in the header, got {len(line.cells)}{empty}; "
        f"a value that holds the delimiter stands in quotes{also}",
    )


def _judge(cells: Cells, options: Options) -> tuple[tuple[Problem, ...], tuple[Warning_, ...]]:
    problems: list[Problem] = []
    warnings: list[Warning_] = []
    for column, value in cells.given():
        problems.extend(_text_problems(cells, column, value))
        if is_withheld(value):
            continue
        label = cells.header.label(column)
        for weight, reason in findings(column, value):
            if weight == "problem":
                problems.append(Problem(cells.number, label, reason))
            else:
                warnings.append(Warning_(cells.number, label, reason))
    problems.extend(_rest(cells, options))
    return tuple(problems), tuple(warnings)


def _rest(cells: Cells, options: Options) -> Iterator[Problem]:
    yield from _account_problems(cells)
    yield from _connector_problems(cells, options)
    yield from _credential_problems(cells)
    yield from _withheld_problems(cells)
    yield from _stored_at_problems(cells)


def _text_problems(cells: Cells, column: str, value: str) -> Iterator[Problem]:
    most = longest(column)
    if len(value) > most:
        yield cells.problem(column, f"expected at most {most:,} characters, got {len(value):,}")
    if column == "account_id":
        if reason := why_no_account_id(value):
            yield cells.problem(column, reason)
    elif not value.isprintable() and (found := _forbidden_character(column, value)):
        yield cells.problem(column, f"expected text, got an invisible character ({found}): fill it in again")
    if not is_secret(column) and is_withheld(value):
        yield cells.problem(column, f"{NOT_EXPORTED} stands where a value is not shown: fill it in")
    if column in _NUMBERED and SCIENTIFIC.fullmatch(value):
        shown = "" if is_secret(column) else f" ({value})"
        yield cells.problem(
            column,
            f"a spreadsheet has rounded a long number{shown}: format the column as text, then fill it in again",
        )


def longest(column: str) -> int:
    """How many characters a cell of this column may have."""
    return _MAX_CHARACTERS.get(column, _MAX_SECRET_CHARACTERS)


def is_withheld(value: str) -> bool:
    return value.casefold() == NOT_EXPORTED


def _forbidden_character(column: str, value: str) -> str | None:
    allowed = "\t\r\n" if may_have_lines(column) else ""
    for character in value:
        if character not in allowed and unicodedata.category(character) == "Cc":
            return f"U+{ord(character):04X}"
    return None


def _account_problems(cells: Cells) -> Iterator[Problem]:
    if not cells["account_id"]:
        yield cells.problem("account_id", "expected an account id, got an empty cell")
    if not cells["account_name"]:
        given = [cells.header.label(column) for column in ACCOUNT_COLUMNS[1:] if cells[column]]
        if given:
            yield cells.problem(
                "account_name", f"expected the account's name beside {' and '.join(given)}, got an empty cell"
            )
    timezone = cells["account_timezone"]
    if timezone and not is_withheld(timezone) and _timezones() and timezone not in _timezones():
        yield cells.problem(
            "account_timezone", "expected the name of a time zone such as Europe/London, got another text"
        )


@cache
def _timezones() -> frozenset[str]:
    """Empty on a machine that has no time zone database: nothing can be said there."""
    return frozenset(zoneinfo.available_timezones())


def _connector_problems(cells: Cells, options: Options) -> Iterator[Problem]:
    given = cells["connector"]
    if options.connector is None and not given:
        expected = "expected a connector's name or id, got"
        if "connector" in cells.header.positions:
            yield cells.problem("connector", f"{expected} an empty cell")
        else:
            reason = f"{expected} no such column and no connector for all rows: add the column"
            yield cells.problem("connector", reason, Way.CONNECTOR_FOR_ALL)
    if options.connector is not None and given:
        yield cells.problem(
            "connector",
            f"expected an empty cell, since the connector {options.connector} is given for all rows; use one of the two",
        )


def _credential_problems(cells: Cells) -> Iterator[Problem]:
    present = frozenset(column for column in AUTH_COLUMNS if cells[column])
    kinds = credential_kinds(present)
    label = cells.header.label
    if len(kinds) > 1:
        names = [label(kind) for kind in kinds]
        got = f"{', '.join(names[:-1])} and {names[-1]}"
        yield cells.problem(kinds[1], f"expected one credential at most, got {got}: empty all but one")
    if present and fold(cells["authentication"]) == LATER:
        yield cells.problem(
            "authentication",
            f"'{LATER}' means that no credential is given now, got {label(kinds[0])}: empty one of the two",
        )
    yield from _basic_problems(cells, present)
    yield from _token_problems(cells, present)


def _basic_problems(cells: Cells, present: frozenset[str]) -> Iterator[Problem]:
    if "username" in present and "password" not in present:
        yield cells.problem(
            "password",
            "expected a password beside the username, got an empty cell; "
            "if it is meant to be empty give auth_value instead, the base64 of username and colon",
        )
    if "password" in present and "username" not in present:
        yield cells.problem("username", "expected a username beside the password, got an empty cell")
    if ":" in cells["username"]:
        yield cells.problem("username", "expected no colon: Basic authentication ends the username there")


def _token_problems(cells: Cells, present: frozenset[str]) -> Iterator[Problem]:
    extra = [cells.header.label(column) for column in _TOKENS[1:] if column in present]
    if extra and "access_token" not in present:
        yield cells.problem(
            "access_token", f"expected an access token beside {' and '.join(extra)}, got an empty cell"
        )
    if cells["expires"] and not is_withheld(cells["expires"]) and not _is_iso_date(cells["expires"]):
        yield cells.problem("expires", "expected a date such as 2027-01-31T12:00:00Z, got another text")


def _is_iso_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _withheld_problems(cells: Cells) -> Iterator[Problem]:
    withheld = [column for column, value in cells.given() if is_secret(column) and is_withheld(value)]
    if not withheld or (cells.header.is_result and (cells["_job"] or cells["_row"])):
        return
    need = (
        "_job and _row of the result file"
        if cells.header.is_result
        else "a result file, with its columns _job, _row and _state"
    )
    for column in withheld:
        yield cells.problem(
            column, f"{NOT_EXPORTED} is no value and can be looked up only by {need}: fill it in"
        )


def _stored_at_problems(cells: Cells) -> Iterator[Problem]:
    """A row of a result file says which row it was, or says that it is a new one: by neither of the two."""
    job_id, number = cells["_job"], cells["_row"]
    if not {"_job", "_row"}.issubset(cells.header.positions) or not (job_id or number):
        return
    if _stored_at(cells) is None:
        column = "_row" if job_id and len(job_id) <= 100 else "_job"
        reason = (
            "expected what the result file said here, got another text: put it back; or empty _job and _row, and write all "
            "values, to make this a new row"
        )
        yield cells.problem(column, reason)


def _stored_at(cells: Cells) -> tuple[str, int] | None:
    job_id, number = cells["_job"], cells["_row"]
    if not job_id or len(job_id) > 100 or not (number.isascii() and number.isdigit() and len(number) <= 9):
        return None
    return job_id, int(number)


def _row(
    cells: Cells,
    masked: tuple[str, ...],
    if_refused: tuple[str, ...] | None,
    options: Options,
    warnings: tuple[Warning_, ...],
) -> Row:
    sealed = {c: v for c, v in cells.given() if (is_secret(c) or c in AUTH_COLUMNS) and not is_withheld(v)}
    return Row(
        number=cells.number,
        account_id=cells["account_id"],
        connector=ConnectorRef(options.connector or cells["connector"], cells["connector_version"] or None),
        cells=masked,
        secrets=sealed,
        name=cells["name"] or None,
        description=cells["description"] or None,
        authentication=cells["authentication"] or None,
        account=_new_account(cells),
        reference=cells["reference"] or None,
        stored_at=_stored_at(cells),
        warnings=warnings,
        cells_if_refused=if_refused,
    )


def _new_account(cells: Cells) -> NewAccount | None:
    if not cells["account_name"]:
        return None
    return NewAccount(
        cells["account_name"], cells["account_description"] or None, cells["account_timezone"] or None
    )
