"""The checked file becomes a job."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from worker.domain.connectors import Connector
from worker.domain.rows import PlannedRow
from worker.intake import Findings, connector_key, iter_plan
from worker.jobs.checking import Checked, DatabaseMemory, Rejected
from worker.store.loading import Loader, NewJob, loading_turn
from worker.store.sealing import Sealer
from worker.store.session import Engine


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a person may ask of a run beside the file. `first`: so many rows, then pause; not part of a job's identity."""

    connector: str | None = None
    skip_invalid: bool = False
    look_first: bool = False
    skip_if_present: bool = False
    first: int | None = None

    @property
    def looks_first(self) -> bool:
        return self.look_first or self.skip_if_present


def fingerprint(content_hash: str, options: RunOptions, instance_id: str) -> str:
    """The identity of a job: `run` goes on with an unfinished one of the same content, options and instance."""
    parts = (
        content_hash,
        options.connector or "",
        str(options.skip_invalid),
        str(options.look_first),
        str(options.skip_if_present),
        instance_id,
    )
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def load_job(
    checked: Checked,
    options: RunOptions,
    *,
    engine: Engine,
    sealer: Sealer,
    instance_id: str,
    on_loading: Callable[[str], object],
    on_rows: Callable[[int], None],
) -> str:
    """The id of the new job, running. `on_loading`: told the id before the first row; `on_rows`: how many so far.

    Raises: Rejected where rows are refused now that were not before (and bad rows are not to be skipped); FileChanged.
    Nothing of the job is left then.
    """
    with loading_turn(engine):
        new_job = NewJob(
            source_name=checked.source.path.name,
            fingerprint=fingerprint(checked.source.content_hash, options, instance_id),
            columns=checked.source.columns,
            look_first=options.looks_first,
            skip_if_present=options.skip_if_present,
            first=options.first,
        )
        loader = Loader(engine, sealer, instance_id, new_job)
        on_loading(loader.job_id)
        try:
            _load_rows(checked, options, loader, DatabaseMemory(engine, sealer), on_rows)
        except BaseException:
            loader.abandon()
            raise
        loader.finish()
    return loader.job_id


def _load_rows(
    checked: Checked,
    options: RunOptions,
    loader: Loader,
    memory: DatabaseMemory,
    on_rows: Callable[[int], None],
) -> None:
    for ref, connector in checked.catalogue.items():
        if isinstance(connector, Connector):
            loader.add_connector(connector_key(ref), connector)
    findings = Findings()
    plan = iter_plan(
        checked.source,
        checked.options,
        catalogue=checked.catalogue,
        missing_accounts=checked.missing_accounts,
        memory=memory,
        findings=findings,
    )
    for number, row in enumerate(plan, start=1):
        exists = isinstance(row, PlannedRow) and row.row.account_id not in checked.missing_accounts
        loader.add(row, account_exists=exists)
        if number % 1_000 == 0:
            on_rows(number)
    # Another command may have loaded the same targets since the check.
    if findings.problem_count and not options.skip_invalid:
        raise Rejected(findings.problems)
