"""What a job waits for just now, and until when: read at constant cost, whatever its size."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, Engine, func, select

from worker.domain.pace import NextStep
from worker.store.jobs import JobStatus
from worker.store.new_rows import HELD_UNTIL
from worker.store.session import db_now, reading
from worker.store.sightings import find_seen_ago_s
from worker.store.tables import IS_QUEUED, IS_RUNNING, instances, is_in_hand_of, items


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
