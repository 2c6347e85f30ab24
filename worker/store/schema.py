"""The schema of the database: which one it has, and the way to the one that this code knows.

Alembic is loaded only where there is something to change: every command and every worker process asks first.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import OperationalError

from worker.domain.failures import ToldFailure
from worker.store.faults import LOCK_TIMED_OUT, find_sqlstate
from worker.store.session import reading

if TYPE_CHECKING:
    from alembic.config import Config

NEWEST = "0014"  # the last migration's revision


def migrations_folder() -> Path:
    """Inside the wheel the migrations lie in the package, in a checkout beside it."""
    packaged = Path(__file__).parent.parent / "migrations"
    return packaged if packaged.is_dir() else packaged.parent.parent / "migrations"


def alembic_config(engine: Engine, migrations: Path | None = None) -> "Config":
    from alembic.config import Config

    config = Config(stdout=sys.stdout)  # by default the one of the moment when Alembic was loaded
    folder = str(migrations or migrations_folder())
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["engine"] = engine
    return config


def find_revision(engine: Engine) -> str | None:
    """The revision that the database is at; None for one without tables."""
    with reading(engine) as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def list_revisions(config: "Config") -> set[str]:
    """All revisions that this code knows."""
    from alembic.script import ScriptDirectory

    return {revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()}


def upgrade(engine: Engine, *, migrations: Path | None = None) -> None:
    """Bring the schema up to date; nothing happens when it is. `migrations`: another folder than the product's.

    The whole of it is one transaction: it happens, or it does not. Two at once take turns. Raises: NewerSchema, SchemaBusy.
    """
    current = find_revision(engine)
    if current == NEWEST and migrations is None:
        return
    from alembic import command

    config = alembic_config(engine, migrations)
    require_known_revision(engine, config)
    with changes_in_words():
        command.upgrade(config, "head")


def require_known_revision(engine: Engine, config: "Config") -> None:
    """Raises: NewerSchema."""
    current = find_revision(engine)
    if current is not None and current not in list_revisions(config):
        raise NewerSchema(current)


@contextmanager
def changes_in_words() -> Iterator[None]:
    """Raises: SchemaBusy instead of the driver's error."""
    try:
        yield
    except OperationalError as error:
        if find_sqlstate(error) == LOCK_TIMED_OUT:
            raise SchemaBusy from error
        raise


class SchemaBusy(ToldFailure):
    """The tables are in use for so long that they could not be changed."""

    def __init__(self) -> None:
        super().__init__(
            "the database's tables are in use (by a backup, perhaps) and could not be changed; nothing was changed, try again"
        )


class NewerSchema(ToldFailure):
    """The database was made by a newer version."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"the database is of a newer version of cyclr-bulk (schema {revision}); install that version, or use another home"
        )
