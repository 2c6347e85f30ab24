"""A file held against its own rules, Cyclr's catalogue and accounts, and what our database knows; nothing is changed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from worker.cyclr.catalogue import first_account, missing_accounts, resolve
from worker.cyclr.client import CyclrClient
from worker.cyclr.limiter import Limiter
from worker.domain.connectors import Connector, ConnectorRef
from worker.domain.pace import Pace
from worker.domain.rows import PlannedRow, Problem, RefusedRow, SkippedRow
from worker.intake import Findings, KnownTarget, Options, Source, StoredAt, Survey, iter_plan, survey
from worker.store.loading import find_stored_secrets, find_targets
from worker.store.sealing import Sealer
from worker.store.session import Engine

Progress = Callable[[str], None]


@dataclass(slots=True)
class Estimate:
    """What a run of the checked file will take. `looks`: rows that are looked for before the first call."""

    installs: int = 0
    looks: int = 0
    new_accounts: int = 0

    @property
    def calls(self) -> int:
        return self.installs + self.looks + self.new_accounts


@dataclass(slots=True)
class Checked:
    """A file that was read whole. `methods`, `properties`: name -> rows that use it. `pace`: how fast Cyclr is called; None
    where it was not asked."""

    source: Source
    options: Options
    survey: Survey
    catalogue: Mapping[ConnectorRef, Connector | str]
    missing_accounts: frozenset[str]
    findings: Findings
    planned: int = 0
    refused: int = 0
    skipped: int = 0
    estimate: Estimate = field(default_factory=Estimate)
    connectors: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    properties: Counter[str] = field(default_factory=Counter)
    pace: Pace | None = None

    @property
    def duration_s(self) -> float:
        """How long a run will take, at the pace of the check."""
        assert self.pace is not None, "Cyclr was asked"
        return self.estimate.calls / self.pace.per_second

    @property
    def problems(self) -> list[Problem]:
        return [*self.survey.problems, *self.findings.problems]

    @property
    def problem_count(self) -> int:
        return len(self.survey.problems) + self.findings.problem_count


class DatabaseMemory:
    """What intake asks of our own past. `besides`: a job whose live rows do not count."""

    def __init__(self, engine: Engine, sealer: Sealer, *, besides: str | None = None) -> None:
        self._engine = engine
        self._sealer = sealer
        self._besides = besides

    def targets(self, keys: Sequence[str]) -> Mapping[str, KnownTarget]:
        known = find_targets(self._engine, keys)
        return {
            key: KnownTarget(record.state, record.job_id, record.row_number)
            for key, record in known.items()
            if record.state != "live" or record.job_id != self._besides
        }

    def stored_secrets(self, items: Sequence[StoredAt]) -> Mapping[StoredAt, Mapping[str, str] | None]:
        return find_stored_secrets(self._engine, self._sealer, items)


async def check_file(
    source: Source,
    options: Options,
    *,
    client: CyclrClient,
    limiter: Limiter,
    memory: DatabaseMemory,
    looks_first: bool,
    on_progress: Progress,
) -> Checked:
    """Everything up to the question whether to run. Raises: Rejected, FileChanged, CyclrError where Cyclr cannot be asked."""
    on_progress("reading the file")
    found = survey(source, options)
    wanted = {account.id for account in found.accounts}
    on_progress(f"asking Cyclr about its accounts, {len(wanted):,} of them in the file")
    missing = await missing_accounts(
        client,
        limiter.one,
        wanted,
        lambda page, pages: on_progress(f"asking Cyclr about its accounts: page {page} of {pages or '?'}"),
    )
    catalogue = await _resolve_all(found, missing, client, limiter, on_progress)
    pace = (await limiter.state()).pace
    on_progress("checking every row")
    checked = Checked(source, options, found, catalogue, missing, Findings(), pace=pace)
    for row in iter_plan(
        source,
        options,
        catalogue=catalogue,
        missing_accounts=missing,
        memory=memory,
        findings=checked.findings,
    ):
        _count(checked, row, looks_first=looks_first)
    return checked


def check_offline(source: Source, options: Options) -> Checked:
    """The rules that need nothing but the file: for when Cyclr cannot be asked. Raises: FileChanged."""
    checked = Checked(source, options, survey(source, options), {}, frozenset(), Findings())
    plan = iter_plan(
        source, options, catalogue=None, missing_accounts=None, memory=None, findings=checked.findings
    )
    for row in plan:
        _count(checked, row, looks_first=False)
    return checked


async def _resolve_all(
    found: Survey, missing: frozenset[str], client: CyclrClient, limiter: Limiter, on_progress: Progress
) -> dict[ConnectorRef, Connector | str]:
    """Each distinct connector of the file, looked up once, in the name of the file's first account that exists."""
    if not found.connectors or found.problems:
        return dict.fromkeys(found.connectors, "it was not looked up")
    on_progress(f"asking Cyclr about the file's connectors ({len(found.connectors):,})")
    existing = (account.id for account in found.accounts if account.id not in missing)
    account_id = next(existing, None) or await first_account(client, limiter.one)
    if account_id is None:
        reason = "Cyclr shows its catalogue to existing accounts only, and this instance has none yet: create one first"
        return dict.fromkeys(found.connectors, reason)
    return {ref: await resolve(client, limiter.one, account_id, ref) for ref in found.connectors}


def _count(checked: Checked, row: PlannedRow | RefusedRow | SkippedRow, *, looks_first: bool) -> None:
    match row:
        case RefusedRow():
            checked.refused += 1
        case SkippedRow():
            checked.skipped += 1
        case PlannedRow():
            checked.planned += 1
            checked.estimate.installs += 1
            is_new = row.row.account is not None and row.row.account_id in checked.missing_accounts
            checked.estimate.new_accounts += is_new
            checked.estimate.looks += (row.must_look or looks_first) and not is_new
            _count_uses(checked, row)


def _count_uses(checked: Checked, row: PlannedRow) -> None:
    connector = checked.catalogue.get(row.row.connector)
    if not isinstance(connector, Connector):
        return
    label = f"{connector.name} {connector.version}" if connector.version else connector.name
    checked.connectors[label] += 1
    methods = {method.id: method.name or method.auth_type for method in connector.methods}
    default = next(iter(methods.values())) if len(methods) == 1 else "none"
    checked.methods[methods.get(row.authentication_id or "", default)] += 1
    for column in row.secrets:
        if column.startswith("property."):
            checked.properties[column.removeprefix("property.")] += 1
