"""Engines and transactions for both databases, and many rows at once in them."""

import sqlite3
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    URL,
    Connection,
    Engine,
    ExceptionContext,
    LargeBinary,
    Table,
    bindparam,
    column,
    create_engine,
    event,
    func,
    insert,
    text,
)
from sqlalchemy.exc import DBAPIError, OperationalError

from worker.settings import CONNECTIONS
from worker.store.faults import PASSING_SQLITE_ERRORS, is_lost_session, is_passing
from worker.store.postgres import (
    PREPARE,
    joined_options,
    prepare_threshold,
    read_url,
    require_encoding,
    require_usable_url,
    set_limits,
)
from worker.store.tables import UtcDateTime

__all__ = ["Engine", "db_now", "glancing", "open_engine", "reading", "writing"]

T = TypeVar("T")
BUSY_TIMEOUT_MS = 15_000
TRIES = 8
WAL_TRIES = 100  # every 0.05 s

# A process has three threads for the database; more than these at once are a web process's, at its busiest.
POOL_SIZE = 4
POSTGRES_CONNECTION = {
    "application_name": "cyclr-bulk",
    # Of several hosts the one that takes writes. Of a single one too: its address may lead to a standby, or to a server
    # that is being switched over, and a session that began as read-only may stay so for ever. The server says it of
    # itself as a session begins, so that it costs nothing.
    "target_session_attrs": "read-write",
    "client_encoding": "utf8",
    "connect_timeout": 5,
    # A server that vanished without a word is noticed within 15-20 s; the system's default is hours.
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    # `set_limits` begins the transactions.
    "autocommit": True,
}


def open_engine(url: str, *, connections: int = CONNECTIONS) -> Engine:
    """An engine for `url`. SQLite: WAL, synchronous=FULL, and every transaction that writes begins IMMEDIATE.

    PostgreSQL: a small pool, `connections` at most, and limits on how long anything may wait; what the URL says goes first.

    Raises: InvalidSettings for what no driver understands in the URL. Whoever connects may get WrongEncoding.
    """
    parsed = read_url(url)
    # hide_parameters: what was to be stored stands in no error text.
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, hide_parameters=True)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    require_usable_url(parsed)
    if options := joined_options(parsed):
        parsed = parsed.update_query_dict({"options": options})
    kept = min(POOL_SIZE, connections)
    engine = create_engine(
        parsed,
        connect_args={**_unless_given(POSTGRES_CONNECTION, parsed), PREPARE: prepare_threshold(parsed)},
        pool_pre_ping=True,
        pool_size=kept,
        max_overflow=connections - kept,
        hide_parameters=True,
    )
    event.listen(engine, "handle_error", _drop_lost_session)
    set_limits(engine)
    require_encoding(engine)
    return engine


def _drop_lost_session(context: ExceptionContext) -> None:
    # SQLAlchemy knows a connection that is closed. With it go all others of the pool: they lead to the same server.
    if is_lost_session(context.original_exception):
        context.is_disconnect = True


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
    options = connection.get_execution_options()
    mode = "DEFERRED" if options.get("reads_only") else "IMMEDIATE"
    waits_ms = options.get("waits_ms")
    if waits_ms is None or mode == "DEFERRED":
        connection.exec_driver_sql(f"BEGIN {mode}")
        return
    connection.exec_driver_sql(f"PRAGMA busy_timeout={waits_ms}")
    try:
        connection.exec_driver_sql(f"BEGIN {mode}")
    except OperationalError as error:
        if is_passing(error):
            raise Locked(error) from error
        raise
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")


class Locked(Exception):
    """Another process was writing to this SQLite database for as long as this transaction was to wait (`waiting_only`).
    `error`: what anybody else would be told."""

    def __init__(self, error: OperationalError) -> None:
        super().__init__("the database is locked")
        self.error = error


