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
    """Raises: InvalidSettings where the driver would not understand what stands after its `?`."""
    from psycopg.pq import Conninfo

    known = {option.keyword.decode() for option in Conninfo.get_defaults()} | {PREPARE}
    problems = [
        f"DATABASE_URL: {name} is nothing that PostgreSQL's driver knows; take it out"
        for name in sorted(url.query)
        if name not in known
    ]
    threshold = url.query.get(PREPARE, "0")
    if not isinstance(threshold, str) or not re.fullmatch(r"\d{1,9}|none", threshold, re.IGNORECASE):
        problems.append(f"DATABASE_URL: {PREPARE}: expected a whole number; 0 prepares nothing")
    if problems:
        raise InvalidSettings(problems)


def prepare_threshold(url: URL) -> int | None:
    """How often a statement is asked before it is prepared; None: never, which is what a pooler needs, and the default.

    0 in a URL means never, as the drivers do whose readers write it; psycopg itself would prepare at once.
    """
    threshold = str(url.query.get(PREPARE, "0"))
    return int(threshold) or None if threshold.isdigit() else None


def set_limits(engine: Engine) -> None:
    """Every transaction begins with its limits, in one question; what the URL's `options` set is the URL's."""
    given = engine.url.query.get("options", "")
    options = given if isinstance(given, str) else " ".join(given)
    of_url = {name.replace("-", "_").lower() for name in GIVEN_OPTION.findall(options)}
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
            raise WrongEncoding(f"{url.database} at {url.host}" if url.host else str(url.database), encoding)

    return refuse
