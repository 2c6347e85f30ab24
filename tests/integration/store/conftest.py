from collections.abc import Iterator

import pytest

from tests.integration.store.databases import Loads, PostgresStores, SqliteStores, Stores
from tests.postgres import open_databases
from worker.store.session import Engine


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """Where databases at head come from, as many as a test needs; every test runs on both kinds."""
    if request.param == "sqlite":
        yield SqliteStores(tmp_path_factory.mktemp("stores"))
        return
    with open_databases() as databases:
        stores = PostgresStores(databases)
        yield stores
        stores.close()


@pytest.fixture
def engine(stores: Stores) -> Iterator[Engine]:
    opened = stores.new()
    yield opened
    stores.drop(opened)


@pytest.fixture
def empty(stores: Stores) -> Iterator[Engine]:
    """A database without a single table."""
    opened = stores.empty()
    yield opened
    stores.drop(opened)


@pytest.fixture
def loads(engine: Engine) -> Loads:
    return Loads(engine)
