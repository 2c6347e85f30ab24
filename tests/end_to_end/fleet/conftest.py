"""One deployment that runs for the whole module: each test brings accounts and jobs of its own."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.end_to_end.fleet.fleet import Fleet, open_fleet
from tests.end_to_end.fleet.poison import poisoned_run
from tests.postgres import Databases, open_databases

# `POISON_SEED=17` repeats one.
SEED = int(os.environ.get("POISON_SEED", "1"))


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    with open_databases() as opened:
        yield opened


@pytest.fixture(scope="session")
def poisoned(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Future[None]"]:
    """The story of the poisoned row. It mostly waits for claims to run out, so it goes on beside the other tests."""
    print(f"the poisoned row: seed {SEED}")  # noqa: T201 - to repeat it with POISON_SEED
    with ThreadPoolExecutor(1, thread_name_prefix="poison") as pool:
        yield pool.submit(poisoned_run, tmp_path_factory.mktemp("poison"), databases, SEED)


@pytest.fixture(scope="session", autouse=True)
def begun_beside_the_others(request: pytest.FixtureRequest) -> None:
    if any("poisoned" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("poisoned")


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
