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
    AUTH_COLUMNS,
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
from worker.intake.fit import undeclared
from worker.store.memory import DatabaseMemory

NAMED_ACCOUNTS = 5
Progress = Callable[[str], None]


class Estimate(BaseModel):
    """The calls that the rows of a file take, by kind, where each is answered at once. What is there already nobody knows before
    it is looked at: so these are the most that there can be."""

    looks: int = Field(description="Looks at what an account holds, before anything of it is changed.")
    installs: int = Field(description="At most: so many rows would be installed if nothing were there yet.")
    changes: int = Field(description="At most: calls that set a credential or a property of what is there.")
    new_accounts: int = Field(
        description="Calls that create accounts: one for each row whose account is missing."
    )
    calls: int = Field(
        description="At most, of all kinds. A row is installed or changed, so this is less than their sum."
    )
    seconds: float = Field(description="At most, at the pace of the check.")
    overwrites: int = Field(
        description="At most: values that may be replaced by others. None where what is there is left alone."
    )

    @property
    def calls_in_words(self) -> str:
        """`9 looks, at most 9 installs or 18 changes of what is there, 8 to create accounts`."""
        parts = [counted(self.looks, "look")] if self.looks else []
        deeds = [counted(self.installs, "install")] if self.installs else []
        deeds += [counted(self.changes, "change", "changes") + " of what is there"] if self.changes else []
        parts += [("at most " if self.changes else "") + " or ".join(deeds)] if deeds else []
        parts += [f"{self.new_accounts:,} to create accounts"] if self.new_accounts else []
        return ", ".join(parts)


@dataclass(slots=True)
class Calls:
    """The calls of some rows, at most, by kind; as in `Estimate`."""

    looks: int = 0
    installs: int = 0
    changes: int = 0
    new_accounts: int = 0
    overwrites: int = 0
    all: int = 0

    def add(
        self, row: PlannedRow, options: RunOptions, connector: Connector | None, *, is_new_account: bool
    ) -> None:
        credential = not row.secrets.keys().isdisjoint(AUTH_COLUMNS)
        properties = [column for column in row.secrets if column.startswith(PROPERTY_PREFIX)]
        describes = options.overwrites and row.row.description is not None
        is_looked_at = not is_new_account and (row.must_look or options.looks_first or options.overwrites)
        is_installed = options.operation == "install"
        # One call has the credential and the description; each property has its own.
        changes = (credential or describes) + len(properties) if is_looked_at else 0
        after_install = len(undeclared(row.secrets, connector)) if is_installed and connector else 0
        self.looks += is_looked_at
        self.installs += is_installed
        self.changes += max(changes, after_install)
        self.new_accounts += is_new_account
        self.all += is_looked_at + is_new_account + max(is_installed + after_install, changes)
        if options.overwrites and is_looked_at:
            self.overwrites += credential + describes + len(properties)


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
    """A file that was read whole. `planned`: rows that would be done, with these `calls`. `done_by`: job id -> how many of the
    rows that were left out it has done. `methods`, `properties`: name -> rows that use it. `pace`: how fast Cyclr is called;
    None where it was not asked."""

    source: Source
    options: RunOptions
    survey: Survey
    catalogue: Mapping[ConnectorRef, Connector | str]
    accounts: AskedAccounts
    findings: Findings
    planned: int = 0
    refused: int = 0
    done_by: Counter[str] = field(default_factory=Counter)
    calls: Calls = field(default_factory=Calls)
    new_accounts: AccountsToCreate = field(default_factory=lambda: AccountsToCreate(count=0, first=[]))
    connectors: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    properties: Counter[str] = field(default_factory=Counter)
    pace: Pace | None = None

    @property
    def estimate(self) -> Estimate:
        """At the pace of the check."""
        assert self.pace is not None, "Cyclr was asked"
        calls = self.calls
        return Estimate(
            looks=calls.looks,
            installs=calls.installs,
            changes=calls.changes,
            new_accounts=calls.new_accounts,
            calls=calls.all,
            seconds=round(calls.all / self.pace.per_second, 1),
            overwrites=calls.overwrites,
        )

    @property
    def skipped(self) -> int:
        """Rows of a result file that are known to be done, and were left out."""
        return self.done_by.total()

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

    def count(self, rows: Iterable[PlannedRow | RefusedRow | SkippedRow]) -> None:
        # The new accounts so far; not kept with the check, since there may be a million.
        created = FirstRows()
        for row in rows:
            match row:
                case RefusedRow():
                    self.refused += 1
                case SkippedRow():
                    self.done_by[row.job_id] += 1
                case PlannedRow():
                    self.planned += 1
                    is_new = row.row.account is not None and row.row.account_id in self.accounts.missing
                    if is_new and created.add(fold(row.row.account_id), row.row.number) is None:
                        self.new_accounts.add(row.row.account_id)
                    found = self.catalogue.get(row.row.connector)
                    connector = found if isinstance(found, Connector) else None
                    self.calls.add(row, self.options, connector, is_new_account=is_new)
                    if connector is not None:
                        self._count_uses(row, connector)

    def _count_uses(self, row: PlannedRow, connector: Connector) -> None:
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
    checked.count(plan)
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
    checked.count(plan)
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
