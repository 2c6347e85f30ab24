"""A desk for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.cli.desk import Desk, world
from worker.simulator.server import SimulatorThread


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.chdir(tmp_path)
    with SimulatorThread(world()) as simulator:
        desk = Desk(tmp_path, simulator)
        yield desk
        desk.assert_no_secret_was_said()
