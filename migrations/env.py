"""Alembic's entry: the engine is handed over by `worker.store.session`, or made from DATABASE_URL.

The rule for every migration: the release before goes on working while it runs and after it. So a migration adds
(tables, indexes, columns that may be empty or have a default); what the code of the release before still reads or
writes is renamed or dropped one release later. An index on a large table is made CONCURRENTLY, in
`op.get_context().autocommit_block()`; everything else is one transaction.
"""

import sys

from alembic import context
from sqlalchemy import Connection, Engine, text

from worker.domain.failures import ToldFailure
from worker.settings import load_settings
from worker.store.faults import lost_database_in_words
from worker.store.postgres import change_limits
from worker.store.readiness import changes_in_words, require_known_revision
from worker.store.session import open_engine
from worker.store.tables import metadata

UPGRADE_LOCK = 0x6379636D  # PostgreSQL's advisory lock: two upgrades at once take turns


def run(engine: Engine) -> None:
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            render_as_batch=connection.dialect.name == "sqlite",
            # Alembic would commit after each migration on SQLite, and another upgrade would come in between.
            transactional_ddl=True,
        )
        with context.begin_transaction():
            if connection.dialect.name == "postgresql":
                _take_turn(connection)
            context.run_migrations()
        connection.commit()


def _take_turn(connection: Connection) -> None:
    # All of it is the transaction's, since a pooler may lend its session to others afterwards: a block without a transaction
    # comes after its end, and what is done there must be safe to do twice at once (IF NOT EXISTS).
    # The wait for another upgrade may be as long as that one takes.
    change_limits(
        connection, lock_timeout="0", statement_timeout="0", idle_in_transaction_session_timeout="0"
    )
    connection.execute(text(f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})"))
    # While a change of a table waits for its lock, everybody else waits behind it.
    change_limits(connection, lock_timeout="5s", statement_timeout="10min")


def run_by_itself() -> None:
    """`alembic upgrade head`: what is wrong is said in one sentence, as by the other commands. Raises: SystemExit."""
    try:
        url = load_settings().database_url
        if url is None:
            sys.exit(
                "DATABASE_URL is not set: expected the URL of the database whose schema is to be changed"
            )
        engine = open_engine(url.get_secret_value())
        with lost_database_in_words(engine), changes_in_words():
            require_known_revision(engine, context.config)
            run(engine)
    except ToldFailure as failure:
        sys.exit(str(failure))


given: Engine | None = context.config.attributes.get("engine")
if given is None:
    run_by_itself()
else:
    run(given)
