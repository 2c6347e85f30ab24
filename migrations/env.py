"""Alembic's entry: the engine is handed over by `worker.store.session`, or made from DATABASE_URL.

The rule for every migration: the release before goes on working while it runs and after it. So a migration adds
(tables, indexes, columns that may be empty or have a default); what the code of the release before still reads or
writes is renamed or dropped one release later. An index on a large table is made CONCURRENTLY, in
`op.get_context().autocommit_block()`; everything else is one transaction.
"""

import os
import sys

from alembic import context
from sqlalchemy import Connection, text

from worker.store.session import open_engine
from worker.store.tables import metadata

UPGRADE_LOCK = 0x6379636D  # PostgreSQL's advisory lock: two upgrades at once take turns


def run() -> None:
    engine = context.config.attributes.get("engine") or open_engine(_database_url())
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            _take_turn(connection)
        context.configure(
            connection=connection,
            target_metadata=metadata,
            render_as_batch=connection.dialect.name == "sqlite",
            # Alembic would commit after each migration on SQLite, and another upgrade would come in between.
            transactional_ddl=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


def _take_turn(connection: Connection) -> None:
    # Settings and lock are the session's, so that they outlast a block without a transaction; it ends with the upgrade.
    connection.detach()
    for statement in (
        # The wait for another upgrade may be as long as that one takes.
        "SET lock_timeout = 0",
        "SET statement_timeout = 0",
        "SET idle_in_transaction_session_timeout = 0",
        f"SELECT pg_advisory_lock({UPGRADE_LOCK})",
        # While a change of a table waits for its lock, everybody else waits behind it.
        "SET lock_timeout = '5s'",
        "SET statement_timeout = '10min'",
    ):
        connection.execute(text(statement))
    connection.commit()


def _database_url() -> str:
    url = os.environ.get("DATABASE_URL")
    if not url:
        sys.exit("DATABASE_URL is not set: expected the URL of the database whose schema is to be changed")
    return url


run()
