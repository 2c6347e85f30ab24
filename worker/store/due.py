"""What is due: the conditions, and the queries that find it at the same cost however large the jobs are."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Integer,
    Row,
    Select,
    String,
    and_,
    bindparam,
    cast,
    func,
    or_,
    select,
    true,
)

from worker.domain.options import JobOptions
from worker.domain.states import JobState
from worker.domain.steps import STEPS
from worker.store.tables import (
    DEATHS_UNTIL_ALONE,
    IS_CLAIMED_ALONE,
    IS_QUEUED,
    IS_RUNNING,
    IS_TO_BE_LOOKED_FOR,
    UtcDateTime,
    items,
    jobs,
)

# The statements are made once, with places for these: to make one anew costs more than to run it.
_NOW = bindparam("now", type_=UtcDateTime)
_INSTANCE_ID = bindparam("instance_id", type_=String)
_JOB_ID = bindparam("one_job_id", type_=String)
_JOB_IDS = bindparam("job_ids", expanding=True, type_=String)
_AT_MOST = bindparam("at_most", type_=Integer)

_IS_OF_JOB = items.c.job_id == jobs.c.id
# What a later version's jobs do to their rows is for its workers: this one would install them.
_IS_KNOWN = jobs.c.operation.in_(sorted(STEPS))
_IS_RUNNING = and_(jobs.c.state == JobState.RUNNING, _IS_KNOWN)
# After a cancel an item that may have been sent still gets its look.
_IS_CALLED_OFF = and_(jobs.c.state == JobState.CANCELLED, jobs.c.finished_at.is_(None), _IS_KNOWN)
# The order in which the indexes hold them. The latest due first: retries and looks go before fresh rows.
_LATEST_FIRST = (items.c.due_at.desc(), items.c.id)
# An item is found with what its attempt must know of its job.
_OF_JOB = (
    jobs.c.state.label("job_state"),
    jobs.c.instance_id,
    jobs.c.operation,
    # As text: as JSON it would be read for each row, and not once a job.
    cast(jobs.c.options, String).label("options"),
    jobs.c.look_first,
    jobs.c.skip_if_present,
)

# One condition for each index that finds it.
_IS_INSTALL = and_(IS_QUEUED, items.c.due_at <= _NOW, items.c.deaths < DEATHS_UNTIL_ALONE)
_IS_LOOK = and_(IS_TO_BE_LOOKED_FOR, items.c.due_at <= _NOW, items.c.deaths < DEATHS_UNTIL_ALONE)


# What an attempt must know of an item, and of its job.
_COLUMNS = (
    items.c.id,
    items.c.job_id,
    items.c.row_number,
    items.c.account_id,
    items.c.name,
    items.c.connector_id,
    items.c.authentication_id,
    items.c.description,
    items.c.account_name,
    items.c.account_description,
    items.c.account_timezone,
    items.c.account_exists,
    items.c.account_created,
    items.c.steps_done,
    items.c.sent,
    items.c.seen,
    items.c.account_connector_id,
    items.c.spec,
    items.c.changed,
    items.c.shown_otherwise,
    items.c.undo,
    items.c.must_look,
    items.c.maybe_sent,
    items.c.attempts,
    items.c.deaths,
    items.c.sealed,
)


def _latest(columns: Select[Any], is_due: Any) -> Select[Any]:
    return columns.where(_IS_OF_JOB, is_due).order_by(*_LATEST_FIRST).limit(_AT_MOST)


def _is_any(is_due: Any) -> Any:
    # Not an EXISTS: PostgreSQL might answer that for all jobs at once, by reading every queued item.
    latest = select(items.c.id).where(_IS_OF_JOB, is_due).order_by(*_LATEST_FIRST).limit(1)
    return latest.correlate(jobs).scalar_subquery().is_not(None)


def _make_shares(is_open: Any, is_due: Any) -> Select[Any]:
    latest = _latest(select(*_COLUMNS), is_due).correlate(jobs).with_for_update(skip_locked=True)
    mine = latest.lateral("items")
    of_all = select(mine, *_OF_JOB).select_from(jobs.join(mine, true()))
    return of_all.where(jobs.c.id.in_(_JOB_IDS), is_open)


def _make_share_of_one(is_open: Any, is_due: Any) -> Select[Any]:
    return _latest(select(*_COLUMNS, *_OF_JOB), is_due).where(is_open, jobs.c.id == _JOB_ID)


def _make_count(is_open: Any, is_due: Any, *, is_job_by_job: bool) -> Select[Any]:
    is_mine = and_(jobs.c.instance_id == _INSTANCE_ID, is_open)
    if is_job_by_job:
        latest = _latest(select(items.c.id), is_due).correlate(jobs).lateral("items")
        due = select(latest.c.id).select_from(jobs.join(latest, true())).where(is_mine)
    else:
        due = select(items.c.id).join(jobs, _IS_OF_JOB).where(is_mine, is_due)
    return select(func.count()).select_from(due.limit(_AT_MOST).subquery())


_KINDS = ((_IS_RUNNING, _IS_INSTALL), (_IS_CALLED_OFF, _IS_LOOK))
_OPEN_JOBS = (
    select(jobs.c.id, _IS_CALLED_OFF.label("is_called_off"))
    .where(
        jobs.c.instance_id == _INSTANCE_ID,
        jobs.c.state.in_([JobState.RUNNING, JobState.CANCELLED]),
        or_(and_(_IS_RUNNING, _is_any(_IS_INSTALL)), and_(_IS_CALLED_OFF, _is_any(_IS_LOOK))),
    )
    .order_by(func.random())
)
# Not a join: both databases would go through all due items of each job, where those asked for are few.
_JOB_OF_ONE_ALONE = select(jobs.c.id).where(
    _IS_OF_JOB,
    jobs.c.instance_id == _INSTANCE_ID,
    or_(_IS_RUNNING, and_(_IS_CALLED_OFF, items.c.must_look)),
)
_ALONE = (
    select(items.c.id)
    .where(
        IS_CLAIMED_ALONE,
        items.c.due_at <= _NOW,
        _JOB_OF_ONE_ALONE.limit(1).correlate(items).scalar_subquery().is_not(None),
    )
    .order_by(*_LATEST_FIRST)
    .limit(1)
)
_LOCK_ALONE = _ALONE.with_for_update(skip_locked=True)
_WHOLE = select(*_COLUMNS, *_OF_JOB).join(jobs, _IS_OF_JOB).where(items.c.id == bindparam("item_id"))
_LOCK_SHARES = [_make_shares(*kind) for kind in _KINDS]
# SQLite has no LATERAL and no locks of rows: its transaction is the only one that writes.
_SHARES_OF_ONE = [_make_share_of_one(*kind) for kind in _KINDS]
# Job by job on PostgreSQL: of all at once it may read the table from its start.
_COUNTS_JOB_BY_JOB = [_make_count(*kind, is_job_by_job=True) for kind in _KINDS]
_COUNTS = [_make_count(*kind, is_job_by_job=False) for kind in _KINDS]


def read_options(row: Row[Any], kept: Any) -> JobOptions:
    """`kept`: what the job has as its options. One of the version before has none, but two columns of `row` that said the same."""
    if kept is not None:
        return JobOptions.from_json(kept)
    return JobOptions.older(skip_invalid=False, look_first=row.look_first, skips=row.skip_if_present)


def list_open_jobs(connection: Connection, instance_id: str, now: datetime) -> list[Row[Any]]:
    """The ids of this instance's jobs with due items, in an order of chance. `is_called_off`: that one was cancelled, and only
    its looks are due."""
    return list(connection.execute(_OPEN_JOBS, {"instance_id": instance_id, "now": now}))


def lock_alone(connection: Connection, instance_id: str, now: datetime) -> list[Row[Any]]:
    """The latest due item whose workers died twice while they held it, locked; none where there is none."""
    item_id = connection.execute(_LOCK_ALONE, {"instance_id": instance_id, "now": now}).scalar()
    return [] if item_id is None else list(connection.execute(_WHOLE, {"item_id": item_id}))


def list_held(connection: Connection, claim_id: str) -> set[int]:
    """The items that are held under this claim already; found among those in hand, which are few."""
    held = select(items.c.id).where(IS_RUNNING, items.c.claim_id == claim_id)
    return set(connection.execute(held).scalars())


def lock_shares(
    connection: Connection, open_jobs: Sequence[Row[Any]], share: int, now: datetime
) -> list[Row[Any]]:
    """Up to `share` due items of each of these jobs, locked; those that another session has locked are left to it."""
    installs = [job.id for job in open_jobs if not job.is_called_off]
    looks = [job.id for job in open_jobs if job.is_called_off]
    is_postgres = connection.dialect.name == "postgresql"
    locked: list[Row[Any]] = []
    for job_ids, in_one, of_one in zip((installs, looks), _LOCK_SHARES, _SHARES_OF_ONE, strict=True):
        given = {"now": now, "at_most": share}
        if is_postgres and job_ids:
            locked += connection.execute(in_one, {**given, "job_ids": job_ids})
        elif job_ids:
            for job_id in job_ids:
                locked += connection.execute(of_one, {**given, "one_job_id": job_id})
    return locked


def count(connection: Connection, instance_id: str, now: datetime, *, limit: int, is_idle: bool) -> int:
    """How many items a claim would take, counted up to `limit`. `is_idle`: for a process that holds nothing, which is
    given an item that is claimed alone before any other, and only that one.
    """
    given = {"instance_id": instance_id, "now": now}
    if is_idle and connection.execute(_ALONE, given).first():
        return 1  # slots reserved for more would keep its further calls waiting
    counted = 0
    for statement in _COUNTS_JOB_BY_JOB if connection.dialect.name == "postgresql" else _COUNTS:
        if counted < limit:
            counted += connection.execute(statement, {**given, "at_most": limit - counted}).scalar_one()
    return counted
