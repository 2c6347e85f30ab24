"""Databases for all tests that need one, on both kinds."""

from collections.abc import Iterator

import pytest

from tests.integration.store.databases import PostgresStores, SqliteStores, Stores
from tests.postgres import open_databases
from worker.store.session import Engine


@pytest.fixture(scope="session")
def sqlite_stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return SqliteStores(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="session")
def postgres_stores() -> Iterator[Stores]:
    with open_databases() as databases:
        stores = PostgresStores(databases)
        yield stores
        stores.close()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def stores(request: pytest.FixtureRequest) -> Stores:
    """Where databases at head come from, as many as a test needs; every test runs on both kinds."""
    # Not made here: a fixture ends where its parameter changes, and a server would be started for each file.
    kind = {"sqlite": "sqlite_stores", "postgresql": "postgres_stores"}[request.param]
    stores: Stores = request.getfixturevalue(kind)
    return stores


@pytest.fixture
def engine(stores: Stores) -> Iterator[Engine]:
    opened = stores.new()
    yield opened
    stores.drop(opened)
