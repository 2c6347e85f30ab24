"""Jobs as a person sees them: how they stand, their results, and the changes of state that a person asks for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from heapq import merge
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, not_, select

from worker.domain.options import JobOptions
from worker.domain.pace import NextStep
from worker.domain.rows import Warning_
from worker.domain.states import JobState, PauseReason
from worker.domain.words import BEING_WRITTEN, PAUSES, counted, job_state_and_why
from worker.store.due import read_options
from worker.store.instances import find_seen_ago_s
from worker.store.session import db_now, reading
from worker.store.tables import (
    HELD_UNTIL,
    IS_FAILED,
    IS_FORGOTTEN,
    IS_QUEUED,
    IS_RUNNING,
    api_keys,
    instances,
    is_in_hand_of,
    items,
    job_warnings,
    jobs,
    unloaded_rows,
)

PAGE = 1_000


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job's row: read at constant cost, whatever its size. `held`: rows that `--first` holds back.

    `to_authorise`: done rows whose customers have still to authorise; `without_credential`: done as asked, and without one. `warning_count`: of all rows (`list_warnings`).
    `handed_in_by`: the name of the API key that did; None: a command did. `worked_s`: how long it worked before the stretch
    that began at `working_since`; None: it rests. `done_by`: the jobs that have done the skipped rows, with how many each.
    """

    id: str
    instance_id: str
    api_host: str
    operation: str
    state: JobState
    pause_reason: PauseReason | None
    source_name: str
    columns: tuple[str, ...]
    delimiter: str
    total: int
    held: int
    installed: int
    failed: int
    cancelled: int
    tried: int
    refused: int
    skipped: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    handed_in_by: str | None = None
    warning_count: int = 0
    to_authorise: int = 0
    without_credential: int = 0
    worked_s: float = 0.0
    working_since: datetime | None = None
    options: JobOptions = field(default_factory=JobOptions)
    done_by: Mapping[str, int] = field(default_factory=dict)

    def worked_for_s(self, now: datetime) -> float:
        """For how long it has been running; pauses, and what lies between its end and a retry, do not count."""
        stretch_s = 0.0 if self.working_since is None else (now - self.working_since).total_seconds()
        return self.worked_s + max(0.0, stretch_s)

    @property
    def is_ending(self) -> bool:
        """Whether it is cancelled, and some of its rows are not final yet."""
        return self.state is JobState.CANCELLED and self.finished_at is None

    @property
    def can_be_retried(self) -> bool:
        """Whether rows of it may be tried again now."""
        return self.state is not JobState.LOADING and not self.is_ending

    @property
    def state_in_words(self) -> str:
        """`running`, `paused (somebody paused it)`."""
        return job_state_and_why(self.state, self.pause_reason, is_ending=self.is_ending)

    @property
    def done_in_words(self) -> str:
        """`10 of 40 rows done`. While its rows are still being written nobody knows how many there will be."""
        if self.state is JobState.LOADING:
            return BEING_WRITTEN
        return f"{self.final:,} of {counted(self.total, 'row')} done"

    @property
    def named(self) -> str:
        """`job 261121-abc of accounts.csv, 10 of 40 rows done`."""
        return f"job {self.id} of {self.source_name}, {self.done_in_words}"

    def cannot_be(self, deed: str) -> str:
        """Why this is not done to it: `Job 261121-abc cannot be paused: it is completed.`"""
        return f"Job {self.id} cannot be {deed}: it is {self.state_in_words}."

    @property
    def pause_message(self) -> str | None:
        """Why it is paused; None where it is not."""
        return PAUSES[self.pause_reason].title if self.pause_reason else None

    @property
    def pause_advice(self) -> str | None:
        """What to do then."""
        return PAUSES[self.pause_reason].advice if self.pause_reason else None

    @property
    def final(self) -> int:
        return self.installed + self.failed + self.cancelled

    @property
    def left(self) -> int:
        return self.total - self.final

    @property
    def retrying(self) -> int:
        """Items that were tried and are not final: some in hand, most waiting for their next try."""
        return max(0, self.tried - self.installed - self.failed)


# Whole rows of `jobs`, with what else a `JobStatus` has.
JOBS = (
    select(
        jobs, instances.c.api_host, func.coalesce(api_keys.c.name, jobs.c.api_key_id).label("handed_in_by")
    )
    .join(instances)
    .outerjoin(api_keys, api_keys.c.id == jobs.c.api_key_id)
)


def get_job(engine: Engine, job_id: str) -> JobStatus:
    """Raises: NoResultFound."""
    with reading(engine) as connection:
        return to_status(connection.execute(JOBS.where(jobs.c.id == job_id)).one())


def list_unfinished_jobs(engine: Engine, instance_id: str | None = None) -> list[JobStatus]:
    """Jobs that are loading, running or paused, the newest first; of one instance, or of all."""
    states = [JobState.LOADING, JobState.RUNNING, JobState.PAUSED]
    unfinished = JOBS.where(jobs.c.state.in_(states), not_(IS_FORGOTTEN))
    if instance_id:
        unfinished = unfinished.where(jobs.c.instance_id == instance_id)
    with reading(engine) as connection:
        return [to_status(row) for row in connection.execute(unfinished.order_by(jobs.c.created_at.desc()))]


def find_unfinished_jobs(
    engine: Engine, instance_id: str, fingerprints: Sequence[str]
) -> list[tuple[JobStatus, str, JobOptions | None]]:
    """The running and paused jobs of this instance with one of these fingerprints, the newest first, each with the one it
    has and with its options; None: it was loaded by the version before, which kept them in the fingerprint."""
    mine = JOBS.where(
        jobs.c.instance_id == instance_id,
        jobs.c.fingerprint.in_(fingerprints),
        jobs.c.state.in_([JobState.RUNNING, JobState.PAUSED]),
    ).order_by(jobs.c.created_at.desc())
    with reading(engine) as connection:
        rows = connection.execute(mine).all()
    return [
        (to_status(row), row.fingerprint, None if row.options is None else JobOptions.from_json(row.options))
        for row in rows
    ]


