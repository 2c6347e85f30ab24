"""The checked file becomes a job."""

from collections.abc import Callable
from functools import partial

from worker.domain.connectors import Connector
from worker.domain.options import RunOptions
from worker.domain.rows import PlannedRow
from worker.intake import Findings, connector_key, iter_plan
from worker.intake.findings import Rejected
from worker.intake.plan import refuse_live
from worker.jobs.checking import Checked
from worker.jobs.options import fingerprint
from worker.store.loading import Loader, NewJob
from worker.store.memory import DatabaseMemory, OnWait, Waiting, wait_in_silence
from worker.store.sealing import Sealer
from worker.store.session import Engine


def load_job(
    checked: Checked,
    options: RunOptions,
    *,
    engine: Engine,
    sealer: Sealer,
    instance_id: str,
    job_id: str,
    on_rows: Callable[[int], None],
    api_key_id: str | None = None,
    on_wait: OnWait = wait_in_silence,
) -> None:
    """Load the job `job_id` (from `new_job_id`); it runs when this returns. `on_rows`: told how many rows so far.

    `api_key_id`: of the API key that hands it in; None: a command does. `on_wait`: told, and asked, again and again while
    another load is waited for that has rows of this file; what it raises ends the wait.

    Raises: Rejected where rows are refused now that were not before (and bad rows are not to be skipped); FileChanged;
    LoadLost. Nothing of the job is left then.
    """
    new_job = NewJob(
        source_name=checked.source.path.name,
        fingerprint=fingerprint(checked.source.content_hash, options.connector, instance_id),
        columns=checked.source.columns,
        delimiter=checked.source.delimiter,
        options=options.of_job(),
        first=options.first,
        id=job_id,
        api_key_id=api_key_id,
    )
    waiting = Waiting(engine, on_wait)

    def load() -> None:
        findings = Findings()
        refuse = partial(refuse_live, findings=findings)
        loader = Loader(engine, sealer, instance_id, new_job, refuse=refuse, waiting=waiting)
        try:
            _load_rows(
                checked, options, instance_id, loader, DatabaseMemory(engine, sealer), findings, on_rows
            )
            of_source = checked.source.warnings
            loader.finish([*of_source, *findings.warnings], len(of_source) + findings.warning_count)
        except BaseException:
            loader.abandon()
            raise

    waiting.see_through(load)


def _load_rows(
    checked: Checked,
    options: RunOptions,
    instance_id: str,
    loader: Loader,
    memory: DatabaseMemory,
    findings: Findings,
    on_rows: Callable[[int], None],
) -> None:
    """`findings`: gets what the pass finds."""
    for ref, connector in checked.catalogue.items():
        if isinstance(connector, Connector):
            loader.add_connector(connector_key(ref), connector)
    plan = iter_plan(
        checked.source,
        checked.options,
        instance_id=instance_id,
        survey=checked.survey,
        catalogue=checked.catalogue,
        accounts=checked.accounts,
        memory=memory,
        findings=findings,
    )
    for number, row in enumerate(plan, start=1):
        exists = isinstance(row, PlannedRow) and row.row.account_id not in checked.accounts.missing
        loader.add(row, account_exists=exists)
        if number % 1_000 == 0:
            on_rows(number)
    loader.write()
    # Another command may have loaded the same targets since the check.
    if findings.problem_count and not options.skip_invalid:
        raise Rejected(findings.problems, findings.problem_count)
