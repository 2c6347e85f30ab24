"""A file held against its own rules, Cyclr's catalogue and accounts, and what our database knows; nothing is changed."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, Field

from worker.cyclr.catalogue import CatalogueReader
from worker.cyclr.client import CyclrClient
from worker.cyclr.limiter import Limiter
from worker.domain.connectors import Connector, ConnectorRef, DoubtedVersion
from worker.domain.options import AS_WRITTEN_COLUMNS, RunOptions
from worker.domain.pace import Pace
from worker.domain.rows import (
    PROPERTY_PREFIX,
    PlannedRow,
    Problem,
    RefusedRow,
    SkippedRow,
    Warning_,
)
from worker.domain.targets import fold
from worker.domain.words import counted
from worker.intake import (
    AskedAccounts,
    Findings,
    Listening,
    Source,
    Survey,
    iter_plan,
    survey,
)
from worker.intake.findings import FirstRows
from worker.store.memory import DatabaseMemory

NAMED_ACCOUNTS = 5
Progress = Callable[[str], None]


class Estimate(BaseModel):
    """What a run takes. `looks`: rows that are looked for before anything is sent."""

    installs: int
    looks: int
    new_accounts: int = Field(
        description="Calls that create accounts: one for each row whose account is missing."
    )
    calls: int
    seconds: float

    @property
    def calls_in_words(self) -> str:
        """`9 installs, 8 to create accounts`."""
        parts = [counted(self.installs, "install")]
        parts += [counted(self.looks, "look before them", "looks before them")] if self.looks else []
        parts += [f"{self.new_accounts:,} to create accounts"] if self.new_accounts else []
        return ", ".join(parts)


class AccountsToCreate(BaseModel):
    """The accounts that Cyclr does not have and a run creates, each counted once."""

    count: int = Field(examples=[12])
    first: list[str] = Field(
        description="The ids of the first 5.",
        examples=[["acme-1", "globex-2", "initech-3", "hooli-4", "stark-6"]],
    )

    def add(self, account_id: str) -> None:
        self.count += 1
        if len(self.first) < NAMED_ACCOUNTS:
            self.first.append(account_id)


@dataclass(slots=True)
class Checked:
    """A file that was read whole. `planned`: rows that would be installed; so many of them after a look (`looks`), and after
    their missing account was created (`creates`). `methods`, `properties`: name -> rows that use it. `pace`: how fast Cyclr is
    called; None where it was not asked."""

    source: Source
    options: RunOptions
    survey: Survey
    catalogue: Mapping[ConnectorRef, Connector | str]
    accounts: AskedAccounts
    findings: Findings
    planned: int = 0
    refused: int = 0
    skipped: int = 0
    looks: int = 0
    creates: int = 0
    new_accounts: AccountsToCreate = field(default_factory=lambda: AccountsToCreate(count=0, first=[]))
    connectors: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    properties: Counter[str] = field(default_factory=Counter)
    pace: Pace | None = None

    @property
    def estimate(self) -> Estimate:
        """At the pace of the check."""
        assert self.pace is not None, "Cyclr was asked"
        calls = self.planned + self.looks + self.creates
        return Estimate(
            installs=self.planned,
            looks=self.looks,
            new_accounts=self.creates,
            calls=calls,
            seconds=round(calls / self.pace.per_second, 1),
        )

    @property
    def problems(self) -> list[Problem]:
        return [*self.survey.problems, *self.findings.problems]

    @property
    def problem_count(self) -> int:
        return len(self.survey.problems) + self.findings.problem_count

    @property
    def warnings(self) -> list[Warning_]:
        return [*self.source.warnings, *self.findings.warnings]

    @property
    def warning_count(self) -> int:
        """Of all rows; those that say the same of many are one of `warnings`."""
        return sum(warning.count for warning in self.source.warnings) + self.findings.warning_count

    @property
    def live(self) -> Mapping[str, int]:
        """The unfinished jobs that have still to do rows of this file: id -> how many of the rows."""
        return self.findings.live

    @property
    def is_only_live(self) -> bool:
        """Whether nothing is wrong with the file but that unfinished jobs have still to do rows of it."""
        return bool(self.live) and self.problem_count == sum(self.live.values())

    @property
    def doubted_columns(self) -> tuple[str, ...]:
        """Columns with problems that there would not be if their values were taken as written."""
        return tuple(column for column in AS_WRITTEN_COLUMNS if column in self.findings.doubted)

    def count(self, rows: Iterable[PlannedRow | RefusedRow | SkippedRow], *, looks_first: bool) -> None:
        # The new accounts so far; not kept with the check, since there may be a million.
        created = FirstRows()
        for row in rows:
            match row:
                case RefusedRow():
                    self.refused += 1
                case SkippedRow():
                    self.skipped += 1
                case PlannedRow():
                    self.planned += 1
                    is_new = row.row.account is not None and row.row.account_id in self.accounts.missing
                    self.creates += is_new
                    if is_new and created.add(fold(row.row.account_id), row.row.number) is None:
                        self.new_accounts.add(row.row.account_id)
                    self.looks += (row.must_look or looks_first) and not is_new
                    self._count_uses(row)

    def _count_uses(self, row: PlannedRow) -> None:
        connector = self.catalogue.get(row.row.connector)
        if not isinstance(connector, Connector):
            return
        label = f"{connector.name} {connector.version}" if connector.version else connector.name
        self.connectors[label] += 1
        methods = {method.id: method.name or method.auth_type for method in connector.methods}
        default = next(iter(methods.values())) if len(methods) == 1 else "none"
        self.methods[methods.get(row.authentication_id or "", default)] += 1
        for column in row.secrets:
            if column.startswith(PROPERTY_PREFIX):
                self.properties[column.removeprefix(PROPERTY_PREFIX)] += 1


async def check_file(
    source: Source,
    options: RunOptions,
    *,
    instance_id: str,
    client: CyclrClient,
    limiter: Limiter,
    memory: DatabaseMemory,
    on_progress: Progress,
) -> Checked:
    """Everything up to the question whether to run. Raises: Rejected, FileChanged, CyclrError where Cyclr cannot be asked."""
    on_progress("reading the file")
    found = survey(source, options)
    wanted = {account.id for account in found.accounts}
    on_progress(f"asking Cyclr about its accounts, {len(wanted):,} of them in the file")
    listening = Listening(found, wanted)
    reader = CatalogueReader(client, limiter.one)
    missing = await reader.missing_accounts(
        wanted,
        lambda page, pages: on_progress(f"asking Cyclr about its accounts: page {page} of {pages or '?'}"),
        on_ids=listening.hear,
        is_whole=bool(found.mentioned),
    )
    catalogue = await _resolve_all(found, options, missing, reader, on_progress)
    pace = (await limiter.state()).pace
    on_progress("checking every row")
    checked = Checked(source, options, found, catalogue, listening.asked(missing), Findings(), pace=pace)
    if any(isinstance(connector, DoubtedVersion) for connector in catalogue.values()):
        checked.findings.doubted.add("connector_version")
    plan = iter_plan(
        source,
        options,
        instance_id=instance_id,
        survey=found,
        catalogue=catalogue,
        accounts=checked.accounts,
        memory=memory,
        findings=checked.findings,
    )
    checked.count(plan, looks_first=options.looks_first)
    return checked


def check_offline(source: Source, options: RunOptions) -> Checked:
    """The rules that need nothing but the file: for when Cyclr cannot be asked. Raises: FileChanged."""
    checked = Checked(source, options, survey(source, options), {}, AskedAccounts(), Findings())
    plan = iter_plan(
        source,
        options,
        instance_id="",
        survey=checked.survey,
        catalogue=None,
        accounts=None,
        memory=None,
        findings=checked.findings,
    )
    checked.count(plan, looks_first=False)
    return checked


async def _resolve_all(
    found: Survey,
    options: RunOptions,
    missing: frozenset[str],
    reader: CatalogueReader,
    on_progress: Progress,
) -> dict[ConnectorRef, Connector | str]:
    """Each distinct connector of the file, looked up once, in the name of the file's first account that exists."""
    if not found.connectors or found.problems:
        return dict.fromkeys(found.connectors, "it was not looked up")
    on_progress(f"asking Cyclr about the file's connectors ({len(found.connectors):,})")
    existing = (account.id for account in found.accounts if account.id not in missing)
    account_id = next(existing, None) or await reader.first_account()
    if account_id is None:
        reason = "Cyclr shows its catalogue to existing accounts only, and this instance has none yet: create one first"
        return dict.fromkeys(found.connectors, reason)
    is_as_written = "connector_version" in options.as_written
    return {
        ref: await reader.resolve(account_id, ref, is_as_written=is_as_written) for ref in found.connectors
    }
