"""Whether the database can be used: it answers, and its schema is the one that this code knows."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError

from worker.domain.failures import ToldFailure
from worker.store.schema import NEWEST, alembic_config, find_revision, list_revisions

CHECK_SERVER = "Check DATABASE_URL and the server."
CHECK_RIGHTS = "Which rights its role needs is in docs/operations.md."
MAY_NOT = "42501"  # of the role: it lacks a right
LOCKED = "database is locked"
CHECK_OTHERS = "Another process is in the middle of a write to it: is one stopped? Let it go on, or end it."
CHECK_DISK = "Is there room on its disk, and may it be written?"


class DatabaseAway(ToldFailure):
    """The database does not answer, or refuses us. `where`: host and name of the database, nothing secret; the path of a
    file. `hint`: what to do."""

    def __init__(self, where: str, reason: str, hint: str = CHECK_SERVER) -> None:
        super().__init__(f"the database {where} cannot be used: {reason}. {hint}")
        self.where = where


class OldSchema(ToldFailure):
    """The schema is older than this code, or not there at all."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"the database {where} is not of this version of cyclr-bulk yet: bring it up to date with"
            " `alembic upgrade head` (the `release` of the Procfile), then try again."
        )
        self.where = where


def require_ready(engine: Engine) -> None:
    """Raises: DatabaseAway, OldSchema. A newer schema is fine: a release changes it before the code follows."""
    with lost_database_in_words(engine):
        current = find_revision(engine)
    if current == NEWEST:
        return
    if current is None or current in list_revisions(alembic_config(engine)):
        raise OldSchema(_where(engine))


@contextmanager
def lost_database_in_words(engine: Engine) -> Iterator[None]:
    """Raises: DatabaseAway instead of the driver's errors."""
    try:
        yield
    except (InterfaceError, OperationalError, ProgrammingError) as error:
        may_not = getattr(error.orig, "sqlstate", None) == MAY_NOT
        if isinstance(error, ProgrammingError) and not may_not:
            raise
        # The first line: what follows are hints, and the statement.
        reason = str(error.orig).strip().partition("\n")[0].rstrip(".") or type(error.orig).__name__
        hint = CHECK_RIGHTS if may_not else CHECK_SERVER
        if engine.dialect.name == "sqlite":
            hint = CHECK_OTHERS if reason == LOCKED else CHECK_DISK
        raise DatabaseAway(_where(engine), reason, hint) from None


def _where(engine: Engine) -> str:
    url = engine.url
    return f"{url.database} at {url.host}" if url.host else str(url.database)


def is_database_away(error: Exception) -> bool:
    """Whether this is a driver's error of a database that does not answer."""
    return isinstance(error, InterfaceError | OperationalError)
