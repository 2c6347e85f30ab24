"""How a PostgreSQL is spoken to: what its URL may say, what may not last, and what it must be.

Nothing that a session keeps is relied on: a pooler in transaction mode (PgBouncer) lends another session of the server
to each transaction. So the limits are set in each transaction, in the question that begins it; nothing is prepared; there
are no locks of a session, no temporary tables and no LISTEN.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import URL, Connection, Engine, event

from worker.domain.failures import ToldFailure
from worker.settings import InvalidSettings
from worker.store.addresses import where

ENCODING = "UTF8"
LIMITS = {
    # A process that is frozen in the middle of a settle would hold up all others of its job.
    "idle_in_transaction_session_timeout": "10s",
    # Longer than that, so that those who wait outlast it.
    "lock_timeout": "15s",
    # No statement of ours takes a second: one that takes so long waits for what will not come.
    "statement_timeout": "60s",
    # A plan made once for all values would outlive what it was made for: a queue is empty now and full later.
    "plan_cache_mode": "force_custom_plan",
}
PREPARE = "prepare_threshold"
NUMBERS = frozenset(
    {
        "connect_timeout",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
    }
)
MAY_REPEAT = frozenset({"host", "port", "options"})
# `-c name=value` and `--name=value`, as the server reads them.
GIVEN_OPTION = re.compile(r"(?:^|\s)(?:-c\s*|--)([A-Za-z0-9_.-]+)=")


class WrongEncoding(ToldFailure):
    """The database cannot keep every letter that a row may hold."""

    def __init__(self, where: str, encoding: str) -> None:
        super().__init__(
            f"the database {where} cannot be used: its encoding is {encoding}, expected {ENCODING}, which has every letter"
            " that a row may hold. Make another one: CREATE DATABASE cyclr_bulk TEMPLATE template0 ENCODING 'UTF8'"
        )


def require_usable_url(url: URL) -> None:
    """Raises: InvalidSettings where the driver would not understand what stands after its `?`, or not as it is meant."""
    from psycopg.pq import Conninfo

    known = {option.keyword.decode() for option in Conninfo.get_defaults()} | {PREPARE}
    problems = []
    for name, value in sorted(url.query.items()):
        if name not in known:
            problems.append(f"{name} is nothing that PostgreSQL's driver knows; take it out")
        elif not isinstance(value, str) and name not in MAY_REPEAT:
            problems.append(f"{name} stands in it more than once")
        elif name == PREPARE and not re.fullmatch(r"\d{1,9}|none", str(value), re.IGNORECASE):
            problems.append(f"{PREPARE}: expected a whole number; 0 prepares nothing")
        elif name in NUMBERS and not re.fullmatch(r"-?\d{1,9}", str(value)):
            problems.append(f"{name}: expected a whole number")
        elif name == "client_encoding" and re.sub(r"[^a-z0-9]", "", str(value).lower()) != "utf8":
            problems.append("client_encoding: expected utf8; take it out")
    if problems:
        raise InvalidSettings([f"DATABASE_URL: {problem}" for problem in problems])


def joined_options(url: URL) -> str:
    """The `options` of the URL, which may stand there more than once."""
    given = url.query.get("options", "")
    return given if isinstance(given, str) else " ".join(given)


def prepare_threshold(url: URL) -> int | None:
    """How often a statement is asked before it is prepared; None: never, which is what a pooler needs, and the default.

    0 in a URL means never, as the drivers do whose readers write it; psycopg itself would prepare at once.
    """
    threshold = str(url.query.get(PREPARE, "0"))
    return int(threshold) or None if threshold.isdigit() else None


def set_limits(engine: Engine) -> None:
    """Every transaction begins with its limits, in one question; what the URL's `options` set is the URL's."""
    of_url = {name.replace("-", "_").lower() for name in GIVEN_OPTION.findall(joined_options(engine.url))}
    begin = "; ".join(["BEGIN", *_as_local({n: v for n, v in LIMITS.items() if n not in of_url})])

    def begin_with_limits(connection: Connection) -> None:
        # The driver begins nothing by itself; what must not be in a transaction says so.
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql(begin)

    event.listen(engine, "begin", begin_with_limits)


def change_limits(connection: Connection, **limits: str) -> None:
    """Other limits for what is left of this transaction; nothing on SQLite, which has none."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("; ".join(_as_local(limits)))


def _as_local(settings: Mapping[str, str]) -> list[str]:
    return [f"SET LOCAL {name} = '{value}'" for name, value in settings.items()]


def require_encoding(engine: Engine) -> None:
    """Whoever opens a connection to a database that keeps texts otherwise gets WrongEncoding."""
    # First of all: SQLAlchemy asks for the version, and cannot read the answer of a database without an encoding.
    event.listen(engine, "connect", _refuse_others(engine.url), insert=True)


def _refuse_others(url: URL) -> Callable[[Any, Any], None]:
    def refuse(driver: Any, _record: Any) -> None:
        # The server says it to each client that comes, so it costs no question.
        encoding = driver.info.parameter_status("server_encoding")
        if encoding and encoding != ENCODING:
            driver.close()
            raise WrongEncoding(where(url), encoding)

    return refuse
