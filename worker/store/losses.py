"""What an error of the database means: a session that is of no use any more, something that passes, a value that cannot
be stored, or a database that does not do its work now. The one place that knows the servers' and drivers' codes.
"""

import sqlite3

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

# SQLite's BUSY, LOCKED and PROTOCOL: another process was in the way. Its other errors stay as they are.
PASSING_SQLITE_ERRORS = frozenset({5, 6, 15})
SQLITE_TAKES_NO_WRITES = 8
STATEMENT_TIMED_OUT = "57014"
LOCK_TIMED_OUT = "55P03"
READ_ONLY = "25006"
NOT_PERMITTED = "42501"

# Source: https://www.postgresql.org/docs/18/errcodes-appendix.html, read 2026-11-30. Most of these end the session by
# themselves. A read-only one would live on, and hold its process to a server that takes no writes any more.
LOST_SESSIONS = frozenset(
    {
        READ_ONLY,  # a standby, or a server that is being switched over
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
    if find_sqlstate(error) == READ_ONLY:
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
