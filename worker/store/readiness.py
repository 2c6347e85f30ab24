"""Whether the database can be used: it answers, and its schema is the one that this code knows."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from worker.domain.failures import ToldFailure
from worker.store.faults import database_fault
from worker.store.schema import NEWEST, alembic_config, find_revision, list_revisions

CHECK_SERVER = "Check DATABASE_URL and the server."
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
    except (InterfaceError, OperationalError) as error:
        fault = database_fault(error)
        reason = f"it {fault.what}" if fault else type(error.orig).__name__
        hint = CHECK_DISK if engine.dialect.name == "sqlite" else CHECK_SERVER
        raise DatabaseAway(_where(engine), reason, hint) from None


def _where(engine: Engine) -> str:
    url = engine.url
    return f"{url.database} at {url.host}" if url.host else str(url.database)


def is_database_away(error: Exception) -> bool:
    """Whether this is a driver's error of a database that does not answer."""
    return isinstance(error, InterfaceError | OperationalError)
