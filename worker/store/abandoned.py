"""Jobs that are deleted whole, piece by piece: loads that came to nothing, and jobs that are to be forgotten."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    and_,
    delete,
    exists,
    literal_column,
    not_,
    or_,
    select,
    update,
)

from worker.domain.states import ItemState, JobState
from worker.store.session import db_now, reading, upsert_into, writing
from worker.store.tables import IS_FORGOTTEN, items, jobs, remembered_targets, unloaded_rows

PIECE = 1_000  # rows in one transaction, so that nobody waits long for a turn
LOOK_AGAIN_AFTER_S = 0.1
_ROWS = (items, unloaded_rows)


@dataclass(frozen=True, slots=True)
class Deleted:
    """`jobs`: those of which nothing is left. `rows`: of these and of others."""

    jobs: int
    rows: int


def delete_abandoned_loads(engine: Engine, *, older_than_s: float) -> int:
    """Delete `loading` jobs whose loader was not seen for so long; how many they were."""
    with reading(engine) as connection:
        last_seen = db_now(connection) - timedelta(seconds=older_than_s)
        is_dead = or_(jobs.c.loader_seen_at <= last_seen, jobs.c.loader_seen_at.is_(None))
        loads = select(jobs.c.id).where(jobs.c.state == JobState.LOADING, not_(IS_FORGOTTEN), is_dead)
        dead = list(connection.execute(loads).scalars())
    return sum(delete_load(engine, job_id, last_seen) for job_id in dead)


def delete_load(engine: Engine, job_id: str, last_seen: datetime | None = None) -> bool:
    """Whether the job was loading, or is to be forgotten, and its loader not seen since `last_seen`; it and all that hangs on
    it are gone then.

    Safe to repeat, and to be cut off: what is left is deleted by the next who tries.
    """

    def give_up(connection: Connection) -> int:
        # From here on its loader, if it lives after all, finds the load lost.
        mark = update(jobs).where(_is_given_up(job_id)).values(loader_seen_at=None)
        if last_seen is not None:
            mark = mark.where(or_(jobs.c.loader_seen_at <= last_seen, jobs.c.loader_seen_at.is_(None)))
        return connection.execute(mark).rowcount

    if not writing(engine, give_up):
        return False
    while True:
        _delete_some(engine, job_id, most_pieces=None)
        with reading(engine) as connection:
            if connection.execute(select(jobs.c.id).where(_is_given_up(job_id))).first() is None:
                return True
        time.sleep(LOOK_AGAIN_AFTER_S)  # another process has the last rows in hand


def delete_forgotten(engine: Engine, *, most_pieces: int) -> Deleted:
    """So many pieces of the jobs that are to be forgotten. Several processes may do so at once."""
    with reading(engine) as connection:
        job_ids = list(
            connection.execute(select(jobs.c.id).where(IS_FORGOTTEN).order_by(jobs.c.id)).scalars()
        )
    gone = rows = 0
    for job_id in job_ids:
        if rows >= most_pieces * PIECE:
            break
        done = _delete_some(engine, job_id, most_pieces=most_pieces - rows // PIECE)
        gone, rows = gone + done.jobs, rows + done.rows
    return Deleted(gone, rows)


def _is_given_up(job_id: str) -> Any:
    return and_(jobs.c.id == job_id, jobs.c.state == JobState.LOADING)


def _delete_some(engine: Engine, job_id: str, *, most_pieces: int | None) -> Deleted:
    """`most_pieces` None: as many as there are."""
    rows = pieces = 0
    for table in _ROWS:
        after = -1
        while numbers := writing(engine, partial(_delete_piece, table=table, job_id=job_id, after=after)):
            # Not from the first row again: what was deleted is passed over, one by one, until it is tidied away.
            after = numbers[-1]
            rows, pieces = rows + len(numbers), pieces + 1
            if pieces == most_pieces:
                return Deleted(0, rows)
    return Deleted(writing(engine, partial(_delete_job, job_id=job_id)), rows)


def _delete_piece(connection: Connection, *, table: Table, job_id: str, after: int) -> Sequence[int]:
    """The numbers of the rows that went. What another process deletes at this moment is left to that one."""
    its = and_(table.c.job_id == job_id, table.c.row_number > after)
    piece = select(table.c.row_number).where(its).order_by(table.c.row_number).limit(PIECE)
    numbers = connection.execute(piece.with_for_update(skip_locked=True)).scalars().all()
    if numbers:
        these = and_(table.c.job_id == job_id, table.c.row_number.in_(numbers))
        if table is items:
            _remember(connection, these)
        connection.execute(delete(table).where(these))
    return numbers


def _remember(connection: Connection, these: Any) -> None:
    """What may have been sent. Nothing was of a load that came to nothing."""
    may_be_there = or_(
        items.c.tried, items.c.maybe_sent, items.c.state == literal_column(f"'{ItemState.INSTALLED}'")
    )
    # In one order, so that two who delete never wait for each other in a ring.
    sent = select(items.c.target).where(these, may_be_there).distinct().order_by(items.c.target)
    into = upsert_into(connection, remembered_targets).from_select(["target"], sent)
    connection.execute(into.on_conflict_do_nothing())


def _delete_job(connection: Connection, *, job_id: str) -> int:
    """1 where it went. Foreign keys carry the deletion on, and what may be long is not left to them."""
    connection.execute(select(jobs.c.id).where(jobs.c.id == job_id).with_for_update()).all()
    for table in _ROWS:
        if connection.execute(select(exists().where(table.c.job_id == job_id))).scalar():
            return 0
    return connection.execute(delete(jobs).where(_is_given_up(job_id))).rowcount
