"""Alembic's entry: the engine is handed over by `worker.store.session`, or made from DATABASE_URL."""

import os
import sys

from alembic import context

from worker.store.session import open_engine
from worker.store.tables import metadata


def run() -> None:
    engine = context.config.attributes.get("engine") or open_engine(_database_url())
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            render_as_batch=connection.dialect.name == "sqlite",
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


def _database_url() -> str:
    url = os.environ.get("DATABASE_URL")
    if not url:
        sys.exit("DATABASE_URL is not set: expected the URL of the database whose schema is to be changed")
    return url


run()
