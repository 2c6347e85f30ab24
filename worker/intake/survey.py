"""A first pass over a file: what is in it, and what has to be asked of Cyclr and of the database."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from worker.domain.accounts import look_alike, why_no_account_id
from worker.domain.connectors import ConnectorRef
from worker.domain.rows import PROPERTY_PREFIX, Problem, RefusedRow, Row, Warning_
from worker.domain.targets import fold
from worker.domain.wording import counted
from worker.intake.columns import Header
from worker.intake.compact import Accounts, FirstRows, SurveyedAccount
from worker.intake.files import Line, Source
from worker.intake.findings import KEPT
from worker.intake.plain import RowReader
from worker.intake.rows import Options, is_free
from worker.intake.swallowed import Swallowed, Usual, kind_of, readings
from worker.intake.templates import EXAMPLE
from worker.intake.values import LEAST_ROUNDED, ends_in_zeros, is_long_number

MAX_CONNECTORS = 1_000  # each costs a call before the first row can be installed
_KEPT_KINDS = 1_000
_KEPT_ALIKE = _KEPT_MENTIONED = 10_000


@dataclass(slots=True)
class Use:
    """Where a connector is first asked for, and how often."""

    first_row: int
    count: int = 0


@dataclass(slots=True)
class Survey:
    """What a file holds. `rows` counts the lines that are neither empty nor comments, `refused` those of them
    that the file's own rules refuse; connectors and accounts are those of all rows that name both.

    `repeated`: the stored rows that more than one row of the file refers to, with the first of these. `usual`: what lines of this file look like.
    `mentioned`: texts in cells with line breaks that stand where a row has its account id. `alike`: account id -> one
    above it that looks like it. `rounded`: the columns whose long numbers all end in zeros, as a spreadsheet leaves them.
    `warnings`: of lines that are no rows. `problems`: of the whole file.
    """

    rows: int = 0
    refused: int = 0
    empty: int = 0
    comments: int = 0
    connectors: dict[ConnectorRef, Use] = field(default_factory=dict)
    accounts: Accounts = field(default_factory=Accounts)
    repeated: FirstRows = field(default_factory=FirstRows)
    usual: Usual = field(default_factory=lambda: Usual(frozenset(), {}, frozenset(), is_full=False))
    mentioned: set[str] = field(default_factory=set)
    alike: dict[str, SurveyedAccount] = field(default_factory=dict)
    rounded: frozenset[str] = frozenset()
    warnings: tuple[Warning_, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def lines(self) -> int:
        return self.rows + self.empty + self.comments

    def swallowed(
        self, source: Source, options: Options, is_account: Callable[[str], bool] = lambda _id: False
    ) -> Swallowed:
        """What finds swallowed rows in this file. `is_account`: whether Cyclr has one of the `mentioned`."""
        return Swallowed(
            source.header,
            self.usual,
            needs_connector=options.connector is None,
            is_account=is_account,
        )


def survey(source: Source, options: Options) -> Survey:
    """One streaming pass. Raises: FileChanged."""
    found = Survey()
    looks = _Looks(source.header)
    reader = RowReader(source.header, options)
    for line in source.lines():
        if line.is_empty:
            found.empty += 1
        elif line.is_comment:
            found.comments += 1
            looks.note_comment(line)
        else:
            found.rows += 1
            looks.note_line(line)
            row = reader.read(line)
            if isinstance(row, RefusedRow):
                found.refused += 1
            else:
                looks.note_secrets(row.secrets)
            if (known := row.row if isinstance(row, RefusedRow) else row) is not None:
                _count(found, known)
                looks.note_row(known)
    looks.tell(found)
    found.problems = tuple(_problems(found, source, options))
    return found


def stored_key(stored_at: tuple[str, int]) -> str:
    job_id, row_number = stored_at
    return f"{job_id}\t{row_number}"


def _count(found: Survey, row: Row) -> None:
    like = found.accounts.add(row.account_id, row.number, has_columns=row.account is not None)
    if like is not None and len(found.alike) < _KEPT_ALIKE and look_alike(row.account_id, like.id):
        found.alike[row.account_id] = like
    if row.connector in found.connectors or len(found.connectors) <= MAX_CONNECTORS:
        found.connectors.setdefault(row.connector, Use(row.number)).count += 1


class _Looks:
    """What the lines of one file look like, gathered on the way."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._width = len(header.columns)
        self._delimiter = header.delimiter
        self._account_at = header.positions["account_id"]
        self._others = [at for name, at in header.inputs if at != 0]
        self._widths = {self._width}
        self._has_full = False
        self._has_short = False
        self._kinds: dict[str, tuple[int, int]] = {}
        self._mentioned: set[str] = set()
        self._stored = FirstRows()
        self._repeated = FirstRows()
        self._longs: dict[str, tuple[int, int]] = {}
        self._warnings: list[Warning_] = []
        self._connectors: set[str] = set()

    def note_line(self, line: Line) -> None:
        width = min(len(line.cells), self._width)
        if width < self._width and not any(self._delimiter in cell for cell in line.cells):
            self._has_short = True
        if not line.broken:
            self._widths.add(width)
            self._has_full |= width == self._width
        if self._account_at < width:
            self._note_kind(line.cells[self._account_at])
        for _, text in line.broken:
            for part in text.splitlines():
                for cells in readings(part, self._delimiter):
                    self._note_mentioned(cells)

    def _note_kind(self, account_id: str) -> None:
        if why_no_account_id(account_id) is not None:
            return
        kind, length = kind_of(account_id), len(account_id)
        shortest, longest = self._kinds.get(kind, (length, length))
        if kind in self._kinds or len(self._kinds) < _KEPT_KINDS:
            self._kinds[kind] = (min(shortest, length), max(longest, length))

    def _note_mentioned(self, cells: Sequence[str]) -> None:
        if self._account_at < len(cells) <= self._width and len(self._mentioned) < _KEPT_MENTIONED:
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
        if row.stored_at is not None and not is_free(row, self._header):
            key = stored_key(row.stored_at)
            first = self._stored.add(key, row.number)
            if first is not None:
                self._repeated.add(key, first)

    def note_secrets(self, secrets: Mapping[str, str]) -> None:
        for column, value in secrets.items():
            if not column.startswith(PROPERTY_PREFIX):
                self._note_long(column, value)

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
        is_full = self._has_full and not self._has_short
        found.usual = Usual(
            frozenset(self._connectors), self._kinds, frozenset(self._widths), is_full=is_full
        )


def _problems(found: Survey, source: Source, options: Options) -> list[Problem]:
    problems = []
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
                None, "connector", "expected this column, or one connector named for all rows, got neither"
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
