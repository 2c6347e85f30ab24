"""Engines and transactions for both databases."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

__all__ = ["Engine", "db_now", "normalise_url", "open_engine", "reading", "upgrade", "writing"]

T = TypeVar("T")
BUSY_TIMEOUT_MS = 15_000
TRIES = 8
# SQLite's BUSY, LOCKED and PROTOCOL: another process was in the way. Its other errors stay as they are.
PASSING_SQLITE_ERRORS = frozenset({5, 6, 15})


def normalise_url(url: str) -> str:
    """Both spellings of PostgreSQL's scheme mean psycopg 3 here, whatever SQLAlchemy's version makes of them."""
    for spelling in ("postgres://", "postgresql://"):
        if url.startswith(spelling):
            return "postgresql+psycopg://" + url.removeprefix(spelling)
    return url


def open_engine(url: str) -> Engine:
    """An engine for `url`. SQLite: WAL, synchronous=FULL, and every transaction that writes begins IMMEDIATE."""
    parsed = make_url(normalise_url(url))
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True, pool_size=5, max_overflow=5, hide_parameters=True)
    # hide_parameters: what was to be stored stands in no error text.
    engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, hide_parameters=True)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; `_begin_sqlite` does
    # FULL: with NORMAL a power cut can lose a claim whose call was sent.
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A read that turns into a write inside a plain BEGIN fails at once when another process writes.
    mode = "DEFERRED" if connection.get_execution_options().get("reads_only") else "IMMEDIATE"
    connection.exec_driver_sql(f"BEGIN {mode}")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads."""
    with engine.connect().execution_options(reads_only=True) as connection, connection.begin():
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
    code = getattr(error.orig, "sqlite_errorcode", None)
    return isinstance(error, OperationalError) and (code is None or code & 0xFF in PASSING_SQLITE_ERRORS)


def migrations_folder() -> Path:
    """Inside the wheel the migrations lie in the package, in a checkout beside it."""
    packaged = Path(__file__).parent.parent / "migrations"
    return packaged if packaged.is_dir() else packaged.parent.parent / "migrations"


def alembic_config(engine: Engine, migrations: Path | None = None) -> Config:
    config = Config()
    folder = str(migrations or migrations_folder())
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["engine"] = engine
    return config


def upgrade(engine: Engine, *, migrations: Path | None = None) -> None:
    """Bring the schema up to date; nothing happens when it is. `migrations`: another folder than the product's.

    On SQLite the whole of it is one transaction: it happens, or it does not. Raises: NewerSchema.
    """
    config = alembic_config(engine, migrations)
    script = ScriptDirectory.from_config(config)
    with reading(engine) as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current == script.get_current_head():
        return
    if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
        raise NewerSchema(current)
    command.upgrade(config, "head")


class NewerSchema(Exception):
    """The database was made by a newer version."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"the database is of a newer version of cyclr-bulk (schema {revision}); install that version, or use another home"
        )
