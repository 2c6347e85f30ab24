"""Lists for people and programs: the jobs of a database, and the items of one job."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Engine, Row, Select, select

from worker.domain.states import JobState
from worker.store.jobs import JobStatus, list_unfinished_jobs, to_status
from worker.store.session import reading
from worker.store.tables import instances, items, jobs

PAGE = 1_000
_ENDED = (JobState.COMPLETED, JobState.CANCELLED)
# What an item is and how it stands; nothing that is sealed, and none of the file's cells.
_SHOWN = (
    items.c.row_number,
    items.c.account_id,
    items.c.name,
    items.c.state,
    items.c.outcome,
    items.c.code,
    items.c.message,
    items.c.http_status,
    items.c.can_retry_help,
    items.c.attempts,
    items.c.due_at,
    items.c.must_look,
    items.c.account_connector_id,
    items.c.is_authenticated,
    items.c.differs,
    items.c.account_created,
    items.c.settled_at,
)


def list_jobs(engine: Engine, *, ended: int) -> list[JobStatus]:
    """All unfinished jobs, then the last so many of those that have ended; the newest first in both."""
    last = select(jobs).where(jobs.c.state.in_(_ENDED)).order_by(jobs.c.created_at.desc()).limit(ended)
    unfinished = list_unfinished_jobs(engine)
    with reading(engine) as connection:
        return [*unfinished, *map(to_status, connection.execute(last))]


def find_job(engine: Engine, job_id: str) -> JobStatus | None:
    with reading(engine) as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
    return to_status(row) if row else None


def list_api_hosts(engine: Engine) -> dict[str, str]:
    """Instance id -> the host of its API."""
    with reading(engine) as connection:
        return {row.id: row.api_host for row in connection.execute(select(instances))}


def iter_items(
    engine: Engine,
    job_id: str,
    *,
    state: str | None = None,
    codes: Sequence[str] = (),
    account_id: str | None = None,
) -> Iterator[Row[Any]]:
    """The job's items in the order of the file, page by page: memory does not grow with the job."""
    wanted: Select[Any] = select(*_SHOWN).where(items.c.job_id == job_id)
    if state is not None:
        wanted = wanted.where(items.c.state == state)
    if codes:
        wanted = wanted.where(items.c.code.in_(codes))
    if account_id is not None:
        wanted = wanted.where(items.c.account_id == account_id)
    after = 0
    while True:
        page = wanted.where(items.c.row_number > after).order_by(items.c.row_number).limit(PAGE)
        with reading(engine) as connection:
            rows: Sequence[Row[Any]] = connection.execute(page).all()
        yield from rows
        if len(rows) < PAGE:
            return
        after = rows[-1].row_number
