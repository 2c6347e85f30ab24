"""A first pass over a file: what is in it, and what has to be asked of Cyclr and of the database.

And which account ids may not be the ones that were meant, by what the file and Cyclr's accounts say together.
"""

import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from worker.domain.connectors import ConnectorRef
from worker.domain.options import RunOptions
from worker.domain.rows import PROPERTY_PREFIX, SECRET_COLUMNS, Problem, RefusedRow, Row, Warning_, Way
from worker.domain.targets import fold, look_alike, skeleton, why_no_account_id
from worker.domain.words import counted
from worker.intake.columns import Header
from worker.intake.files import Line, Source
from worker.intake.findings import KEPT, Accounts, FirstRows, SurveyedAccount
from worker.intake.plain import RowReader
from worker.intake.rows import is_free, read_row
from worker.intake.swallowed import Swallowed, Usual, is_unsure, kind_of, readings
from worker.intake.values import LEAST_ROUNDED, ends_in_zeros, find_doubt, is_long_number
from worker.intake.writing import EXAMPLE

MAX_CONNECTORS = 1_000  # each costs a call before the first row can begin
_KEPT_KINDS = 1_000
_KEPT_ALIKE = _KEPT_MENTIONED = _KEPT_SPELLINGS = _KEPT_UNSURE = 10_000
_SPELLING = str.maketrans(
    dict.fromkeys(string.digits, "9")
    | dict.fromkeys(string.ascii_lowercase, "a")
    | dict.fromkeys(string.ascii_uppercase, "A")
)


