"""Databases of earlier versions, brought up to date with what they hold."""

from alembic import command
from sqlalchemy import Engine, text

from tests.integration.store.conftest import Loads
from tests.integration.store.databases import only_postgres
from worker.store.schema import alembic_config, upgrade
from worker.store.session import reading


@only_postgres
def test_columns_for_operations_are_added_without_writing_the_rows_anew(engine: Engine, loads: Loads):
    loads.job(3)
    command.downgrade(alembic_config(engine), "0012")

    def files() -> list[tuple[str, int]]:
        found = text("SELECT c, pg_relation_filenode(c::regclass) FROM unnest(ARRAY['items', 'jobs']) AS c")
        with reading(engine) as connection:
            return [tuple(row) for row in connection.execute(found)]

    before = files()
    upgrade(engine)
    assert files() == before
