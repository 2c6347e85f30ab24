"""What is due: the conditions, and the queries that find it at the same cost however large the jobs are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, or_, select, true

from worker.domain.states import JobState
from worker.store.tables import (
    DEATHS_UNTIL_ALONE,
    IS_CLAIMED_ALONE,
    IS_QUEUED,
    IS_TO_BE_LOOKED_FOR,
    items,
    jobs,
)

_IS_OF_JOB = items.c.job_id == jobs.c.id
_IS_RUNNING = jobs.c.state == JobState.RUNNING
# After a cancel an item that may have been sent still gets its look.
_IS_CALLED_OFF = and_(jobs.c.state == JobState.CANCELLED, jobs.c.finished_at.is_(None))
# The order in which the indexes hold them. The latest due first: retries and looks go before fresh rows.
_LATEST_FIRST = (items.c.due_at.desc(), items.c.id)
# An item is found with what its attempt must know of its job.
_OF_JOB = (
    jobs.c.state.label("job_state"),
    jobs.c.instance_id,
    jobs.c.look_first,
    jobs.c.skip_if_present,
)


# One condition for each index that finds it.
def _is_install(now: datetime) -> Any:
    return and_(IS_QUEUED, items.c.due_at <= now, items.c.deaths < DEATHS_UNTIL_ALONE)


def _is_look(now: datetime) -> Any:
    return and_(IS_TO_BE_LOOKED_FOR, items.c.due_at <= now, items.c.deaths < DEATHS_UNTIL_ALONE)


def _is_alone(now: datetime, instance_id: str) -> Any:
    is_open = or_(_IS_RUNNING, and_(_IS_CALLED_OFF, items.c.must_look))
    # Not a join: both databases would go through all due items of each job, where those asked for are few.
    its_job = select(jobs.c.id).where(_IS_OF_JOB, jobs.c.instance_id == instance_id, is_open).limit(1)
    return and_(
        IS_CLAIMED_ALONE, items.c.due_at <= now, its_job.correlate(items).scalar_subquery().is_not(None)
    )


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job with due items. `is_called_off`: it was cancelled, and only its looks are due."""

    id: str
    is_called_off: bool


def list_open_jobs(connection: Connection, instance_id: str, now: datetime) -> list[OpenJob]:
    """The jobs of this instance with due items, in an order of chance."""
    has_due_items = or_(
        and_(_IS_RUNNING, _is_any(_is_install(now))), and_(_IS_CALLED_OFF, _is_any(_is_look(now)))
    )
    open_jobs = (
        select(jobs.c.id, _IS_CALLED_OFF.label("is_called_off"))
        .where(
            jobs.c.instance_id == instance_id,
            jobs.c.state.in_([JobState.RUNNING, JobState.CANCELLED]),
            has_due_items,
        )
        .order_by(func.random())
    )
    return [OpenJob(row.id, row.is_called_off) for row in connection.execute(open_jobs)]


def _is_any(is_due: Any) -> Any:
    # Not an EXISTS: PostgreSQL might answer that for all jobs at once, by reading every queued item.
    return _latest(select(items.c.id), is_due, 1).correlate(jobs).scalar_subquery().is_not(None)


def _latest(columns: Select[Any], is_due: Any, limit: int) -> Select[Any]:
    return columns.where(_IS_OF_JOB, is_due).order_by(*_LATEST_FIRST).limit(limit)


def lock_alone(connection: Connection, instance_id: str, now: datetime) -> list[Row[Any]]:
    """The latest due item whose workers died twice while they held it, locked; none where there is none."""
    found = select(items.c.id).where(_is_alone(now, instance_id)).order_by(*_LATEST_FIRST).limit(1)
    item_id = connection.execute(found.with_for_update(skip_locked=True)).scalar()
    if item_id is None:
        return []
    whole = select(items, *_OF_JOB).join(jobs, _IS_OF_JOB).where(items.c.id == item_id)
    return list(connection.execute(whole))


def lock_shares(
    connection: Connection, open_jobs: Sequence[OpenJob], share: int, now: datetime
) -> list[Row[Any]]:
    """Up to `share` due items of each of these jobs, locked; those that another session has locked are left to it."""
    installs = [job.id for job in open_jobs if not job.is_called_off]
    looks = [job.id for job in open_jobs if job.is_called_off]
    is_postgres = connection.dialect.name == "postgresql"
    lock = _lock_in_one_statement if is_postgres else _find_job_by_job
    return lock(connection, installs, _IS_RUNNING, _is_install(now), share) + lock(
        connection, looks, _IS_CALLED_OFF, _is_look(now), share
    )


def _lock_in_one_statement(
    connection: Connection, job_ids: Sequence[str], is_open: Any, is_due: Any, share: int
) -> list[Row[Any]]:
    if not job_ids:
        return []
    latest = _latest(select(items), is_due, share).correlate(jobs).with_for_update(skip_locked=True)
    mine = latest.lateral("items")
    of_all = select(mine, *_OF_JOB).select_from(jobs.join(mine, true()))
    return list(connection.execute(of_all.where(jobs.c.id.in_(job_ids), is_open)))


def _find_job_by_job(
    connection: Connection, job_ids: Sequence[str], is_open: Any, is_due: Any, share: int
) -> list[Row[Any]]:
    # SQLite has no LATERAL and no locks of rows: its transaction is the only one that writes.
    latest = _latest(select(items, *_OF_JOB), is_due, share).where(is_open)
    return [row for job_id in job_ids for row in connection.execute(latest.where(jobs.c.id == job_id))]


def count(connection: Connection, instance_id: str, now: datetime, *, limit: int, is_idle: bool) -> int:
    """How many items a claim would take, counted up to `limit`. `is_idle`: for a process that holds nothing, which is
    given an item that is claimed alone before any other, and only that one.
    """
    if is_idle and _count(connection, select(items.c.id).where(_is_alone(now, instance_id)).limit(1)):
        return 1  # slots reserved for more would keep its further calls waiting
    counted = 0
    kinds = [(_IS_RUNNING, _is_install(now)), (_IS_CALLED_OFF, _is_look(now))]
    for is_open, is_due in kinds:
        if counted < limit:
            counted += _count_of_jobs(
                connection, and_(jobs.c.instance_id == instance_id, is_open), is_due, limit - counted
            )
    return counted


def _count_of_jobs(connection: Connection, is_mine: Any, is_due: Any, limit: int) -> int:
    if connection.dialect.name == "postgresql":
        # Job by job: of all at once PostgreSQL may read the table from its start.
        latest = _latest(select(items.c.id), is_due, limit).correlate(jobs).lateral("items")
        due = select(latest.c.id).select_from(jobs.join(latest, true())).where(is_mine)
    else:
        due = select(items.c.id).join(jobs, _IS_OF_JOB).where(is_mine, is_due)
    return _count(connection, due.limit(limit))


def _count(connection: Connection, due: Select[Any]) -> int:
    counted: int = connection.execute(select(func.count()).select_from(due.subquery())).scalar_one()
    return counted
