"""The database's URL, as SQLAlchemy takes it."""

import re
from urllib.parse import quote

from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

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
