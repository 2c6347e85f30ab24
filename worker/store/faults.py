"""What an error of the database means, told from what servers and drivers raise: a session that is of no use any more, something
that passes, a value that cannot be stored, or a database that does not do its work now, and what ails it. The one place that knows
their codes.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import (
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from worker.domain.failures import ToldFailure
from worker.domain.server_faults import Server, ServerFault, chain_of, sentence
from worker.store.postgres import where
from worker.telemetry import ALARMS

# SQLite's BUSY, LOCKED and PROTOCOL: another process was in the way. Its other errors stay as they are.
PASSING_SQLITE_ERRORS = frozenset({5, 6, 15})
SQLITE_TAKES_NO_WRITES = 8
STATEMENT_TIMED_OUT = "57014"
LOCK_TIMED_OUT = "55P03"
READ_ONLY_STATE = "25006"
NOT_PERMITTED = "42501"

# Source: https://www.postgresql.org/docs/18/errcodes-appendix.html, read 2026-11-30. Most of these end the session by
# themselves. A read-only one would live on, and hold its process to a server that takes no writes any more.
LOST_SESSIONS = frozenset(
    {
        READ_ONLY_STATE,  # a standby, or a server that is being switched over
        "25P03",  # idle in a transaction for too long
        "25P04",  # a transaction for too long
        "40003",  # whether the statement was completed is not known
        "53300",  # too many connections
        "57P01",  # shut down, or ended by an administrator
        "57P02",  # another process of the server crashed
        "57P03",  # it starts, or recovers
        "57P04",  # the database was dropped
        "57P05",  # idle for too long
    }
)
CONNECTION_EXCEPTIONS = "08"
DATA_EXCEPTIONS = ("22", "23")
# What libpq says of a server that is reached, where `target_session_attrs` asks for one that takes writes.
REFUSED_AS_READ_ONLY = ("session is read-only", "server is in hot standby mode")


def find_sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's five characters, of SQLAlchemy's error or the driver's; None where no server has said any."""
    state = getattr(getattr(error, "orig", None) or error, "sqlstate", None)
    return state if isinstance(state, str) else None


def is_lost_session(error: BaseException) -> bool:
    """Whether the session is of no use any more, though its socket may still be open: the same may go well in a new one."""
    state = find_sqlstate(error)
    return state is not None and (state in LOST_SESSIONS or state.startswith(CONNECTION_EXCEPTIONS))


def is_passing(error: DBAPIError) -> bool:
    """Whether the same work may go well in a moment: a deadlock, a conflict, a session that was lost, a server that starts."""
    if error.connection_invalidated or is_lost_session(error):
        return True
    if not isinstance(error, OperationalError):
        return False
    if find_sqlstate(error) == STATEMENT_TIMED_OUT:
        return False  # it would take as long again
    code = _sqlite_code(error)
    return code is None or code in PASSING_SQLITE_ERRORS


def is_of_data(error: Exception) -> bool:
    """Whether a value cannot be stored: the server says so, or the driver, before it has sent it."""
    if (state := find_sqlstate(error)) is not None:
        return state.startswith(DATA_EXCEPTIONS)
    if isinstance(error, DBAPIError):
        return isinstance(error, DataError | IntegrityError) or _is_unbindable(error)
    # Of a type's own conversion, of half a character, of a number that is too large.
    return isinstance(error, StatementError | ValueError | OverflowError)


def is_database_away(error: Exception) -> bool:
    """Whether the database does not do its work now, by no fault of what it was asked: it is away, or refuses us."""
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or isinstance(error, InterfaceError | InternalError | OperationalError):
        return not is_of_data(error)
    return is_lost_session(error) or find_sqlstate(error) == NOT_PERMITTED


def takes_no_writes(error: BaseException) -> bool:
    """Whether the database answers, and is read-only."""
    if find_sqlstate(error) == READ_ONLY_STATE:
        return True
    original = getattr(error, "orig", None)
    if isinstance(original, sqlite3.Error):
        return _sqlite_code(error) == SQLITE_TAKES_NO_WRITES
    # A connection that was refused has no code: libpq keeps the text alone.
    return isinstance(error, DatabaseError) and any(words in str(original) for words in REFUSED_AS_READ_ONLY)


