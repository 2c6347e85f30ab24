"""How a PostgreSQL is spoken to: what its URL may say, what may not last, and what it must be.

Nothing that a session keeps is relied on: a pooler in transaction mode (PgBouncer) lends another session of the server
to each transaction. So the limits are set in each transaction, in the question that begins it; nothing is prepared; there
are no locks of a session, no temporary tables and no LISTEN.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from worker.domain.failures import ToldFailure
from worker.settings import InvalidSettings

# The user's part as SQLAlchemy reads it: a password may hold all but an @.
SEVERAL_HOSTS = re.compile(
    r"(postgresql\+psycopg://(?:[^:/@]*(?::[^@]*)?@)?)([^/?@]*,[^/?@]*)((?:/.*)?(?:\?.*)?)"
)
HOST_AND_PORT = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]*))(?::(\d*))?")


def normalise_url(url: str) -> str:
    """Both spellings of PostgreSQL's scheme mean psycopg 3 here, whatever SQLAlchemy's version makes of them.

    Several hosts, as PostgreSQL's own programs take them, stand where SQLAlchemy looks for them: in the query.
    """
    for spelling in ("postgres://", "postgresql://"):
        if url.startswith(spelling):
            url = "postgresql+psycopg://" + url.removeprefix(spelling)
    found = SEVERAL_HOSTS.fullmatch(url)
    if found is None:
        return url
    scheme_and_user, hosts, rest = found.groups()
    parts = [HOST_AND_PORT.fullmatch(each) for each in hosts.split(",")]
    if None in parts:
        return url  # whoever reads it says what is wrong
    names = ",".join(quote(part[1] or part[2]) for part in parts if part)
    ports = ",".join(part[3] or "" for part in parts if part)
    path, _, query = rest.partition("?")
    more = f"&{query}" if query else ""
    return f"{scheme_and_user}{path}?host={names}&port={ports}{more}"


def read_url(url: str) -> URL:
    """Raises: InvalidSettings, without what stands in it."""
    try:
        parsed = make_url(normalise_url(url))
        parsed.get_dialect()().create_connect_args(parsed)
    except (ArgumentError, ValueError):
        expected = "expected a URL such as postgresql://user:password@host/database"
        raise InvalidSettings(
            [f"DATABASE_URL: {expected}, and of several hosts a port for each or none"]
        ) from None
    return parsed


def where(url: URL) -> str:
    """The database and its hosts, in words; nothing secret. The path of a file."""
    hosts = url.host or _hosts_in_query(url)
    return f"{url.database} at {hosts}" if hosts else str(url.database)


def _hosts_in_query(url: URL) -> str:
    hosts = url.query.get("host", ())
    names = hosts.split(",") if isinstance(hosts, str) else hosts
    # A folder is that of a socket of this machine, which nobody calls the database's host.
    return " or ".join(name for name in names if not name.startswith("/"))


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
