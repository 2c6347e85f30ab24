"""Rigs for tests: each with a simulator and a database of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.harness import Rig, small_world
from tests.integration.store.databases import SqliteStores
from worker.simulator.server import SimulatorThread

ACCOUNTS = ("acme", "globex", "initech", "umbrella")

MakeRig = Callable[..., Rig]


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> SqliteStores:
    """New databases of today's schema."""
    return SqliteStores(tmp_path_factory.mktemp("databases"))


@pytest.fixture
def name_check() -> bool:
    """Whether Cyclr refuses a Name that is in use. Tests are parametrised over both where an install may be repeated."""
    return True


@pytest.fixture
def make_rig(tmp_path: Path, databases: SqliteStores, name_check: bool) -> Iterator[MakeRig]:
    with ExitStack() as stack:

        def make(*accounts: str, **settings: Any) -> Rig:
            simulator = stack.enter_context(SimulatorThread(small_world(*(accounts or ACCOUNTS))))
            simulator.call(lambda world: setattr(world.switches, "name_check", name_check))
            engine = databases.new()
            stack.callback(databases.drop, engine)
            rig = Rig(tmp_path, engine, simulator, **settings)
            stack.callback(rig.end)
            return rig

        yield make


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    return make_rig()
