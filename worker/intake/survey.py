"""A first pass over a file: what is in it, and what has to be asked of Cyclr and of the database."""

from dataclasses import dataclass, field

from worker.domain.connectors import ConnectorRef
from worker.domain.rows import Problem, RefusedRow, Row
from worker.intake.compact import Accounts
from worker.intake.files import Source
from worker.intake.plain import RowReader
from worker.intake.rows import Options

MAX_CONNECTORS = 1_000  # each costs a call before the first row can be installed
_KEPT_JOBS = 1_000


@dataclass(slots=True)
class Use:
    """Where a connector is first asked for, and how often."""

    first_row: int
    count: int = 0


@dataclass(slots=True)
class Survey:
    """What a file holds. `rows` counts the lines that are neither empty nor comments, `refused` those of them
    that the file's own rules refuse; connectors and accounts are those of all rows that name both.

    `jobs`: job id -> rows that refer to it for their secrets (a result file's), the first 1,000 jobs.
    `problems`: of the whole file.
    """

    rows: int = 0
    refused: int = 0
    empty: int = 0
    comments: int = 0
    connectors: dict[ConnectorRef, Use] = field(default_factory=dict)
    accounts: Accounts = field(default_factory=Accounts)
    jobs: dict[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def lines(self) -> int:
        return self.rows + self.empty + self.comments


def survey(source: Source, options: Options) -> Survey:
    """One streaming pass. Raises: FileChanged."""
    found = Survey()
    reader = RowReader(source.header, options)
    for line in source.lines():
        if line.is_empty:
            found.empty += 1
        elif line.is_comment:
            found.comments += 1
        else:
            found.rows += 1
            _count(found, reader.read(line))
    found.problems = tuple(_problems(found, source, options))
    return found


def _count(found: Survey, row: Row | RefusedRow) -> None:
    if isinstance(row, RefusedRow):
        found.refused += 1
        if row.row is None:
            return
        row = row.row
    found.accounts.add(row.account_id, row.number, has_columns=row.account is not None)
    if row.connector in found.connectors or len(found.connectors) <= MAX_CONNECTORS:
        found.connectors.setdefault(row.connector, Use(row.number)).count += 1
    if row.stored_at is not None:
        job_id, _ = row.stored_at
        if job_id in found.jobs or len(found.jobs) < _KEPT_JOBS:
            found.jobs[job_id] = found.jobs.get(job_id, 0) + 1


def _problems(found: Survey, source: Source, options: Options) -> list[Problem]:
    problems = []
    if not found.rows:
        skipped = f"; {found.comments:,} lines begin with # and are skipped" if found.comments else ""
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
