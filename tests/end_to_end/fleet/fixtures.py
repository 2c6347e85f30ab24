"""A deployment that runs for a whole module, for the folders whose tests need one: a `conftest.py` there names these."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.fleet.fleet import Fleet, open_fleet
from tests.postgres import Databases, open_databases


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    with open_databases() as opened:
        yield opened


@pytest.fixture(scope="module")
def running(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Released, with a worker and a sweep."""
    with open_fleet(tmp_path_factory.mktemp("fleet"), databases) as fleet:
        fleet.release()
        fleet.launch("sweep")
        fleet.launch_worker("--concurrency", "2")
        yield fleet
        fleet.assert_never_twice()
        fleet.assert_no_secret_was_said()


@pytest.fixture
def fleet(running: Fleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Fleet]:
    """The running one, with commands typed in a folder without `.env`."""
    monkeypatch.chdir(tmp_path)
    yield running
    running.change(lambda world: world.faults.clear())
