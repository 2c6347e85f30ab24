"""What was handed in over HTTP and is no job yet: uploads that wait, in a deployment with their sealed pieces, and requests known by
the Idempotency-Key that their client gave them, for 24 hours and for one API key.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from worker.store.loading import storable
from worker.store.session import db_now, reading, writing
from worker.store.tables import idempotency_keys as requests
from worker.store.tables import upload_pieces, uploads

WAITS = timedelta(hours=1)
ID_BYTES = 18
KEPT = timedelta(hours=24)
BUSY = timedelta(minutes=2)  # unless prolonged: a process that died holds nobody up for longer
LONGEST_KEY = 200


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was handed in. `is_whole`: all of it has come."""

    id: str
    api_key_id: str
    source_name: str
    size_bytes: int
    pieces: int
    is_whole: bool
    created_at: datetime
    expires_at: datetime


def begin_upload(engine: Engine, *, api_key_id: str, source_name: str) -> Upload:
    """A new one without content, to be gone after an hour."""
    upload_id = secrets.token_urlsafe(ID_BYTES)

    def work(connection: Connection) -> Upload:
        if _find(connection, upload_id) is None:
            now = db_now(connection)
            values = {
                "id": upload_id,
                "api_key_id": api_key_id,
                "source_name": storable(source_name),
                "created_at": now,
                "expires_at": now + WAITS,
            }
            connection.execute(insert(uploads).values(values))
        made = _find(connection, upload_id)
        assert made is not None
        return _to_upload(made)

    return writing(engine, work)


def complete_upload(engine: Engine, upload_id: str, *, size_bytes: int, pieces: int) -> Upload | None:
    """All of it has come. None where it is gone."""

    def work(connection: Connection) -> Upload | None:
        values = {"size_bytes": size_bytes, "pieces": pieces, "is_whole": True}
        connection.execute(update(uploads).where(uploads.c.id == upload_id).values(values))
        row = _find(connection, upload_id)
        return None if row is None else _to_upload(row)

    return writing(engine, work)


def find_upload(engine: Engine, upload_id: str, *, api_key_id: str) -> Upload | None:
    """The whole upload that this API key handed in; None where it is gone, not whole yet or another's."""
    with reading(engine) as connection:
        row = _find(connection, upload_id)
        now = db_now(connection)
    if row is None or not row.is_whole or row.api_key_id != api_key_id or now >= row.expires_at:
        return None
    return _to_upload(row)


def list_uploads(engine: Engine, *, api_key_id: str) -> list[Upload]:
    """The whole uploads that this API key handed in and that are still kept, the newest first."""
    with reading(engine) as connection:
        now = db_now(connection)
        mine = select(uploads).where(
            uploads.c.api_key_id == api_key_id, uploads.c.is_whole, uploads.c.expires_at > now
        )
        return [_to_upload(row) for row in connection.execute(mine.order_by(uploads.c.created_at.desc()))]


def prolong_upload(engine: Engine, upload_id: str) -> bool:
    """An hour more from now; whether it is still there."""

    def work(connection: Connection) -> bool:
        mine = update(uploads).where(uploads.c.id == upload_id)
        return bool(connection.execute(mine.values(expires_at=db_now(connection) + WAITS)).rowcount)

    return writing(engine, work)


def delete_upload(engine: Engine, upload_id: str) -> None:
    """With its pieces. A second call is safe."""
    writing(engine, lambda connection: connection.execute(delete(uploads).where(uploads.c.id == upload_id)))


def delete_expired_uploads(engine: Engine) -> int:
    """How many they were."""
    with reading(engine) as connection:
        expired = uploads.c.expires_at <= db_now(connection)
        if connection.execute(select(uploads.c.id).where(expired).limit(1)).first() is None:
            return 0
    return writing(engine, lambda connection: connection.execute(delete(uploads).where(expired)).rowcount)


def list_upload_ids(engine: Engine) -> set[str]:
    with reading(engine) as connection:
        return set(connection.execute(select(uploads.c.id)).scalars())


def add_piece(engine: Engine, upload_id: str, number: int, sealed: bytes) -> None:
    """Safe to repeat."""

    def work(connection: Connection) -> None:
        this = (upload_pieces.c.upload_id == upload_id, upload_pieces.c.number == number)
        connection.execute(delete(upload_pieces).where(*this))
        connection.execute(insert(upload_pieces).values(upload_id=upload_id, number=number, sealed=sealed))

    writing(engine, work)


def iter_pieces(engine: Engine, upload_id: str) -> Iterator[bytes]:
    """In their order, one in memory at a time."""
    number = 0
    while True:
        this = (upload_pieces.c.upload_id == upload_id, upload_pieces.c.number == number)
        with reading(engine) as connection:
            sealed: bytes | None = connection.execute(select(upload_pieces.c.sealed).where(*this)).scalar()
        if sealed is None:
            return
        yield sealed
        number += 1


def _find(connection: Connection, upload_id: str) -> Row[Any] | None:
    return connection.execute(select(uploads).where(uploads.c.id == upload_id)).first()


def _to_upload(row: Row[Any]) -> Upload:
    return Upload(
        row.id,
        row.api_key_id,
        row.source_name,
        row.size_bytes,
        row.pieces,
        row.is_whole,
        row.created_at,
        row.expires_at,
    )


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
