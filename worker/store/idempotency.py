"""Requests known by the Idempotency-Key that their client gave them, for 24 hours and for one API key."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from worker.store.session import db_now, reading, writing
from worker.store.tables import idempotency_keys as requests

KEPT = timedelta(hours=24)
BUSY = timedelta(minutes=2)  # unless prolonged: a process that died holds nobody up for longer
LONGEST_KEY = 200


@dataclass(frozen=True, slots=True)
class Request:
    """`key`: as the client gave it. `hash`: of all that the request asks for."""

    api_key_id: str
    key: str
    hash: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a request: `new` (and now begun), `busy`, `done` with its job, or `other`: another with this key."""

    state: Literal["new", "busy", "done", "other"]
    job_id: str | None = None


def begin_request(engine: Engine, request: Request) -> Known:
    """Begin it unless it was begun. Of several that begin at once, one is `new`."""

    def work(connection: Connection) -> Known:
        now = db_now(connection)
        row = _lock(connection, request)
        if row is not None and row.created_at <= now - KEPT:
            connection.execute(delete(requests).where(_this(request)))
            row = None
        if row is None:
            values = {
                "api_key_id": request.api_key_id,
                "key": request.key,
                "request_hash": request.hash,
                "busy_until": now + BUSY,
                "created_at": now,
            }
            connection.execute(insert(requests).values(values))
            return Known("new")
        if row.request_hash != request.hash:
            return Known("other")
        if row.job_id is not None:
            return Known("done", row.job_id)
        if row.busy_until is not None and now < row.busy_until:
            return Known("busy")
        connection.execute(update(requests).where(_this(request)).values(busy_until=now + BUSY))
        return Known("new")

    try:
        return writing(engine, work)
    except IntegrityError:  # another of the same key was first, in this moment
        return writing(engine, work)


def prolong_request(engine: Engine, request: Request) -> None:
    """It is still being worked on."""

    def work(connection: Connection) -> None:
        mine = update(requests).where(_this(request), requests.c.job_id.is_(None))
        connection.execute(mine.values(busy_until=db_now(connection) + BUSY))

    writing(engine, work)


def complete_request(engine: Engine, request: Request, job_id: str) -> None:
    """From now on it is answered with this job."""
    mine = update(requests).where(_this(request)).values(job_id=job_id, busy_until=None)
    writing(engine, lambda connection: connection.execute(mine))


def give_up_request(engine: Engine, request: Request) -> None:
    """It came to nothing, so it may be made again."""
    unfinished = delete(requests).where(_this(request), requests.c.job_id.is_(None))
    writing(engine, lambda connection: connection.execute(unfinished))


def delete_old_requests(engine: Engine) -> None:
    with reading(engine) as connection:
        old = requests.c.created_at <= db_now(connection) - KEPT
        if connection.execute(select(requests.c.key).where(old).limit(1)).first() is None:
            return
    writing(engine, lambda connection: connection.execute(delete(requests).where(old)))


def _lock(connection: Connection, request: Request) -> Row[Any] | None:
    return connection.execute(select(requests).where(_this(request)).with_for_update()).first()


def _this(request: Request) -> Any:
    return and_(requests.c.api_key_id == request.api_key_id, requests.c.key == request.key)
