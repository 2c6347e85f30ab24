"""What the clock does to the tables: rescue, finish, wipe; and jobs that are deleted whole, piece by piece."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
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
    func,
    literal_column,
    not_,
    or_,
    select,
    update,
)

from worker.domain.states import RULED, Code, ItemState, JobState
from worker.domain.steps import ACCOUNT, LEAVE_THE_TARGET_ALONE, NOTHING
from worker.domain.verdicts import CalledOff, GiveUp, called_off
from worker.domain.words import CANCELLED_UNSENT, CODES
from worker.store import tallies
from worker.store.claiming import NOTED, read_notes
from worker.store.job_states import JobEnd, end_jobs, lock_jobs
from worker.store.session import db_now, reading, upsert_into, writing
from worker.store.settling import to_failure
from worker.store.tables import (
    DEATHS_UNTIL_ALONE,
    HELD_UNTIL,
    IS_FORGOTTEN,
    IS_HELD,
    IS_KEPT,
    IS_QUEUED,
    IS_RUNNING,
    IS_UNDO_KEPT,
    IS_WITHOUT_REASON,
    instances,
    items,
    jobs,
    remembered_targets,
    unloaded_rows,
)
from worker.store.tallies import FAILURE_COLUMNS, add_failures, add_pace

PIECE = 1_000  # rows in one transaction, so that nobody waits long for a turn
LOOK_AGAIN_AFTER_S = 0.1
_ROWS = (items, unloaded_rows)


def rescue(engine: Engine, *, due_in_s: float) -> int:
    """Take back a piece of the items whose claims ran out; how many. Each must be looked for, in `due_in_s` at the earliest:
    a call of the lost worker may still be under way, and Cyclr may still be working on it.

    An item that was claimed alone, because workers had died with it before, fails for good as `worker_lost`.
    """

    def work(connection: Connection) -> int:
        now = db_now(connection)
        lost = list(
            connection.execute(
                select(
                    items.c.id,
                    items.c.job_id,
                    items.c.row_number,
                    items.c.account_id,
                    items.c.deaths,
                    items.c.tried,
                )
                .where(IS_RUNNING, items.c.claim_until < now)
                .order_by(items.c.id)
                .limit(PIECE)
                .with_for_update(skip_locked=True)
            )
        )
        back = [row.id for row in lost if row.deaths < DEATHS_UNTIL_ALONE]
        dead = [row for row in lost if row.deaths >= DEATHS_UNTIL_ALONE]
        taken_back: dict[str, Any] = {
            "claim_id": None,
            "claim_until": None,
            "must_look": True,
            # What was sent is written down before each call. A worker of the version before keeps no such note, so what
            # it did is not known.
            "maybe_sent": or_(
                items.c.maybe_sent, items.c.sent.is_(None), items.c.sent.not_in(LEAVE_THE_TARGET_ALONE)
            ),
            "sent": func.nullif(items.c.sent, NOTHING),
            "deaths": items.c.deaths + 1,
        }
        if back:
            due_at = now + timedelta(seconds=due_in_s)
            queued = {
                "state": ItemState.QUEUED,
                "due_at": due_at,
                "code": Code.RESCUED,
                "message": CODES[Code.RESCUED].title,
            }
            _update(connection, back, taken_back | queued)
        if dead:
            lost_for_good = GiveUp(Code.WORKER_LOST, CODES[Code.WORKER_LOST].title, is_absent=False)
            _fail(connection, [(row, lost_for_good) for row in dead], now, taken_back)
        _count_rescues(connection, Counter(row.job_id for row in lost))
        return len(lost)

    return writing(engine, work)


def _count_rescues(connection: Connection, rescued: Counter[str]) -> None:
    # The last step, in id order: all jobs of an instance share its row.
    by_instance: Counter[str] = Counter()
    of_job = select(jobs.c.id, jobs.c.instance_id).where(jobs.c.id.in_(rescued))
    for row in connection.execute(of_job) if rescued else ():
        by_instance[row.instance_id] += rescued[row.id]
    for instance_id, count in sorted(by_instance.items()):
        mine = update(instances).where(instances.c.id == instance_id)
        connection.execute(mine.values(rescues=instances.c.rescues + count))


def _fail(
    connection: Connection, failed: Sequence[tuple[Any, GiveUp]], now: datetime, values: Mapping[str, Any]
) -> None:
    """Items that end as failed without a settle, with their counters and tallies."""
    if not failed:
        return
    by_verdict: dict[GiveUp, list[Any]] = {}
    for row, verdict in failed:
        by_verdict.setdefault(verdict, []).append(row)
    for verdict, rows in by_verdict.items():
        ended = {
            "state": ItemState.FAILED,
            "tried": True,
            "code": verdict.code,
            "message": verdict.message,
            "http_status": verdict.http_status,
            "can_retry_help": verdict.can_retry_help,
            "reason": to_failure(rows[0], verdict).reason,
            "settled_at": now,
        }
        _update(connection, [row.id for row in rows], {**values, **ended})
    moves: dict[str, Counter[str]] = {}
    for row, verdict in failed:
        counters = moves.setdefault(row.job_id, Counter())
        counters.update(failed=1, tried=int(not row.tried), ruled=int(verdict.code in RULED))
    locked = lock_jobs(connection, sorted(moves))
    for job_id, counters in moves.items():
        changes = {name: jobs.c[name] + by for name, by in counters.items()}
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(changes))
    add_failures(connection, [to_failure(row, verdict) for row, verdict in failed])
    add_pace(connection, locked, moves, now)


def name_reasons(engine: Engine) -> int:
    """Write the key of its reason on a piece of the failed items that have none; how many. Such are what failed before items
    kept it, and what workers of the version before this one settle while they are being replaced.
    """

    def work(connection: Connection) -> int:
        without = select(items.c.id, *FAILURE_COLUMNS).where(IS_WITHOUT_REASON).order_by(items.c.id)
        # One that a person retries at this moment needs none.
        rows = connection.execute(without.limit(PIECE).with_for_update(skip_locked=True)).all()
        by_reason: dict[str, list[int]] = {}
        for row in rows:
            by_reason.setdefault(tallies.to_failure(row).reason, []).append(row.id)
        for reason, ids in by_reason.items():
            _update(connection, ids, {"reason": reason})
        return len(rows)

    with reading(engine) as connection:
        if connection.execute(select(items.c.id).where(IS_WITHOUT_REASON).limit(1)).first() is None:
            return 0
    return writing(engine, work)


def finish_jobs(engine: Engine, *, pause_above_percent: float) -> list[JobEnd]:
    """Complete or pause every job whose counters say so; which. Usually the settle has done it already."""

    def work(connection: Connection) -> list[JobEnd]:
        unfinished = (
            select(jobs.c.id)
            .where(
                jobs.c.state.in_([JobState.RUNNING, JobState.PAUSED])
                | ((jobs.c.state == JobState.CANCELLED) & jobs.c.finished_at.is_(None))
            )
            .order_by(jobs.c.id)
            # One that is locked is being settled, and moved on by that.
            .with_for_update(skip_locked=True, key_share=True)
        )
        ids = list(connection.execute(unfinished).scalars())
        return end_jobs(connection, ids, db_now(connection), pause_above_percent)

    return writing(engine, work)


def cancel_queued(engine: Engine) -> int:
    """End a piece of the queued and held items of cancelled jobs, of which nothing can be there that is not known; how many.

    One that has sent or done a part is not cancelled but failed, and one that may have been sent is looked for: now, if it was
    held, or `--first` held it back.
    """

    def work(connection: Connection) -> int:
        whole = (items.c.id, items.c.job_id, items.c.row_number, items.c.account_id, items.c.must_look)
        columns = (*whole, items.c.tried, *(items.c[name] for name in NOTED), jobs.c.operation)
        is_waiting = and_(IS_QUEUED, or_(~items.c.must_look, items.c.due_at == HELD_UNTIL))
        found: list[Any] = []
        for is_theirs in (is_waiting, IS_HELD):  # each by an index of its own
            found += connection.execute(
                select(*columns)
                .join(jobs, jobs.c.id == items.c.job_id)
                .where(jobs.c.state == JobState.CANCELLED, jobs.c.finished_at.is_(None), is_theirs)
                .limit(PIECE - len(found))
                .with_for_update(of=items, skip_locked=True)
            )
        now = db_now(connection)
        may_be_there = [
            row for row in found if row.must_look or row.sent not in (None, NOTHING, ACCOUNT.name)
        ]
        to_look = {"state": ItemState.QUEUED, "due_at": now, "must_look": True}
        _update(connection, [row.id for row in may_be_there], to_look)
        others = [row for row in found if row not in may_be_there]
        ends = [(row, called_off(row.operation, read_notes(row))) for row in others]
        cancelled = [row for row, verdict in ends if isinstance(verdict, CalledOff)]
        over = {"state": ItemState.CANCELLED, "message": CANCELLED_UNSENT, "settled_at": now}
        _update(connection, [row.id for row in cancelled], over)
        # The job rows once, in one order, whatever is moved of them.
        lock_jobs(connection, sorted({row.job_id for row, _ in ends}))
        for job_id, count in sorted(Counter(row.job_id for row in cancelled).items()):
            changes = {"cancelled": jobs.c.cancelled + count}
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(changes))
        unfinished = [(row, verdict) for row, verdict in ends if isinstance(verdict, GiveUp)]
        _fail(connection, unfinished, now, {})
        return len(found)

    return writing(engine, work)


def _update(connection: Connection, ids: list[int], values: dict[str, Any]) -> None:
    if ids:
        connection.execute(update(items).where(items.c.id.in_(ids)).values(values))


def wipe_old_secrets(engine: Engine, *, retention_h: float) -> int:
    """Wipe what a piece of the items that ended so long ago keeps sealed: its values, where it failed or was cancelled, and what
    it has overwritten; how many times."""

    def work(connection: Connection) -> int:
        until = db_now(connection) - timedelta(hours=retention_h)
        wiped = 0
        for is_kept, column in ((IS_KEPT, "sealed"), (IS_UNDO_KEPT, "undo")):  # each by an index of its own
            old = (
                select(items.c.id)
                .where(is_kept, items.c.settled_at <= until)
                .order_by(items.c.settled_at)
                .limit(PIECE)
                # One that a person retries at this moment keeps its secrets.
                .with_for_update(skip_locked=True)
            )
            ids = list(connection.execute(old).scalars())
            _update(connection, ids, {column: None})
            wiped += len(ids)
        return wiped

    return writing(engine, work)


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
