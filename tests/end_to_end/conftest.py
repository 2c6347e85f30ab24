"""Rigs for tests: each with a simulator and a database of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.harness import Rig, small_world
from worker.simulator.server import SimulatorThread
from worker.store.schema import upgrade
from worker.store.session import open_engine

ACCOUNTS = ("acme", "globex", "initech", "umbrella")

MakeRig = Callable[..., Rig]


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of today's schema, to be copied."""
    path = tmp_path_factory.mktemp("schema") / "empty.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture
def name_check() -> bool:
    """Whether Cyclr refuses a Name that is in use. Tests are parametrised over both where an install may be repeated."""
    return True


@pytest.fixture
def make_rig(tmp_path: Path, schema: Path, name_check: bool) -> Iterator[MakeRig]:
    with ExitStack() as stack:

        def make(*accounts: str, **settings: Any) -> Rig:
            simulator = stack.enter_context(SimulatorThread(small_world(*(accounts or ACCOUNTS))))
            simulator.call(lambda world: setattr(world.switches, "name_check", name_check))
            rig = Rig(tmp_path, schema, simulator, **settings)
            stack.callback(rig.end)
            return rig

        yield make


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    return make_rig()
