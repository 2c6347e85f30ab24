"""The checked file becomes a job; and the job of a file that is not done yet: what it is found by, and the options that it was begun with."""

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from worker.domain.connectors import Connector
from worker.domain.options import JobOptions, RunOptions
from worker.domain.rows import PlannedRow
from worker.intake import Findings, connector_key, iter_plan
from worker.intake.findings import Rejected
from worker.intake.plan import refuse_live
from worker.jobs.checking import Checked
from worker.store.jobs import JobStatus, find_unfinished_jobs
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
        columns=checked.source.header.result_columns,
        delimiter=checked.source.delimiter,
        operation=options.operation,
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


@dataclass(frozen=True, slots=True)
class Unfinished:
    """`options`: what it was begun with, as far as that makes the job."""

    job: JobStatus
    options: RunOptions

    def has_options(self, options: RunOptions) -> bool:
        """Whether whoever asks for these goes on with it. With a job of the version before in any case: its options can be given no
        more."""
        if options.operation != self.options.operation:
            return False
        # It was found by its sheet and what its columns are, however these were named.
        return self.options.is_older or options.of_job() == replace(
            self.options.of_job(), sheet=options.sheet, map=options.map
        )


def fingerprint(content_hash: str, connector: str | None, instance_id: str) -> str:
    """What a job is found by: `run` goes on with an unfinished one of the same content, connector and instance."""
    return _hash(content_hash, connector or "", instance_id)


def earlier_fingerprint(
    content_hash: str, connector: str | None, flags: tuple[bool, bool, bool], instance_id: str
) -> str:
    """As jobs have it that kept their options nowhere else. `flags`: as `JobOptions.older` takes them, in that order."""
    return _hash(content_hash, connector or "", *map(str, flags), instance_id)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def find_unfinished(
    engine: Engine, instance_id: str, content_hash: str, options: RunOptions
) -> Unfinished | None:
    """The running or paused job of the same content, connector and instance: the one that does the same with these options, if
    there is one, else the newest that does another thing or has others."""
    connector = options.connector
    earlier = {
        earlier_fingerprint(content_hash, connector, (skip_invalid, look_first, skips), instance_id): (
            JobOptions.older(skip_invalid=skip_invalid, look_first=look_first, skips=skips)
        )
        for skip_invalid, look_first, skips in itertools.product((False, True), repeat=3)
    }
    sought = [fingerprint(content_hash, connector, instance_id), *earlier]
    found = [
        Unfinished(job, RunOptions.of(kept or earlier[key], connector=connector, operation=job.operation))
        for job, key, kept in find_unfinished_jobs(engine, instance_id, sought)
    ]
    return min(found, key=lambda each: (not each.has_options(options), each.options.is_older), default=None)
