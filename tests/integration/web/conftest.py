"""A site for each test, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.harness import small_world
from tests.integration.store.databases import Stores
from tests.integration.web.site import Site, new_site
from tests.servers import valkey
from worker.simulator.server import SimulatorThread

ACCOUNTS = ("acme", "globex", "initech", "umbrella")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with valkey() as url:
        yield url


@pytest.fixture
def simulator() -> Iterator[SimulatorThread]:
    with SimulatorThread(small_world(*ACCOUNTS)) as running:
        yield running


@pytest.fixture
def site(stores: Stores, redis_url: str, simulator: SimulatorThread, tmp_path: Path) -> Iterator[Site]:
    with new_site(stores, redis_url, simulator, tmp_path) as site:
        yield site