def to_status(row: Row[Any]) -> JobStatus:
    """`row`: of `JOBS`."""
    found = {each.name: row._mapping[each.name] for each in fields(JobStatus)}
    reason = row.pause_reason
    return JobStatus(
        **found
        | {
            "state": JobState(row.state),
            "pause_reason": PauseReason(reason) if reason else None,
            "columns": tuple(row.columns),
            "options": read_options(row, row.options),
            "done_by": row.done_by or {},
        }
    )


def list_warnings(engine: Engine, job_id: str) -> list[Warning_]:
    """The first 100 warnings of the check of its file; those that say the same of many rows are one."""
    mine = select(job_warnings.c.warnings).where(job_warnings.c.job_id == job_id)
    with reading(engine) as connection:
        found = connection.execute(mine).scalar() or []
    return [
        Warning_(
            each["row"],
            each["column"],
            each["reason"],
            each["count"],
            tuple((first, last) for first, last in each["spans"]),
        )
        for each in found
    ]


@dataclass(frozen=True, slots=True)
class InHand:
    """Items that workers hold right now. `tried`: those of them that were tried before; `fresh`: the others."""

    fresh: int
    tried: int

    @property
    def count(self) -> int:
        return self.fresh + self.tried


def read_in_hand(engine: Engine, job_id: str) -> InHand:
    """Bounded by the workers' concurrency, not by the job. In two parts, so that nothing is counted twice beside
    `JobStatus.retrying`."""
    in_hand = select(items.c.tried, func.count().label("size")).where(is_in_hand_of(job_id))
    with reading(engine) as connection:
        sizes = {row.tried: row.size for row in connection.execute(in_hand.group_by(items.c.tried))}
    return InHand(fresh=sizes.get(False, 0), tried=sizes.get(True, 0))


def iter_results(
    engine: Engine, job_id: str, *, state: str | None = None, reason: str | None = None
) -> Iterator[Row[Any]]:
    """The job's lines in the order of the file: rows of `items`, and of `unloaded_rows` (these have `problems`).

    Reads page by page: memory does not grow with the job. A refused row has `problems`; a skipped one has none,
    and `installed_job_id` with `installed_row_number` say which item it is. `state`: of items only those in this one.
    `reason`: only failed items with this key.
    """
    in_state = [items.c.state == state] if state else []
    if reason is not None:
        return _iter_pages(engine, items, job_id, IS_FAILED, items.c.reason == reason, *in_state)
    return merge(
        _iter_pages(engine, items, job_id, *in_state),
        _iter_pages(engine, unloaded_rows, job_id),
        key=lambda row: row.row_number,
    )


def _iter_pages(engine: Engine, table: Any, job_id: str, *conditions: Any) -> Iterator[Row[Any]]:
    after = 0
    while True:
        page = (
            select(table)
            .where(table.c.job_id == job_id, table.c.row_number > after, *conditions)
            .order_by(table.c.row_number)
            .limit(PAGE)
        )
        with reading(engine) as connection:
            rows: Sequence[Row[Any]] = connection.execute(page).all()
        yield from rows
        if len(rows) < PAGE:
            return
        after = rows[-1].row_number


def find_stored_item(engine: Engine, job_id: str, row_number: int) -> Row[Any] | None:
    """The whole row of one item; None where its job is gone."""
    with reading(engine) as connection:
        mine = select(items).where(items.c.job_id == job_id, items.c.row_number == row_number)
        return connection.execute(mine).first()


def find_next_step(engine: Engine, job: JobStatus, *, workers_began_ago_s: float | None = None) -> NextStep:
    """`workers_began_ago_s`: as in `NextStep`."""
    with reading(engine) as connection:
        now = db_now(connection)
        claims = select(func.count(), func.max(items.c.claim_until)).where(is_in_hand_of(job.id))
        in_hand, last_claim = connection.execute(claims).one()
        working = connection.execute(select(items.c.id).where(IS_RUNNING).limit(1)).first()
        gate = select(instances.c.gate_until).where(instances.c.id == job.instance_id)
        step = NextStep(
            in_hand,
            _until(last_claim, now),
            _until(_next_due(connection, job.id), now),
            max(0.0, _until(connection.execute(gate).scalar(), now) or 0.0),
            working is not None,
            _until(_last_due(connection, job.id), now),
            workers_began_ago_s=workers_began_ago_s,
        )
    is_untaken = step.due_in_s is not None and step.due_in_s <= 0 and not step.is_anybody_working
    return replace(step, seen_ago_s=find_seen_ago_s(engine, job.instance_id)) if is_untaken else step


def _next_due(connection: Connection, job_id: str) -> datetime | None:
    waiting = select(items.c.due_at).where(items.c.job_id == job_id, IS_QUEUED)
    # In the order of its index, read from the other end: those that are held back come last.
    first = connection.execute(waiting.order_by(items.c.due_at, items.c.id.desc()).limit(1)).scalar()
    return None if first == HELD_UNTIL else first


def _last_due(connection: Connection, job_id: str) -> datetime | None:
    waiting = select(items.c.due_at).where(items.c.job_id == job_id, IS_QUEUED, items.c.due_at < HELD_UNTIL)
    last: datetime | None = connection.execute(
        waiting.order_by(items.c.due_at.desc(), items.c.id).limit(1)
    ).scalar()
    return last


def _until(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else (at - now).total_seconds()
