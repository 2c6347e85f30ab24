"""What makes a job rest: its counters end or pause it, or somebody pauses it. For how long it has worked is added up then.

What lies between a pause and a resume, an end and a retry, is no work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from worker.domain.states import JobState, PauseReason
from worker.store.session import db_now
from worker.store.tables import jobs
from worker.telemetry import get_logger

LEAST_TRIED_FOR_A_PAUSE = 50

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
