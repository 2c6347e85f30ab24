from collections.abc import Iterator

import pytest

from tests.integration.store.databases import Loads, Stores
from worker.store.session import Engine


@pytest.fixture
def empty(stores: Stores) -> Iterator[Engine]:
    """A database without a single table."""
    opened = stores.empty()
    yield opened
    stores.drop(opened)


@pytest.fixture
def loads(engine: Engine) -> Loads:
    return Loads(engine)
