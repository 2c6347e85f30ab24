"""Whether a job works: what its counters make of it, and what a person asks for. For how long it has worked is added up when it rests.

What lies between a pause and a resume, an end and a retry, is no work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, and_, func, select, update

from worker.domain.states import JobState, PauseReason
from worker.store.session import db_now, reading, writing
from worker.store.tables import HELD_UNTIL, IS_QUEUED, items, job_connectors, jobs
from worker.telemetry import get_logger

LEAST_TRIED_FOR_A_PAUSE = 50
RELEASED_AT_ONCE = 1_000  # held rows in one transaction, so that other writers of SQLite get their turn

log = get_logger()


@dataclass(frozen=True, slots=True)
class JobEnd:
    """What its counters have made of a job: completed, paused, or cancelled to its last row."""

    job_id: str
    state: JobState
    pause_reason: PauseReason | None = None


def lock_jobs(connection: Connection, job_ids: Sequence[str]) -> list[Row[Any]]:
    """These jobs, whole, locked until the transaction ends."""
    # In one order, whatever is changed of them afterwards: two settles must not wait for each other.
    locked = select(jobs).where(jobs.c.id.in_(job_ids)).order_by(jobs.c.id)
    return list(connection.execute(locked.with_for_update(key_share=True)))


def end_jobs(
    connection: Connection, job_ids: Sequence[str], now: datetime, pause_above_percent: float
) -> list[JobEnd]:
    """Complete, or pause, those of these jobs whose counters say so; which. The caller has locked them. Safe to repeat."""
    if not job_ids:
        return []
    rows = connection.execute(select(jobs).where(jobs.c.id.in_(job_ids)).order_by(jobs.c.id)).all()
    ended = []
    for job in rows:
        if (ending := _ending(job, pause_above_percent)) is None:
            continue
        changes = {"state": ending.state, "pause_reason": ending.pause_reason, **resting(job, now)}
        if ending.state is not JobState.PAUSED:
            changes["finished_at"] = now
        connection.execute(update(jobs).where(jobs.c.id == job.id).values(changes))
        ended.append(ending)
    return ended


def _ending(job: Row[Any], pause_above_percent: float) -> JobEnd | None:
    """None: it goes on as it is."""
    state = JobState(job.state)
    final = job.installed + job.failed + job.cancelled
    if state is JobState.CANCELLED and job.finished_at is None and final == job.total:
        return JobEnd(job.id, JobState.CANCELLED)
    if state in (JobState.RUNNING, JobState.PAUSED) and final == job.total:
        return JobEnd(job.id, JobState.COMPLETED)
    if state is not JobState.RUNNING:
        return None
    if job.held and final == job.total - job.held:
        return JobEnd(job.id, JobState.PAUSED, PauseReason.FIRST_ROWS)
    # What failed by a rule of ours says nothing against the file or Cyclr.
    ruled = job.ruled - job.ruled_at_start
    tried = job.tried - job.tried_at_start - ruled
    failed = job.failed - job.failed_at_start - ruled
    if tried >= LEAST_TRIED_FOR_A_PAUSE and failed * 100 > pause_above_percent * tried:
        return JobEnd(job.id, JobState.PAUSED, PauseReason.TOO_MANY_FAILURES)
    return None


def log_ended(ended: Sequence[JobEnd]) -> None:
    """To be told once it is committed."""
    for job in ended:
        log.info("job_ended", job_id=job.job_id, state=job.state, pause_reason=job.pause_reason)


def pause(connection: Connection, job_id: str, reason: PauseReason) -> bool:
    """Pause the job if it is running; whether it was."""
    return rest(connection, job_id, [JobState.RUNNING], {"state": JobState.PAUSED, "pause_reason": reason})


def rest(connection: Connection, job_id: str, where_in: Sequence[JobState], changes: dict[str, Any]) -> bool:
    """Change the job, which works no longer then, if it is in one of these states; whether it was."""
    locked = [job for job in lock_jobs(connection, [job_id]) if job.state in where_in]
    for job in locked:
        values = changes | resting(job, db_now(connection))
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
    return bool(locked)


def resting(job: Row[Any], now: datetime) -> dict[str, Any]:
    """What changes on a job that works no longer; nothing where it rested already."""
    stretch_s = 0.0 if job.working_since is None else (now - job.working_since).total_seconds()
    return {"worked_s": job.worked_s + stretch_s, "working_since": None}


def pause_job(engine: Engine, job_id: str, reason: PauseReason) -> bool:
    """Pause it if it is running; whether it was."""
    return _once(engine, lambda connection: pause(connection, job_id, reason), job_id, JobState.PAUSED)


def resume_job(engine: Engine, job_id: str, *, first: int | None) -> bool:
    """Run it if it is paused; whether it was. `first`: let so many more rows go, hold back the rest; None: all.

    The share of failures counts from here, and the connectors are resolved again before they are used.
    Rows are let go in pieces while the job is still paused: cut off between two of them, it is resumed once more.
    """

    def run(connection: Connection) -> bool:
        running = {
            "state": JobState.RUNNING,
            "pause_reason": None,
            "failed_at_start": jobs.c.failed,
            "tried_at_start": jobs.c.tried,
            "ruled_at_start": jobs.c.ruled,
            "working_since": db_now(connection),
        }
        if not _change_paused(connection, job_id, running):
            return False
        stale = update(job_connectors).where(job_connectors.c.job_id == job_id)
        connection.execute(stale.values(resolved_at=None))
        return True

    last_id = _last_to_go(engine, job_id, first)
    try:
        while last_id is not None and writing(engine, partial(_let_go, job_id=job_id, last_id=last_id)):
            pass
    except _NotPaused:
        return False
    return _once(engine, run, job_id, JobState.RUNNING)


class _NotPaused(Exception):
    """Rolls the transaction back: the job was not paused."""


def _change_paused(connection: Connection, job_id: str, changes: dict[str, Any]) -> bool:
    paused = update(jobs).where(jobs.c.id == job_id, jobs.c.state == JobState.PAUSED)
    return bool(connection.execute(paused.values(changes)).rowcount)


def _held(job_id: str) -> Select[Any]:
    is_held = and_(items.c.job_id == job_id, IS_QUEUED, items.c.due_at == HELD_UNTIL)
    return select(items.c.id).where(is_held).order_by(items.c.id)


def _last_to_go(engine: Engine, job_id: str, first: int | None) -> int | None:
    """The id up to which held items go: settled before the first of them goes, so that each piece may be repeated."""
    going = _held(job_id).limit(first).subquery()
    with reading(engine) as connection:
        last_id: int | None = connection.execute(select(func.max(going.c.id))).scalar_one()
    return last_id


def _let_go(connection: Connection, job_id: str, last_id: int) -> int:
    piece = _held(job_id).where(items.c.id <= last_id).limit(RELEASED_AT_ONCE).with_for_update()
    ids = list(connection.execute(piece).scalars())
    if ids:
        connection.execute(update(items).where(items.c.id.in_(ids)).values(due_at=db_now(connection)))
        if not _change_paused(connection, job_id, {"held": jobs.c.held - len(ids)}):
            raise _NotPaused
    return len(ids)


def cancel_job(engine: Engine, job_id: str) -> bool:
    """Cancel it if it is running or paused; whether it was. Its queued items follow in pieces (`cancel_queued`)."""

    def work(connection: Connection) -> bool:
        over = {"state": JobState.CANCELLED, "pause_reason": None, "held": 0}
        return rest(connection, job_id, [JobState.RUNNING, JobState.PAUSED], over)

    return _once(engine, work, job_id, JobState.CANCELLED)


def _once(engine: Engine, change: Callable[[Connection], bool], job_id: str, becomes: JobState) -> bool:
    """Whether `change` took place. Where the answer to its commit was lost it is tried again, and finds its own work."""
    was_done = False

    def work(connection: Connection) -> bool:
        nonlocal was_done
        if change(connection):
            was_done = True
            return True
        state = connection.execute(select(jobs.c.state).where(jobs.c.id == job_id)).scalar()
        return was_done and state == becomes

    return writing(engine, work)
