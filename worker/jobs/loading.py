"""The checked file becomes a job."""

from collections.abc import Callable

from worker.domain.connectors import Connector
from worker.domain.rows import PlannedRow
from worker.intake import Findings, connector_key, iter_plan
from worker.jobs.checking import Checked, DatabaseMemory
from worker.jobs.errors import Rejected
from worker.jobs.options import RunOptions, fingerprint
from worker.store.loading import Loader, NewJob, loading_turn
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
) -> None:
    """Load the job `job_id` (from `new_job_id`); it runs when this returns. `on_rows`: told how many rows so far.

    `api_key_id`: of the API key that hands it in; None: a command does.

    Raises: Rejected where rows are refused now that were not before (and bad rows are not to be skipped); FileChanged.
    Nothing of the job is left then.
    """
    with loading_turn(engine):
        new_job = NewJob(
            source_name=checked.source.path.name,
            fingerprint=fingerprint(checked.source.content_hash, options, instance_id),
            columns=checked.source.columns,
            delimiter=checked.source.delimiter,
            look_first=options.looks_first,
            skip_if_present=options.skip_if_present,
            first=options.first,
            id=job_id,
            api_key_id=api_key_id,
        )
        loader = Loader(engine, sealer, instance_id, new_job)
        try:
            findings = _load_rows(checked, options, loader, DatabaseMemory(engine, sealer), on_rows)
        except BaseException:
            loader.abandon()
            raise
        of_source = checked.source.warnings
        loader.finish([*of_source, *findings.warnings], len(of_source) + findings.warning_count)


def _load_rows(
    checked: Checked,
    options: RunOptions,
    loader: Loader,
    memory: DatabaseMemory,
    on_rows: Callable[[int], None],
) -> Findings:
    """What the pass has found."""
    for ref, connector in checked.catalogue.items():
        if isinstance(connector, Connector):
            loader.add_connector(connector_key(ref), connector)
    findings = Findings()
    plan = iter_plan(
        checked.source,
        checked.options,
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
    # Another command may have loaded the same targets since the check.
    if findings.problem_count and not options.skip_invalid:
        raise Rejected(findings.problems, findings.problem_count)
    return findings
