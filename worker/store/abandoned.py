"""Loads that came to nothing are deleted, whole."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, and_, delete, or_, select, update

from worker.domain.states import JobState
from worker.store.session import db_now, reading, writing
from worker.store.tables import items, jobs

PIECE = 5_000


def delete_abandoned_loads(engine: Engine, *, older_than_s: float) -> int:
    """Delete `loading` jobs whose loader was not seen for so long; how many they were."""
    with reading(engine) as connection:
        last_seen = db_now(connection) - timedelta(seconds=older_than_s)
        is_dead = or_(jobs.c.loader_seen_at <= last_seen, jobs.c.loader_seen_at.is_(None))
        dead = list(
            connection.execute(select(jobs.c.id).where(jobs.c.state == JobState.LOADING, is_dead)).scalars()
        )
    return sum(delete_load(engine, job_id, last_seen) for job_id in dead)


def delete_load(engine: Engine, job_id: str, last_seen: datetime | None = None) -> bool:
    """Whether the job was loading, and its loader not seen since `last_seen`; it and all that hangs on it are gone then.

    Safe to repeat, and to be cut off: what is left is deleted by the next who tries.
    """
    is_loading = and_(jobs.c.id == job_id, jobs.c.state == JobState.LOADING)

    def give_up(connection: Connection) -> int:
        # From here on its loader, if it lives after all, finds the load lost.
        mark = update(jobs).where(is_loading).values(loader_seen_at=None)
        if last_seen is not None:
            mark = mark.where(or_(jobs.c.loader_seen_at <= last_seen, jobs.c.loader_seen_at.is_(None)))
        return connection.execute(mark).rowcount

    def delete_piece(connection: Connection) -> int:
        piece = select(items.c.id).where(items.c.job_id == job_id).limit(PIECE)
        return connection.execute(delete(items).where(items.c.id.in_(piece))).rowcount

    if not writing(engine, give_up):
        return False
    while writing(engine, delete_piece):
        pass
    # Foreign keys carry the deletion on to what is left.
    writing(engine, lambda connection: connection.execute(delete(jobs).where(is_loading)))
    return True
