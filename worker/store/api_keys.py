"""Who may come in: API keys, and the sessions of browsers that begin with one and end with it.

An API key is shown once and stored as a hash. Keys are revoked, never deleted: a job names the one that handed it in. A session is a
random text that the browser keeps, and its hash here.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, insert, select, update

from worker.store.session import db_now, reading, writing
from worker.store.tables import api_keys, web_sessions

PREFIX = "cbk"
LONGEST_NAME = 100
ID_BYTES = 5
SECRET_BYTES = 32  # so many that a plain hash is enough: nobody can try them all
SESSION_LASTS = timedelta(hours=12)
# For so long after its end a session is known for one that was, so that its person is told why it is over.
KNOWN_AFTERWARDS = timedelta(days=1)
MOST_OF_A_KEY = 50


class Scope(StrEnum):
    """`read`: see jobs and their results. `write`: hand in and steer jobs as well."""

    READ = "read"
    WRITE = "write"

    @property
    def can_write(self) -> bool:
        return self is Scope.WRITE


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What may be known of a key. `expires_at` None: never."""

    id: str
    name: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_valid(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def create_key(engine: Engine, *, name: str, scope: Scope, lasts: timedelta | None) -> tuple[ApiKey, str]:
    """The new key, and its text: nobody can show it a second time. `lasts` None: it does not expire."""
    key_id = base64.b32encode(secrets.token_bytes(ID_BYTES)).decode().lower()
    secret = secrets.token_urlsafe(SECRET_BYTES)

    def work(connection: Connection) -> ApiKey:
        made = _find(connection, key_id)
        if made is None:
            now = db_now(connection)
            values = {
                "id": key_id,
                "name": name,
                "scope": scope,
                "hash": hash_of(secret),
                "created_at": now,
                "expires_at": None if lasts is None else now + lasts,
            }
            connection.execute(insert(api_keys).values(values))
            made = _find(connection, key_id)
        assert made is not None
        return to_key(made)

    return writing(engine, work), f"{PREFIX}_{key_id}_{secret}"


def find_key_of_text(engine: Engine, text: str) -> ApiKey | None:
    """The valid key with this text; None where there is none, or where it has expired or was revoked."""
    prefix, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    with reading(engine) as connection:
        row = (
            _find(connection, key_id)
            if prefix == PREFIX and key_id.isascii() and "\0" not in key_id
            else None
        )
        now = db_now(connection)
    # The hash is made in any case, so that an unknown id takes as long as a known one.
    is_right = hmac.compare_digest(hash_of(secret), "" if row is None else row.hash)
    return to_key(row) if row is not None and is_right and to_key(row).is_valid(now) else None


def find_key(engine: Engine, key_id: str) -> ApiKey | None:
    """The valid key with this id; None where there is none, or where it has expired or was revoked."""
    with reading(engine) as connection:
        row = _find(connection, key_id)
        now = db_now(connection)
    return to_key(row) if row is not None and to_key(row).is_valid(now) else None


def find_any_key(engine: Engine, key_id: str) -> ApiKey | None:
    """The key with this id, also where it has expired or was revoked; None where there never was one."""
    with reading(engine) as connection:
        row = _find(connection, key_id)
    return None if row is None else to_key(row)


def list_keys(engine: Engine) -> list[ApiKey]:
    """All there ever were, the newest first."""
    with reading(engine) as connection:
        rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at.desc(), api_keys.c.id))
        return [to_key(row) for row in rows]


def revoke_key(engine: Engine, key_id: str) -> bool:
    """From now on it opens nothing; whether there was such a key. A second call is safe, and keeps the first time."""

    def work(connection: Connection) -> bool:
        valid = update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        connection.execute(valid.values(revoked_at=db_now(connection)))
        return _find(connection, key_id) is not None

    return writing(engine, work)


def _find(connection: Connection, key_id: str) -> Row[Any] | None:
    return connection.execute(select(api_keys).where(api_keys.c.id == key_id)).first()


def to_key(row: Row[Any]) -> ApiKey:
    """`row`: with the columns of `api_keys`, beside others perhaps."""
    return ApiKey(row.id, row.name, Scope(row.scope), row.created_at, row.expires_at, row.revoked_at)


@dataclass(frozen=True, slots=True)
class WebSession:
    """`hash`: of its text. `key`: the API key that it was begun with, valid or not. `looked_at`: by the database's clock."""

    hash: str
    key: ApiKey
    ends_at: datetime
    looked_at: datetime

    @property
    def is_valid(self) -> bool:
        return self.looked_at < self.ends_at and self.key.is_valid(self.looked_at)


def begin_session(engine: Engine, api_key_id: str, *, instead_of: str = "") -> str:
    """The text of a new session, which ends after 12 hours. `instead_of`: the text of one that is over from now on.

    A key has 50 at most: the oldest of them ends where one more begins.
    """
    text = secrets.token_urlsafe(SECRET_BYTES)
    mine = web_sessions.c.api_key_id == api_key_id

    def work(connection: Connection) -> None:
        # Its own too: a commit whose answer was lost is repeated.
        gone = [hash_of(text), hash_of(instead_of)]
        connection.execute(delete(web_sessions).where(web_sessions.c.hash.in_(gone)))
        newest_first = select(web_sessions.c.hash).where(mine).order_by(web_sessions.c.begun_at.desc())
        too_many = newest_first.offset(MOST_OF_A_KEY - 1).limit(MOST_OF_A_KEY)
        oldest = list(connection.execute(too_many).scalars())
        connection.execute(delete(web_sessions).where(web_sessions.c.hash.in_(oldest)))
        now = db_now(connection)
        values = {
            "hash": hash_of(text),
            "api_key_id": api_key_id,
            "begun_at": now,
            "ends_at": now + SESSION_LASTS,
        }
        connection.execute(insert(web_sessions).values(values))

    writing(engine, work)
    return text


def find_session(engine: Engine, session_hash: str) -> WebSession | None:
    """The session with this hash, valid or not; None: there never was one, or its person has signed out."""
    mine = (
        select(api_keys, web_sessions.c.ends_at)
        .join(web_sessions, web_sessions.c.api_key_id == api_keys.c.id)
        .where(web_sessions.c.hash == session_hash)
    )
    with reading(engine) as connection:
        row = connection.execute(mine).first()
        now = db_now(connection)
    return None if row is None else WebSession(session_hash, to_key(row), row.ends_at, now)


def end_session(engine: Engine, text: str) -> None:
    """From now on nothing is opened by it, in any process. A second call is safe."""
    mine = delete(web_sessions).where(web_sessions.c.hash == hash_of(text))
    writing(engine, lambda connection: connection.execute(mine))


def delete_old_sessions(engine: Engine) -> int:
    """Those whose end is a day ago; how many they were."""
    with reading(engine) as connection:
        is_old = web_sessions.c.ends_at <= db_now(connection) - KNOWN_AFTERWARDS
        if connection.execute(select(web_sessions.c.hash).where(is_old).limit(1)).first() is None:
            return 0
    return writing(engine, lambda connection: connection.execute(delete(web_sessions).where(is_old)).rowcount)


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