def _sqlite_code(error: BaseException) -> int | None:
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _is_unbindable(error: DBAPIError) -> bool:
    # SQLite's driver says of a value of a type that it does not know that it was used wrongly; it gives no code then.
    return isinstance(error.orig, sqlite3.InterfaceError | sqlite3.ProgrammingError) and (
        "binding parameter" in str(error.orig)
    )


READ_ONLY = ServerFault(Server.DATABASE, "25006 read_only_sql_transaction", "it takes no writes now")
READ_ONLY_FILE = ServerFault(Server.DATABASE, "SQLITE_READONLY", "it may not be written")
FULL_DISK = ServerFault(Server.DATABASE, "SQLITE_FULL", "its disk is full")
CHECK_SERVER = "Check DATABASE_URL and the server."
CHECK_RIGHTS = "Which rights its role needs is in docs/operations.md."
LOCKED = "SQLITE_BUSY"
CHECK_OTHERS = "Another process is in the middle of a write to it: is one stopped? Let it go on, or end it."
CHECK_DISK = "Is there room on its disk, and may it be written?"
CHECK_SWITCH = (
    "It is being switched over, or it is a standby, or it was set to read-only. If it stays so, check the server that"
    " DATABASE_URL leads to."
)

# What is asked while a session is opened has no sqlstate here, only text: that of the server, or of PgBouncer before it.
_AT_CONNECTING = (
    (
        r"password authentication failed|SASL authentication failed|no password supplied|password is wrong",
        "28P01",
    ),
    (r"pg_hba\.conf|role .* does not exist|is not permitted to log in", "28000"),
    (r"database .* does not exist|no such database", "3D000"),
    (r"too many (clients|connections)|connection slots are reserved", "53300"),
    (r"the database system is|not accepting connections|not yet accepting", "57P03"),
    (r"terminating connection due to administrator command", "57P01"),
    # PgBouncer's own.
    (
        r"no more connections allowed|query_wait_timeout|client_login_timeout|server login (has been|failed)"
        r"|cannot connect to server|server conn crashed|pgbouncer is (shutting down|paused)|unsupported startup parameter",
        "08P01",
    ),
    (r"session is read-only|server is in hot standby mode|not in hot standby", "25006"),
    (r"certificate verify failed|root certificate|server certificate", "certificate_verify_failed"),
    (r"SSL error|does not support SSL|SSL negotiation|SSL connection has been closed", "tls_failed"),
    (r"Connection refused", "connection_refused"),
    (r"No such file or directory", "no_such_socket"),
    (r"timeout expired|timed out|Operation timed out", "timeout"),
    (
        r"could not translate host name|failed to resolve|Name or service not known|getaddrinfo",
        "host_name_not_found",
    ),
    (r"No route to host|Network is unreachable", "no_route_to_host"),
    (
        r"closed the connection|connection is closed|connection is lost|connection not open|Connection reset"
        r"|Broken pipe|EOF detected|consuming input failed|the connection is (closed|lost)",
        "connection_closed",
    ),
)
_STATES = re.compile(r"[0-9A-Z]{5}")
_OF_ROWS = ("22", "23")  # their sentences hold what was to be stored
_FATAL = re.compile(r"^.*?(?:FATAL|ERROR|PANIC):\s*")


class DatabaseAway(ToldFailure):
    """The database does not answer, or refuses us. `where`: host and name of the database, nothing secret; the path of a
    file. `hint`: what to do. `fault`: where no error of the driver's tells it."""

    def __init__(
        self, where: str, reason: str, hint: str = CHECK_SERVER, *, fault: ServerFault | None = None
    ) -> None:
        super().__init__(f"the database {where} cannot be used: {reason}. {hint}")
        self.where = where
        self.fault = fault


