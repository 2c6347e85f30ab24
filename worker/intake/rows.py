"""A line becomes a row, by the rules that need nothing but the file; every problem of a line is found."""

import re
import unicodedata
import zoneinfo
from collections.abc import Iterator
from datetime import datetime
from functools import cache

from worker.domain.connectors import ConnectorRef
from worker.domain.options import RunOptions
from worker.domain.rows import (
    AUTH_COLUMNS,
    NOT_EXPORTED,
    PROPERTY_PREFIX,
    SECRET_COLUMNS,
    NewAccount,
    Problem,
    RefusedRow,
    Row,
    Warning_,
    Way,
)
from worker.domain.targets import fold, why_no_account_id
from worker.domain.words import counted
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

SPOILT = "expected UTF-8, as in nearly all of the file, got other bytes: type it again, and save the file as 'CSV UTF-8'"
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
_CHANGED = frozenset({*AUTH_COLUMNS, "description"})  # by an update, and properties
_BASIC = ("username", "password")
_TOKENS = ("access_token", "refresh_token", "expires")
_CREDENTIALS = (("auth_value",), _BASIC, ("api_key",), _TOKENS)


class Cells:
    """The cells of one line by the product's column names, what is wrong with them, and the row that they make.

    A column that the file lacks reads as empty.
    """

    def __init__(self, line: Line, header: Header, options: RunOptions) -> None:
        self.number = line.number
        self.header = header
        self._options = options
        self._spoilt = line.spoilt
        self._doubts = {header.names[at]: reason for at, reason in line.doubts if at < len(header.names)}
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

    def judge(self) -> tuple[tuple[Problem, ...], tuple[Warning_, ...]]:
        """Every problem of the line, and what may be wrong with it."""
        problems: list[Problem] = []
        warnings: list[Warning_] = []
        for column, value in self.given():
            problems.extend(self._text_problems(column, value))
            if column in self._doubts:
                problems.append(self.problem(column, self._doubts[column]))
            if is_withheld(value):
                continue
            label = self.header.label(column)
            for weight, reason in findings(column, value):
                if weight == "problem":
                    problems.append(Problem(self.number, label, reason))
                else:
                    warnings.append(Warning_(self.number, label, reason))
        for at in self._spoilt:
            problems.append(Problem(self.number, self.header.columns[at], SPOILT))
        problems.extend(self._account_problems())
        if self._options.operation == "update":
            problems.extend(self._update_problems())
        problems.extend(self._connector_problems())
        problems.extend(self._credential_problems())
        problems.extend(self._withheld_problems())
        problems.extend(self._stored_at_problems())
        return tuple(problems), tuple(warnings)

    def row(
        self,
        masked: tuple[str, ...],
        if_refused: tuple[str, ...] | None,
        warnings: tuple[Warning_, ...],
    ) -> Row:
        sealed = {c: v for c, v in self.given() if (is_secret(c) or c in AUTH_COLUMNS) and not is_withheld(v)}
        return Row(
            number=self.number,
            account_id=self["account_id"],
            connector=ConnectorRef(
                self._options.connector or self["connector"], self["connector_version"] or None
            ),
            cells=masked,
            secrets=sealed,
            name=self["name"] or None,
            description=self["description"] or None,
            authentication=self["authentication"] or None,
            account=self._new_account(),
            reference=self["reference"] or None,
            stored_at=self._stored_at(),
            warnings=warnings,
            cells_if_refused=if_refused,
        )

    def _text_problems(self, column: str, value: str) -> Iterator[Problem]:
        most = longest(column)
        if len(value) > most:
            yield self.problem(column, f"expected at most {most:,} characters, got {len(value):,}")
        if column == "account_id":
            if reason := why_no_account_id(value):
                yield self.problem(column, reason)
        elif not value.isprintable() and (found := _forbidden_character(column, value)):
            yield self.problem(
                column, f"expected text, got an invisible character ({found}): fill it in again"
            )
        if not is_secret(column) and is_withheld(value):
            yield self.problem(column, f"{NOT_EXPORTED} stands where a value is not shown: fill it in")
        if column in _NUMBERED and SCIENTIFIC.fullmatch(value):
            shown = "" if is_secret(column) else f" ({value})"
            yield self.problem(
                column,
                f"a spreadsheet has rounded a long number{shown}: format the column as text, then fill it in again",
            )

    def _account_problems(self) -> Iterator[Problem]:
        if not self["account_id"]:
            yield self.problem("account_id", "expected an account id, got an empty cell")
        if not self["account_name"]:
            given = [self.header.label(column) for column in ACCOUNT_COLUMNS[1:] if self[column]]
            if given:
                yield self.problem(
                    "account_name",
                    f"expected the account's name beside {' and '.join(given)}, got an empty cell",
                )
        timezone = self["account_timezone"]
        if timezone and not is_withheld(timezone) and _timezones() and timezone not in _timezones():
            yield self.problem(
                "account_timezone", "expected the name of a time zone such as Europe/London, got another text"
            )

    def _update_problems(self) -> Iterator[Problem]:
        given = [column for column in ACCOUNT_COLUMNS if self[column]]
        for column in given:
            yield self.problem(column, "an update creates no account: empty the cell")
        if not any(column in _CHANGED or column.startswith(PROPERTY_PREFIX) for column, _ in self.given()):
            reason = "it names nothing to change: expected a credential, a property or a description"
            yield Problem(self.number, None, reason)

    def _connector_problems(self) -> Iterator[Problem]:
        given = self["connector"]
        if self._options.connector is None and not given:
            expected = "expected a connector's name or id, got"
            if "connector" in self.header.positions:
                yield self.problem("connector", f"{expected} an empty cell")
            else:
                reason = f"{expected} no such column and no connector for all rows: add the column"
                yield self.problem("connector", reason, Way.CONNECTOR_FOR_ALL)
        if self._options.connector is not None and given:
            yield self.problem(
                "connector",
                f"expected an empty cell, since the connector {self._options.connector} is given for all rows; use one of the two",
            )

    def _credential_problems(self) -> Iterator[Problem]:
        present = frozenset(column for column in AUTH_COLUMNS if self[column])
        kinds = credential_kinds(present)
        label = self.header.label
        if len(kinds) > 1:
            names = [label(kind) for kind in kinds]
            got = f"{', '.join(names[:-1])} and {names[-1]}"
            yield self.problem(kinds[1], f"expected one credential at most, got {got}: empty all but one")
        if present and fold(self["authentication"]) == LATER:
            yield self.problem(
                "authentication",
                f"'{LATER}' means that no credential is given now, got {label(kinds[0])}: empty one of the two",
            )
        yield from self._basic_problems(present)
        yield from self._token_problems(present)

    def _basic_problems(self, present: frozenset[str]) -> Iterator[Problem]:
        if "username" in present and "password" not in present:
            yield self.problem(
                "password",
                "expected a password beside the username, got an empty cell; "
                "if it is meant to be empty give auth_value instead, the base64 of username and colon",
            )
        if "password" in present and "username" not in present:
            yield self.problem("username", "expected a username beside the password, got an empty cell")
        if ":" in self["username"]:
            yield self.problem("username", "expected no colon: Basic authentication ends the username there")

    def _token_problems(self, present: frozenset[str]) -> Iterator[Problem]:
        extra = [self.header.label(column) for column in _TOKENS[1:] if column in present]
        if extra and "access_token" not in present:
            yield self.problem(
                "access_token", f"expected an access token beside {' and '.join(extra)}, got an empty cell"
            )
        if self["expires"] and not is_withheld(self["expires"]) and not _is_iso_date(self["expires"]):
            yield self.problem("expires", "expected a date such as 2027-01-31T12:00:00Z, got another text")

    def _withheld_problems(self) -> Iterator[Problem]:
        withheld = [column for column, value in self.given() if is_secret(column) and is_withheld(value)]
        if not withheld or (self.header.is_result and (self["_job"] or self["_row"])):
            return
        need = (
            "_job and _row of the result file"
            if self.header.is_result
            else "a result file, with its columns _job, _row and _state"
        )
        for column in withheld:
            yield self.problem(
                column, f"{NOT_EXPORTED} is no value and can be looked up only by {need}: fill it in"
            )

    def _stored_at_problems(self) -> Iterator[Problem]:
        """A row of a result file says which row it was, or says that it is a new one: by neither of the two."""
        job_id, number = self["_job"], self["_row"]
        if not {"_job", "_row"}.issubset(self.header.positions) or not (job_id or number):
            return
        if self._stored_at() is None:
            column = "_row" if job_id and len(job_id) <= 100 else "_job"
            reason = (
                "expected what the result file said here, got another text: put it back; or empty _job and _row, and write all "
                "values, to make this a new row"
            )
            yield self.problem(column, reason)

    def _stored_at(self) -> tuple[str, int] | None:
        job_id, number = self["_job"], self["_row"]
        if (
            not job_id
            or len(job_id) > 100
            or not (number.isascii() and number.isdigit() and len(number) <= 9)
        ):
            return None
        return job_id, int(number)

    def _new_account(self) -> NewAccount | None:
        if not self["account_name"] or self._options.operation == "update":
            return None
        return NewAccount(
            self["account_name"], self["account_description"] or None, self["account_timezone"] or None
        )


def read_row(
    line: Line, header: Header, options: RunOptions, swallowed: Swallowed | None = None
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
    cells = Cells(line, header, options)
    problems, warnings = cells.judge()
    masked = header.mask(line.cells[: len(header.columns)])
    hidden = first_hidden(line, header)
    if_refused = None if hidden is None else header.mask_from(line.cells, hidden)
    if not problems:
        return cells.row(masked, if_refused, warnings)
    flawed = {problem.column for problem in problems}
    is_known = flawed.isdisjoint(header.label(column) for column in _IDENTIFIERS)
    row = cells.row(masked, if_refused, warnings) if is_known else None
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


@cache
def _timezones() -> frozenset[str]:
    """Empty on a machine that has no time zone database: nothing can be said there."""
    return frozenset(zoneinfo.available_timezones())


def _is_iso_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