@dataclass(slots=True)
class Survey:
    """What a file holds. `rows` counts the lines that are neither empty nor comments, `refused` those of them
    that the file's own rules refuse; connectors (with the first row that asks for each)
    and accounts are those of all rows that name both.

    `repeated`: the stored rows that more than one row of the file refers to, with the first of these. `usual`: what lines of this file look like.
    `mentioned`: texts in cells with line breaks that stand where a row has its account id. `alike`: account id -> one
    above it that looks like it. `rounded`: the columns whose long numbers all end in zeros, as a spreadsheet leaves them.
    `warnings`: of lines that are no rows. `problems`: of the whole file.
    """

    rows: int = 0
    refused: int = 0
    empty: int = 0
    comments: int = 0
    connectors: dict[ConnectorRef, int] = field(default_factory=dict)
    accounts: Accounts = field(default_factory=Accounts)
    repeated: FirstRows = field(default_factory=FirstRows)
    usual: Usual = field(default_factory=Usual)
    mentioned: set[str] = field(default_factory=set)
    alike: dict[str, SurveyedAccount] = field(default_factory=dict)
    rounded: frozenset[str] = frozenset()
    warnings: tuple[Warning_, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def lines(self) -> int:
        return self.rows + self.empty + self.comments

    def swallowed(
        self, source: Source, options: RunOptions, is_account: Callable[[str], bool] = lambda _id: False
    ) -> Swallowed | None:
        """What finds swallowed rows in this file; None where no quote can have. `is_account`: whether Cyclr has one of the
        `mentioned`."""
        if options.is_list or source.sheet is not None:
            return None
        return Swallowed(
            source.header,
            self.usual,
            needs_connector=options.connector is None,
            is_account=is_account,
        )


def survey(source: Source, options: RunOptions) -> Survey:
    """One streaming pass. Raises: FileChanged."""
    found = Survey()
    header = source.header
    looks = _Looks(header)
    reader = RowReader(header, options)
    unsure: list[Line] = []
    for line in source.lines():
        if line.is_empty:
            found.empty += 1
        elif line.is_comment:
            found.comments += 1
            looks.note_comment(line)
        else:
            found.rows += 1
            if not options.is_list and source.sheet is None and is_unsure(line, header):
                unsure.append(line)
                if len(unsure) > _KEPT_UNSURE:
                    break
                continue
            looks.note_line(line)
            _count(found, reader.read(line), looks)
    looks.tell(found)
    swallowed = found.swallowed(source, options)
    for line in unsure:
        looks.note_mentions(line)
        _count(found, read_row(line, header, options, swallowed), looks)
    looks.tell(found)
    found.problems = tuple(_problems(found, source, options, is_too_unsure=len(unsure) > _KEPT_UNSURE))
    return found


def stored_key(stored_at: tuple[str, int]) -> str:
    job_id, row_number = stored_at
    return f"{job_id}\t{row_number}"


def _count(found: Survey, read: Row | RefusedRow, looks: "_Looks") -> None:
    row = read
    if isinstance(row, RefusedRow):
        found.refused += 1
        if row.row is None:
            return
        row = row.row
    looks.note_row(row)
    like = found.accounts.add(row.account_id, row.number, has_columns=row.account is not None)
    if like is not None and len(found.alike) < _KEPT_ALIKE and look_alike(row.account_id, like.id):
        found.alike[row.account_id] = like
    if row.connector in found.connectors or len(found.connectors) <= MAX_CONNECTORS:
        found.connectors.setdefault(row.connector, row.number)


class _Looks:
    """What the lines of one file look like, gathered on the way."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._width = len(header.columns)
        self._account_at = header.positions["account_id"]
        self._others = [at for name, at in header.inputs if at != 0]
        self._widths = {self._width}
        self._has_short = False
        self._kinds: dict[str, tuple[int, int]] = {}
        self._spellings: set[str] = set()
        self._mentioned: set[str] = set()
        self._stored = FirstRows()
        self._repeated = FirstRows()
        self._credentials: tuple[int, int] | None = None
        self._longs: dict[str, tuple[int, int]] = {}
        self._warnings: list[Warning_] = []
        self._connectors: set[str] = set()

    def note_line(self, line: Line) -> None:
        """A line that is sure of its cells."""
        width = min(len(line.cells), self._width)
        if not line.broken:
            self._widths.add(width)
            self._has_short |= width < self._width
        if self._account_at < width:
            self._note_kind(line.cells[self._account_at])
        self.note_mentions(line)

    def note_mentions(self, line: Line) -> None:
        for _, text in line.broken:
            for part in text.splitlines():
                for cells in readings(part, self._header.delimiter):
                    self._note_mentioned(cells)

    def _note_kind(self, account_id: str) -> None:
        # Ids that were made the same way are spelt the same way too, as a rule: each spelling is looked at once.
        spelling = account_id.translate(_SPELLING)
        if spelling in self._spellings or why_no_account_id(account_id) is not None:
            return
        if len(self._spellings) < _KEPT_SPELLINGS:
            self._spellings.add(spelling)
        kind, length = kind_of(account_id), len(account_id)
        shortest, longest = self._kinds.get(kind, (length, length))
        if kind in self._kinds or len(self._kinds) < _KEPT_KINDS:
            self._kinds[kind] = (min(shortest, length), max(longest, length))

    def _note_mentioned(self, cells: Sequence[str]) -> None:
        if self._account_at < len(cells) and len(cells) > 1 and len(self._mentioned) < _KEPT_MENTIONED:
            account_id = cells[self._account_at].strip()
            if account_id and why_no_account_id(account_id) is None:
                self._mentioned.add(account_id)

    def note_comment(self, line: Line) -> None:
        """A comment with cells where a row has them may be a row whose id begins with #."""
        text = line.cells[0]
        filled = [at for at in self._others if at < len(line.cells) and line.cells[at]]
        if not filled or len(self._warnings) >= KEPT or text.startswith(EXAMPLE):
            return
        shown = "" if 0 in self._header.masked else f" ('{text[:40]}')"
        reason = (
            f"the line begins with #{shown}, so it is left out as a comment, and it has cells where a row has them: "
            "take the # away if it is a row"
        )
        self._warnings.append(Warning_(line.number, self._header.columns[0], reason))

    def note_row(self, row: Row) -> None:
        if len(self._connectors) <= MAX_CONNECTORS:
            self._connectors.add(fold(row.connector.name_or_id))
        self._note_long("account_id", row.account_id)
        for column, value in row.secrets.items():
            if not column.startswith(PROPERTY_PREFIX):
                self._note_credential(column, value)
        if row.stored_at is not None and not is_free(row, self._header):
            key = stored_key(row.stored_at)
            first = self._stored.add(key, row.number)
            if first is not None:
                self._repeated.add(key, first)

    def _note_credential(self, column: str, value: str) -> None:
        self._note_long(column, value)
        if column in SECRET_COLUMNS:
            shortest, longest = self._credentials or (len(value), len(value))
            self._credentials = min(shortest, len(value)), max(longest, len(value))

    def _note_long(self, column: str, value: str) -> None:
        if is_long_number(value):
            count, rounded = self._longs.get(column, (0, 0))
            self._longs[column] = (count + 1, rounded + ends_in_zeros(value))

    def tell(self, found: Survey) -> None:
        found.mentioned = self._mentioned
        found.repeated = self._repeated
        found.warnings = tuple(self._warnings)
        found.rounded = frozenset(
            column for column, (count, rounded) in self._longs.items() if count == rounded >= LEAST_ROUNDED
        )
        found.usual = Usual(
            frozenset(self._connectors),
            self._kinds,
            self._credentials,
            frozenset(self._widths),
            has_short=self._has_short,
        )


def _problems(found: Survey, source: Source, options: RunOptions, *, is_too_unsure: bool) -> list[Problem]:
    problems = []
    if is_too_unsure:
        reason = (
            f"expected at most {_KEPT_UNSURE:,} lines with fewer cells than the header and a quote, a line break or a delimiter "
            "in a cell, got more: write the empty cells too"
        )
        problems.append(Problem(None, None, reason))
    if not found.rows:
        skipped = (
            f"; {counted(found.comments, 'line begins with # and is', 'lines begin with # and are')} skipped"
            if found.comments
            else ""
        )
        problems.append(Problem(None, None, f"expected rows below the header, got none{skipped}"))
    if options.connector is None and "connector" not in source.header.positions:
        problems.append(
            Problem(
                None,
                "connector",
                "expected this column, or one connector named for all rows, got neither: add it",
                way=Way.CONNECTOR_FOR_ALL,
            )
        )
    if len(found.connectors) > MAX_CONNECTORS:
        problems.append(
            Problem(
                None,
                source.header.label("connector"),
                f"expected at most {MAX_CONNECTORS:,} different connectors, got more; is it the right column?",
            )
        )
    return problems


CREATED_OTHERWISE = "Cyclr has no such account, so this row would create it: write the id that is meant"


@dataclass(frozen=True, slots=True)
class AskedAccounts:
    """What Cyclr said of a file's accounts.

    `missing`: those of its rows that Cyclr does not have. `mentioned`: those texts of the survey's `mentioned` that are
    accounts of Cyclr's. `alike`: skeleton of an id -> accounts of Cyclr's that have it and are not in the file.
    """

    missing: AbstractSet[str] = frozenset()
    mentioned: AbstractSet[str] = frozenset()
    alike: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def is_mentioned(self, text: str) -> bool:
        return text in self.mentioned


class Listening:
    """Gathers, while Cyclr's accounts are listed, what they say of the ids of a file."""

    def __init__(self, survey: Survey, wanted: AbstractSet[str]) -> None:
        self._survey = survey
        self._wanted = wanted
        self._mentioned: set[str] = set()
        self._alike: dict[str, tuple[str, ...]] = {}

    def hear(self, account_ids: Iterable[str]) -> None:
        """A page of Cyclr's accounts. The same one twice does no harm."""
        for account_id in account_ids:
            if account_id in self._survey.mentioned:
                self._mentioned.add(account_id)
            if account_id in self._wanted or not self._survey.accounts.has_like(account_id):
                continue
            key = skeleton(account_id)
            others = self._alike.get(key, ())
            if account_id not in others and len(self._alike) < _KEPT_ALIKE:
                self._alike[key] = (*others, account_id)

    def asked(self, missing: AbstractSet[str]) -> AskedAccounts:
        return AskedAccounts(missing, self._mentioned, self._alike)


def find_doubts(account_id: str, survey: Survey, asked: AskedAccounts | None) -> Iterator[str]:
    """Every reason to doubt the id, in words for people."""
    if reason := find_doubt(account_id):
        yield reason
    if "account_id" in survey.rounded and is_long_number(account_id) and ends_in_zeros(account_id):
        yield f"'{account_id}' ends in zeros behind its 15th digit, as all long ids of this file, so a spreadsheet may have rounded it"
    if first := survey.alike.get(account_id):
        yield f"'{account_id}' looks like '{first.id}' of row {first.first_row}, and is another id"
    if asked is not None and asked.alike:
        like = next(
            (id_ for id_ in asked.alike.get(skeleton(account_id), ()) if look_alike(account_id, id_)), None
        )
        if like is not None:
            yield f"'{account_id}' looks like '{like}', which Cyclr has, and is another id"
