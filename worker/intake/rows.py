"""A line becomes a row, by the rules that need nothing but the file; every problem of a line is found."""

import re
import unicodedata
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from worker.domain.connectors import ConnectorRef
from worker.domain.rows import (
    AUTH_COLUMNS,
    NOT_EXPORTED,
    PROPERTY_PREFIX,
    SECRET_COLUMNS,
    NewAccount,
    Problem,
    RefusedRow,
    Row,
)
from worker.domain.targets import fold
from worker.intake.columns import ACCOUNT_COLUMNS, RESULT_COLUMNS, Header, is_secret
from worker.intake.files import Line

AS_WRITTEN_COLUMNS = ("account_id", "connector_version")
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
_MULTILINE = frozenset({"description", "account_description", "reference", "auth_value", "api_key"})
_IDENTIFIERS = frozenset({"account_id", "connector", "connector_version"})
_NUMBERED = frozenset({"account_id", "connector", *SECRET_COLUMNS})
_BASIC = ("username", "password")
_TOKENS = ("access_token", "refresh_token", "expires")
_CREDENTIALS = (("auth_value",), _BASIC, ("api_key",), _TOKENS)


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for beside the file. `connector`: for all rows; None takes it from the column.

    `as_written`: columns whose values are taken as they stand, though a spreadsheet may have made them; of
    AS_WRITTEN_COLUMNS.
    """

    instance_id: str
    connector: str | None = None
    as_written: frozenset[str] = frozenset()


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

    def problem(self, column: str, reason: str) -> Problem:
        return Problem(self.number, self.header.label(column), reason)


def read_row(line: Line, header: Header, options: Options) -> Row | RefusedRow:
    """The row of a line that is neither empty nor a comment, or all the problems why it is none."""
    if len(line.cells) > header.width or any(line.cells[len(header.columns) :]):
        # Nothing stands where it should, so every other finding would mislead.
        return RefusedRow(line.number, header.mask_shifted(line.cells), (_too_many_cells(line, header),))
    cells = Cells(line, header)
    masked = header.mask(line.cells[: len(header.columns)])
    problems = tuple(_problems(cells, options))
    if not problems:
        return _row(cells, masked, options)
    flawed = {problem.column for problem in problems}
    is_known = flawed.isdisjoint(header.label(column) for column in _IDENTIFIERS)
    return RefusedRow(line.number, masked, problems, _row(cells, masked, options) if is_known else None)


def withheld_columns(row: Row, header: Header) -> tuple[str, ...]:
    """The columns whose values the item at `row.stored_at` has to give."""
    if row.stored_at is None:
        return ()
    return tuple(
        column
        for column, position in header.secrets
        if row.cells[position] == NOT_EXPORTED and column not in row.secrets
    )


def credential_kinds(columns: Iterator[str] | frozenset[str]) -> list[str]:
    """The kinds of credential among the columns, each by its leading column: `username` stands for Basic."""
    present = frozenset(columns)
    return [kind[0] for kind in _CREDENTIALS if present.intersection(kind)]


def _too_many_cells(line: Line, header: Header) -> Problem:
    # Empty cells at the end count: behind a value that was cut in two they hide that all others have moved.
    return Problem(
        line.number,
        None,
        f"expected {len(header.columns)} cells as in the header, got {len(line.cells)}; "
        "a value that holds the delimiter stands in quotes",
    )


def _problems(cells: Cells, options: Options) -> Iterator[Problem]:
    for column, value in cells.given():
        yield from _text_problems(cells, column, value)
    yield from _account_problems(cells)
    yield from _connector_problems(cells, options)
    yield from _credential_problems(cells)
    yield from _withheld_problems(cells)


def _text_problems(cells: Cells, column: str, value: str) -> Iterator[Problem]:
    most = longest(column)
    if len(value) > most:
        yield cells.problem(column, f"expected at most {most:,} characters, got {len(value):,}")
    if not value.isprintable() and (found := _forbidden_character(column, value)):
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
    allowed = "\t\r\n" if column in _MULTILINE or column.startswith(PROPERTY_PREFIX) else ""
    # Joiners are part of some scripts, but in an id they come from a web page and make it another id.
    categories = {"Cc", "Cf"} if column in _IDENTIFIERS else {"Cc"}
    for character in value:
        if character not in allowed and unicodedata.category(character) in categories:
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
        got = (
            "an empty cell" if "connector" in cells.header.positions else "no such column and no --connector"
        )
        yield cells.problem("connector", f"expected a connector's name or id, got {got}")
    if options.connector is not None and given:
        yield cells.problem(
            "connector",
            f"expected an empty cell, since --connector {options.connector} is given for all rows; use one of the two",
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
    if not withheld or (cells.header.is_result and _stored_at(cells) is not None):
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


def _stored_at(cells: Cells) -> tuple[str, int] | None:
    job_id, number = cells["_job"], cells["_row"]
    if not job_id or len(job_id) > 100 or not (number.isascii() and number.isdigit() and len(number) <= 9):
        return None
    return job_id, int(number)


def _row(cells: Cells, masked: tuple[str, ...], options: Options) -> Row:
    sealed = {c: v for c, v in cells.given() if (is_secret(c) or c in AUTH_COLUMNS) and not is_withheld(v)}
    is_withholding = any(is_secret(c) and is_withheld(v) for c, v in cells.given())
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
        stored_at=_stored_at(cells) if is_withholding else None,
    )


def _new_account(cells: Cells) -> NewAccount | None:
    if not cells["account_name"]:
        return None
    return NewAccount(
        cells["account_name"], cells["account_description"] or None, cells["account_timezone"] or None
    )