def waiting_only(engine: Engine, waits_ms: int) -> Engine:
    """The same engine, for whoever tells people what is waited for: on SQLite it raises Locked after so long."""
    return engine.execution_options(waits_ms=waits_ms)


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
            if not left or not is_passing(error):
                raise
            time.sleep(0.05 * 2 ** (TRIES - left - 1))
    raise AssertionError("unreachable")


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same columns, in the transaction of `connection`.

    Raises: DBAPIError as an INSERT would; UnicodeEncodeError for half a character.
    """
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, table, rows)
    else:
        connection.execute(insert(table), list(rows))


class UpdateOfMany:
    """An update of many rows, each with values of its own: on PostgreSQL one statement, whose rows come as one parameter,
    which is half of the work here.

    `types`: of a row's values, by name. `make`: the statement, given a value of each name, as a parameter or as a column.
    """

    def __init__(self, types: Mapping[str, Any], make: Callable[[Mapping[str, Any]], Any]) -> None:
        rows = func.json_to_recordset(bindparam("rows", type_=JSON()))
        columns = [column(name, kind) for name, kind in types.items()]
        table = rows.table_valued(*columns, name="given").render_derived(with_types=True)
        self._in_one = make(dict(table.c.items()))
        self._moments = {name for name, kind in types.items() if isinstance(kind, UtcDateTime)}
        self._bytes = {name for name, kind in types.items() if isinstance(kind, LargeBinary)}
        # No parameter may be called as a column that is set.
        self._row_by_row = make({name: bindparam(f"b_{name}", type_=kind) for name, kind in types.items()})

    def run(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        if connection.dialect.name == "postgresql":
            as_json = [dict(row) for row in rows]
            for row in as_json:
                for name in self._moments & row.keys():
                    row[name] = row[name].isoformat()
                for name in self._bytes & row.keys():
                    row[name] = None if row[name] is None else f"\\x{row[name].hex()}"
            connection.execute(self._in_one, {"rows": as_json})
        else:
            given = [{f"b_{name}": value for name, value in row.items()} for row in rows]
            connection.execute(self._row_by_row, given)


def insert_unless_there(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert one row; one that is there already, by whatever makes it unique, stays as it is."""
    connection.execute(upsert_into(connection, table).values(dict(row)).on_conflict_do_nothing())


def upsert_into(connection: Connection, table: Table) -> Any:
    """The INSERT of this database that has a say where the row is there already: both databases spell it alike."""
    # Each is imported where it is used: together they are a tenth of the start of a command.
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def _copy(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    driver: Any = connection.connection.driver_connection
    names = list(rows[0])
    quoted = connection.dialect.identifier_preparer
    columns = ", ".join(quoted.quote(name) for name in names)
    statement = f"COPY {quoted.format_table(table)} ({columns}) FROM STDIN"
    # The values as the types of the columns would bind them: times as UTC, JSON as JSON.
    binds = [(name, table.c[name].type.dialect_impl(connection.dialect)) for name in names]
    processors = [(name, kind.bind_processor(connection.dialect)) for name, kind in binds]
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row([process(row[name]) if process else row[name] for name, process in processors])
    except _driver_errors(connection) as error:
        raise _as_sqlalchemy_says_it(connection, driver, statement, error) from error


def _driver_errors(connection: Connection) -> Any:
    return connection.dialect.loaded_dbapi.Error


def _as_sqlalchemy_says_it(
    connection: Connection, driver: Any, statement: str, error: Exception
) -> BaseException:
    """The error that an INSERT would raise: callers tell them apart, and a lost connection must leave the pool."""
    is_closed = connection.dialect.is_disconnect(error, driver, None)  # type: ignore[arg-type]
    is_lost = is_closed or is_lost_session(error)
    if is_lost:
        connection.invalidate(error)
    return DBAPIError.instance(
        statement,
        None,
        error,
        _driver_errors(connection),
        hide_parameters=True,
        connection_invalidated=is_lost,
        dialect=connection.dialect,
    )
