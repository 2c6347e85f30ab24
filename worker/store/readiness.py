"""What a database must be before it is worked with: there, taking writes, with the schema that this code knows; and the way to that
schema.

Alembic is loaded only where there is something to change: every command and every worker process asks first.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from worker.domain.failures import ToldFailure
from worker.domain.server_faults import ServerFault
from worker.store.faults import (
    CHECK_DISK,
    FULL_DISK,
    LOCK_TIMED_OUT,
    READ_ONLY_FILE,
    DatabaseAway,
    TakesNoWrites,
    database_fault,
    find_sqlstate,
    lost_database_in_words,
)
from worker.store.postgres import where
from worker.store.session import open_engine, reading

if TYPE_CHECKING:
    from alembic.config import Config

NEWEST = "0030"  # the last migration's revision


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


LEAST_FREE_BYTES = 1_000_000  # for SQLite's journal of one transaction


class OldSchema(ToldFailure):
    """The schema is older than this code, or not there at all."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"the database {where} is not of this version of cyclr-bulk yet: bring it up to date with"
            " `alembic upgrade head` (the `release` of the Procfile), then try again."
        )
        self.where = where


def require_ready(engine: Engine, *, must_write: bool = True) -> None:
    """Raises: DatabaseAway, OldSchema. A newer schema is fine: a release changes it before the code follows.

    `must_write`: it must take writes too, now.
    """
    if must_write:
        require_writable(engine)
    with lost_database_in_words(engine):
        current = find_revision(engine)
    if current == NEWEST:
        return
    if current is None or current in list_revisions(alembic_config(engine)):
        raise OldSchema(where(engine.url))


def require_writable(engine: Engine) -> None:
    """Raises: DatabaseAway; TakesNoWrites where it answers. Nothing is written."""
    if engine.dialect.name == "sqlite":
        _require_writable_file(engine)
        return
    with lost_database_in_words(engine), reading(engine) as connection:
        # "on" for a standby too.
        if connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on":
            connection.invalidate()  # it would say so again, where a new session may not
            raise TakesNoWrites(where(engine.url))


def _require_writable_file(engine: Engine) -> None:
    # By its folder and its disk: a write would wait behind whoever writes just now.
    path = Path(engine.url.database or "")
    if not path.is_file():
        return
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise TakesNoWrites(where(engine.url), CHECK_DISK, fault=READ_ONLY_FILE)
    if shutil.disk_usage(path.parent).free < LEAST_FREE_BYTES:
        raise DatabaseAway(where(engine.url), "its disk is full", "Make room there.", fault=FULL_DISK)


def find_database_fault(engine: Engine) -> ServerFault | None:
    """What ails the database now, as one question shows: that it does not answer, or takes no writes. None: nothing."""
    try:
        require_writable(engine)
        if engine.dialect.name == "sqlite":
            with lost_database_in_words(engine), reading(engine) as connection:
                connection.execute(text("SELECT 1"))
    except (DatabaseAway, PoolTimeout) as error:
        return database_fault(error)
    return None


def open_for_showing(engine: Engine) -> Engine:
    """An engine for the same database, whether it takes writes or not. What a standby shows may be old."""
    url = engine.url.update_query_dict({"target_session_attrs": "any"})
    return open_engine(url.render_as_string(hide_password=False))
