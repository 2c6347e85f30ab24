"""What a person may do to a job after its run: retry it, forget it, seal it anew, distrust what is unfinished."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, and_, case, exists, func, not_, null, or_, select, true, update
from sqlalchemy.exc import IntegrityError

from worker.domain.states import FINAL_ITEM_STATES, RULED, ItemState, JobState
from worker.domain.steps import needs_secret
from worker.store.sealing import SealBroken, Sealer
from worker.store.session import db_now, reading, writing
from worker.store.tables import IS_FAILED, IS_LIVE, items, job_connectors, jobs
from worker.store.tallies import FAILURE_COLUMNS, remove_failures, to_failure
from worker.store.upkeep import delete_load

PIECE = 1_000
OLD_JOBS_AT_ONCE = 10
TRIES = 5
_live = items.alias("live")
_IS_LIVE_ELSEWHERE = exists().where(_live.c.target == items.c.target, _live.c.state.not_in(FINAL_ITEM_STATES))
_HAS_ENDED = or_(
    jobs.c.state == JobState.COMPLETED,
    and_(jobs.c.state == JobState.CANCELLED, jobs.c.finished_at.is_not(None)),
)
_CAN_BE_RETRIED = or_(jobs.c.state.in_([JobState.RUNNING, JobState.PAUSED]), _HAS_ENDED)


class WrongState(Exception):
    """The job is not in a state in which this can be done. `state`: the one it is in; None: there is no such job.

    `is_ending`: it is cancelled, and some of its rows are still to be cancelled or looked for.
    """

    def __init__(self, job_id: str, state: JobState | None, *, is_ending: bool = False) -> None:
        super().__init__(f"there is no job {job_id}" if state is None else f"job {job_id} is {state}")
        self.job_id = job_id
        self.state = state
        self.is_ending = is_ending


@dataclass(frozen=True, slots=True)
class Retried:
    """`queued`: items that will be tried again. `wiped`: their credentials are no longer kept. `live`: another job has their target."""

    queued: int
    wiped: int
    live: int


def retry_job(
    engine: Engine,
    job_id: str,
    *,
    codes: Sequence[str] = (),
    reason: str | None = None,
    row_number: int | None = None,
) -> Retried:
    """Queue the job's failed and cancelled items again, and let it run unless it is paused.

    `codes`, `reason`: only the failed ones with one of these codes, with this key. `row_number`: only this one.

    Each begins anew, with a look first: whatever happened to it before. Safe to repeat. Raises: WrongState.
    """
    wanted = and_(items.c.job_id == job_id, items.c.state.in_([ItemState.FAILED, ItemState.CANCELLED]))
    if codes:
        wanted = and_(wanted, IS_FAILED, items.c.code.in_(codes))
    if reason is not None:
        wanted = and_(wanted, IS_FAILED, items.c.reason == reason)
    if row_number is not None:
        wanted = and_(wanted, items.c.row_number == row_number)
    _require(engine, job_id, _CAN_BE_RETRIED)
    is_kept = items.c.sealed.is_not(None) if _needs_secret(engine, job_id) else true()
    can = and_(wanted, is_kept, not_(_IS_LIVE_ELSEWHERE))
    queued = 0
    while moved := _requeue(engine, job_id, can):
        queued += moved
    # What is left is what cannot be retried.
    with reading(engine) as connection:
        wiped = _count(connection, and_(wanted, not_(is_kept)))
        live = _count(connection, and_(wanted, is_kept, _IS_LIVE_ELSEWHERE))
    return Retried(queued, wiped, live)


def _needs_secret(engine: Engine, job_id: str) -> bool:
    with reading(engine) as connection:
        operation = select(jobs.c.operation).where(jobs.c.id == job_id)
        return needs_secret(connection.execute(operation).scalar_one())


def _requeue(engine: Engine, job_id: str, can: Any) -> int:
    """A piece of them; how many."""
    for left in reversed(range(TRIES)):
        try:
            return writing(engine, lambda connection: _requeue_piece(connection, job_id, can))
        except IntegrityError:
            # A load has taken one of the targets in this moment: from now on it is seen.
            if not left:
                raise
    raise AssertionError("unreachable")


def _requeue_piece(connection: Connection, job_id: str, can: Any) -> int:
    # The job first, and held: it must not be forgotten or end while its items come back.
    _lock_job(connection, job_id, _CAN_BE_RETRIED)
    piece = (
        select(items.c.id, items.c.state, items.c.tried, *FAILURE_COLUMNS)
        .where(can)
        .order_by(items.c.row_number)
        .limit(PIECE)
    )
    rows = list(connection.execute(piece.with_for_update()))
    if not rows:
        return 0
    now = db_now(connection)
    anew = {
        "state": ItemState.QUEUED,
        "must_look": True,
        "tried": False,
        "attempts": 0,
        "deaths": 0,
        "due_at": now,
        "code": None,
        "message": None,
        "http_status": None,
        "can_retry_help": None,
        "reason": None,
        "differs": null(),
        "settled_at": None,
    }
    connection.execute(update(items).where(items.c.id.in_([row.id for row in rows])).values(anew))
    failures = [to_failure(row) for row in rows if row.state == ItemState.FAILED]
    ruled = sum(failure.code in RULED for failure in failures)
    counters = {
        "failed": jobs.c.failed - len(failures),
        "cancelled": jobs.c.cancelled - (len(rows) - len(failures)),
        "tried": jobs.c.tried - sum(row.tried for row in rows),
        # Not below nothing: the version before this one counted none of them.
        "ruled": case((jobs.c.ruled > ruled, jobs.c.ruled - ruled), else_=0),
    }
    this_job = update(jobs).where(jobs.c.id == job_id)
    connection.execute(this_job.values(counters))
    # The share of failures counts from here, and the connectors are resolved again.
    start = {"failed_at_start": jobs.c.failed, "tried_at_start": jobs.c.tried, "ruled_at_start": jobs.c.ruled}
    connection.execute(this_job.values(start))
    running = {"state": JobState.RUNNING, "pause_reason": None, "finished_at": None, "working_since": now}
    connection.execute(this_job.where(_HAS_ENDED).values(running))
    stale = update(job_connectors).where(job_connectors.c.job_id == job_id)
    connection.execute(stale.values(resolved_at=None))
    remove_failures(connection, failures)
    return len(rows)


def forget_job(engine: Engine, job_id: str) -> None:
    """Delete all data of a job that has ended. What it installed stays in Cyclr; of what it sent only a hash of each account and
    Name is kept, so that a later file looks before it installs.

    Safe to repeat, and to be cut off. Raises: WrongState.
    """
    _require(engine, job_id, _HAS_ENDED)
    writing(engine, lambda connection: _give_up(connection, job_id, _HAS_ENDED))
    delete_load(engine, job_id)


def forget_old_jobs(engine: Engine, *, keep_d: float) -> list[str]:
    """Give up a few of the jobs that ended so many days ago; which. `delete_forgotten` deletes them, piece by piece.

    One that a person retries at this moment is not old any more.
    """
    with reading(engine) as connection:
        until = db_now(connection) - timedelta(days=keep_d)
        is_old = and_(_HAS_ENDED, jobs.c.finished_at <= until)
        oldest = select(jobs.c.id).where(is_old).order_by(jobs.c.finished_at).limit(OLD_JOBS_AT_ONCE)
        old = list(connection.execute(oldest).scalars())
    forgotten = []
    for job_id in old:
        with suppress(WrongState):
            writing(engine, partial(_give_up, job_id=job_id, condition=is_old))
            forgotten.append(job_id)
    return forgotten


def _give_up(connection: Connection, job_id: str, condition: Any) -> None:
    """From here on it is a load that came to nothing: whoever comes across one deletes the rest of it. Raises: WrongState."""
    _lock_job(connection, job_id, condition)
    abandoned = {"state": JobState.LOADING, "loader_seen_at": None}
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(abandoned))


def reseal(engine: Engine, sealer: Sealer, on_rows: Callable[[int], None]) -> tuple[int, int]:
    """Seal everything that is kept with the first key; how many rows were, and how many cannot be opened with any key.

    `on_rows`: told how many so far. Safe to repeat, to be cut off, and to run beside workers.
    """
    done = broken = 0
    after = 0
    while rows := _sealed_rows(engine, after):
        after = rows[-1].id
        fresh = []
        for row in rows:
            try:
                anew = _sealed_anew(sealer, row)
            except SealBroken:
                broken += 1
                continue
            if anew:
                fresh.append((row, anew))
        done += writing(engine, partial(_replace_sealed, fresh=fresh))
        on_rows(done)
    return done, broken


def _sealed_anew(sealer: Sealer, row: Any) -> dict[str, bytes]:
    """What of the row was not sealed with the first key, and is now. Raises: SealBroken."""
    of_row = {"job_id": row.job_id, "row_number": row.row_number}
    anew = {}
    if row.sealed is not None and not sealer.is_sealed_with_first(row.sealed):
        anew["sealed"] = sealer.seal(sealer.open(row.sealed, **of_row), **of_row)
    if row.undo is not None and not sealer.is_sealed_with_first(row.undo):
        anew["undo"] = sealer.seal_undo(sealer.open_undo(row.undo, **of_row), **of_row)
    return anew


def _sealed_rows(engine: Engine, after: int) -> list[Any]:
    kept = select(items.c.id, items.c.job_id, items.c.row_number, items.c.sealed, items.c.undo)
    is_sealed = or_(items.c.sealed.is_not(None), items.c.undo.is_not(None))
    page = kept.where(is_sealed, items.c.id > after).order_by(items.c.id).limit(PIECE)
    with reading(engine) as connection:
        return list(connection.execute(page))


def _replace_sealed(connection: Connection, fresh: Sequence[tuple[Any, dict[str, bytes]]]) -> int:
    count = 0
    for row, anew in fresh:
        # Wiped meanwhile: it stays wiped.
        is_same = (items.c[name] == getattr(row, name) for name in anew)
        same = update(items).where(items.c.id == row.id, *is_same)
        count += connection.execute(same.values(anew)).rowcount
    return count


def distrust(engine: Engine) -> int:
    """Have every unfinished item looked for before anything is sent; how many they are.

    For after a failover that may have lost commits: what the database believes unsent may have been sent. To be done
    before the workers start again: what they have in hand by then was claimed in good faith.
    """
    after, total = 0, 0
    while True:
        with reading(engine) as connection:
            page = select(items.c.id).where(items.c.id > after, IS_LIVE)
            ids = list(connection.execute(page.order_by(items.c.id).limit(PIECE)).scalars())
        if not ids:
            return total
        after = ids[-1]
        marked = update(items).where(items.c.id.in_(ids), IS_LIVE).values(must_look=True, maybe_sent=True)
        total += writing(engine, partial(_count_changed, statement=marked))


def _count_changed(connection: Connection, statement: Any) -> int:
    return connection.execute(statement).rowcount


def _require(engine: Engine, job_id: str, condition: Any) -> None:
    with reading(engine) as connection:
        _check(connection, job_id, condition)


def _lock_job(connection: Connection, job_id: str, condition: Any) -> None:
    connection.execute(select(jobs.c.id).where(jobs.c.id == job_id).with_for_update()).all()
    _check(connection, job_id, condition)


def _check(connection: Connection, job_id: str, condition: Any) -> None:
    """Raises: WrongState."""
    job = connection.execute(
        select(jobs.c.state, jobs.c.finished_at, condition.label("is_fit")).where(jobs.c.id == job_id)
    ).first()
    if job is None:
        raise WrongState(job_id, None)
    if not job.is_fit:
        is_ending = job.state == JobState.CANCELLED and job.finished_at is None
        raise WrongState(job_id, JobState(job.state), is_ending=is_ending)


def _count(connection: Connection, condition: Any) -> int:
    return connection.execute(select(func.count()).select_from(items).where(condition)).scalar_one()