class TakesNoWrites(DatabaseAway):
    """It answers, and is read-only: nothing is stored, claimed or settled."""

    def __init__(self, where: str, hint: str = CHECK_SWITCH, *, fault: ServerFault = READ_ONLY) -> None:
        ToldFailure.__init__(self, f"the database {where} answers, but takes no writes now. {hint}")
        self.where = where
        self.fault = fault


def database_fault(error: BaseException) -> ServerFault | None:
    """None where `error` is none of the driver's or the pool's, nor made of one. Nothing that was to be stored stands in it."""
    of_driver: Any = next(filter(_is_of_driver, chain_of(error)), None)
    if of_driver is None:
        return next((each.fault for each in chain_of(error) if isinstance(each, DatabaseAway)), None)
    if isinstance(of_driver, PoolTimeout):
        return ServerFault(
            Server.DATABASE, "pool_exhausted", "no connection of this process came free in time"
        )
    cause: Any = of_driver.orig if isinstance(of_driver, DBAPIError) else of_driver
    if name := getattr(cause, "sqlite_errorname", None):
        # SQLITE_IOERR_FSYNC and its like are one class.
        return ServerFault(Server.DATABASE, "_".join(name.split("_")[:2]), sentence(str(cause)))
    if state := getattr(cause, "sqlstate", None):
        said = "" if state[:2] in _OF_ROWS else sentence(cause.diag.message_primary or str(cause))
        return ServerFault(Server.DATABASE, _named(state), said)
    return _of_a_connection(str(cause))


def _is_of_driver(error: BaseException) -> bool:
    return (
        isinstance(error, DBAPIError | PoolTimeout)
        or hasattr(error, "sqlite_errorname")
        or hasattr(error, "pgconn")
    )


def note_database_failure(error: BaseException, doing: str) -> None:
    """One line in the log, once a minute. An error that is none of the database's is one of ours: `work_failed`."""
    fault = database_fault(error)
    if fault is None:
        ALARMS.crashed("work_failed", error, doing=doing)
    else:
        ALARMS.failed(fault, doing)


def note_database_success(doing: str) -> None:
    ALARMS.went_well(Server.DATABASE, doing)


def _of_a_connection(text: str) -> ServerFault:
    fitting = (kind for pattern, kind in _AT_CONNECTING if re.search(pattern, text))
    kind = next(fitting, "connection_failed")
    if _STATES.fullmatch(kind):
        return ServerFault(Server.DATABASE, _named(kind), sentence(_FATAL.sub("", text)))
    return ServerFault(Server.DATABASE, kind, sentence(text))


def _named(state: str) -> str:
    """`25006 read_only_sql_transaction`; the bare state where psycopg knows no name for it."""
    from psycopg import errors  # loaded already where a PostgreSQL has answered

    try:
        name = errors.lookup(state).__name__
    except KeyError:
        return state
    return f"{state} {re.sub(r'(?<!^)(?=[A-Z])', '_', name).lower().rstrip('_')}"


@contextmanager
def lost_database_in_words(engine: Engine) -> Iterator[None]:
    """Raises: DatabaseAway instead of the driver's errors; TakesNoWrites where it is read-only."""
    try:
        yield
    except DBAPIError as error:
        if not is_database_away(error):
            raise
        raise _in_words(engine, error) from None


def _in_words(engine: Engine, error: DBAPIError) -> DatabaseAway:
    is_file = engine.dialect.name == "sqlite"
    if takes_no_writes(error):
        return TakesNoWrites(where(engine.url), CHECK_DISK if is_file else CHECK_SWITCH)
    fault = database_fault(error)
    assert fault is not None, "it is the driver's"
    if is_file:
        hint = CHECK_OTHERS if fault.kind == LOCKED else CHECK_DISK
    else:
        hint = CHECK_RIGHTS if find_sqlstate(error) == NOT_PERMITTED else CHECK_SERVER
    return DatabaseAway(where(engine.url), f"it {fault.what}", hint)
