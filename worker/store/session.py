"""Engines and transactions for both databases."""

import sqlite3
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

__all__ = ["Engine", "db_now", "glancing", "normalise_url", "open_engine", "reading", "writing"]

T = TypeVar("T")
BUSY_TIMEOUT_MS = 15_000
TRIES = 8
WAL_TRIES = 100  # every 0.05 s
# SQLite's BUSY, LOCKED and PROTOCOL: another process was in the way. Its other errors stay as they are.
PASSING_SQLITE_ERRORS = frozenset({5, 6, 15})
STATEMENT_TIMED_OUT = "57014"
LOCK_TIMED_OUT = "55P03"

# A process has three threads for the database, and one connection that may wait for its turn to load.
POOL_SIZE = 4
POOL_OVERFLOW = 2
POSTGRES_SETTINGS = {
    # A process that is frozen in the middle of a settle would hold up all others of its job.
    "idle_in_transaction_session_timeout": "10s",
    # Longer than that, so that those who wait outlast it.
    "lock_timeout": "15s",
    # No statement of ours takes a second: one that takes so long waits for what will not come.
    "statement_timeout": "60s",
    # A plan made once for all values would outlive what it was made for: a queue is empty now and full later.
    "plan_cache_mode": "force_custom_plan",
}
POSTGRES_CONNECTION = {
    "application_name": "cyclr-bulk",
    "connect_timeout": 5,
    # A server that vanished without a word is noticed within 15-20 s; the system's default is hours.
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "options": " ".join(f"-c {name}={value}" for name, value in POSTGRES_SETTINGS.items()),
}


def normalise_url(url: str) -> str:
    """Both spellings of PostgreSQL's scheme mean psycopg 3 here, whatever SQLAlchemy's version makes of them."""
    for spelling in ("postgres://", "postgresql://"):
        if url.startswith(spelling):
            return "postgresql+psycopg://" + url.removeprefix(spelling)
    return url


def open_engine(url: str) -> Engine:
    """An engine for `url`. SQLite: WAL, synchronous=FULL, and every transaction that writes begins IMMEDIATE.

    PostgreSQL: a small pool for each process, and limits on how long anything may wait; what the URL says goes first.
    """
    parsed = make_url(normalise_url(url))
    # hide_parameters: what was to be stored stands in no error text.
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, hide_parameters=True)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(
        parsed,
        connect_args=_unless_given(POSTGRES_CONNECTION, parsed),
        pool_pre_ping=True,
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        hide_parameters=True,
    )


def _unless_given(arguments: dict[str, Any], url: URL) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name not in url.query}


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; `_begin_sqlite` does
    _keep_private(connection)
    _use_wal(connection)
    # Its own knows the letters of English only, so that SÜD would not find Süd.
    connection.create_function("lower", 1, _lowered, deterministic=True)
    # FULL: with NORMAL a power cut can lose a claim whose call was sent.
    for pragma in ("synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _lowered(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # A name that macOS gave has its dots and accents as letters of their own.
    return value.lower() if value.isascii() else unicodedata.normalize("NFC", value).lower()


def _keep_private(connection: sqlite3.Connection) -> None:
    # Before the first write: SQLite gives its other files the mode of the database. By its name: to open and close
    # the file a second time would lose the locks that this process has on it.
    [(_, _, path)] = connection.execute("PRAGMA database_list").fetchall()
    if path and Path(path).stat().st_mode & 0o077:
        Path(path).chmod(0o600)


def _use_wal(connection: sqlite3.Connection) -> None:
    # Two processes that make a new database at once: for this one change SQLite does not wait by itself.
    for left in reversed(range(WAL_TRIES)):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not left or error.sqlite_errorcode & 0xFF not in PASSING_SQLITE_ERRORS:
                raise
            time.sleep(0.05)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A read that turns into a write inside a plain BEGIN fails at once when another process writes.
    mode = "DEFERRED" if connection.get_execution_options().get("reads_only") else "IMMEDIATE"
    connection.exec_driver_sql(f"BEGIN {mode}")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads."""
    with engine.connect().execution_options(reads_only=True) as connection, connection.begin():
        yield connection


@contextmanager
def glancing(engine: Engine) -> Iterator[Connection]:
    """For one question whose answer must be fresh: on PostgreSQL without a transaction, whose beginning and end are
    questions of their own.
    """
    if engine.dialect.name == "sqlite":
        with reading(engine) as connection:
            yield connection
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


def db_now(connection: Connection) -> datetime:
    """The database's clock: claims of many machines are compared on one clock only."""
    if connection.dialect.name == "postgresql":
        now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return now.astimezone(UTC)
    return datetime.now(UTC)


def writing(engine: Engine, work: Callable[[Connection], T]) -> T:
    """What `work` returns, in one transaction; the whole of it is tried again after a deadlock or a lost connection.

    `work` must therefore be safe to repeat: guarded updates are. Raises: OperationalError after the last try.
    """
    for left in reversed(range(TRIES)):
        try:
            with engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            if not left or not _may_pass(error):
                raise
            time.sleep(0.05 * 2 ** (TRIES - left - 1))
    raise AssertionError("unreachable")


def _may_pass(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    if not isinstance(error, OperationalError):
        return False
    if getattr(error.orig, "sqlstate", None) == STATEMENT_TIMED_OUT:
        return False  # it would take as long again
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is None or code & 0xFF in PASSING_SQLITE_ERRORS
