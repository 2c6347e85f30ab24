"""What ails the database, told from what the driver raises."""

import re
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from worker.domain.failures import ToldFailure
from worker.domain.server_faults import Server, ServerFault, chain_of, sentence
from worker.telemetry import ALARMS

READ_ONLY = ServerFault(Server.DATABASE, "25006 read_only_sql_transaction", "it takes no writes now")
READ_ONLY_FILE = ServerFault(Server.DATABASE, "SQLITE_READONLY", "it may not be written")
FULL_DISK = ServerFault(Server.DATABASE, "SQLITE_FULL", "its disk is full")
CHECK_SERVER = "Check DATABASE_URL and the server."
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
