"""Sessions of browsers: a random text that the browser keeps, and its hash here. Each ends with the API key it was begun with."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, delete, insert, select

from worker.store.api_keys import ApiKey, to_key
from worker.store.session import db_now, reading, writing
from worker.store.tables import api_keys, web_sessions

LASTS = timedelta(hours=12)
# For so long after its end a session is known for one that was, so that its person is told why it is over.
KNOWN_AFTERWARDS = timedelta(days=1)
MOST_OF_A_KEY = 50
SECRET_BYTES = 32  # so many that a plain hash is enough: nobody can try them all


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
            "ends_at": now + LASTS,
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
