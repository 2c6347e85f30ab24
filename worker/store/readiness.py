"""Whether the database can be used: it answers, takes writes, and its schema is the one that this code knows."""

import os
import shutil
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import TimeoutError as PoolTimeout

from worker.domain.failures import ToldFailure
from worker.domain.server_faults import ServerFault
from worker.store.faults import (
    CHECK_DISK,
    FULL_DISK,
    READ_ONLY_FILE,
    DatabaseAway,
    TakesNoWrites,
    database_fault,
    lost_database_in_words,
)
from worker.store.postgres import where
from worker.store.schema import NEWEST, alembic_config, find_revision, list_revisions
from worker.store.session import open_engine, reading

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
