from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.store.databases import Loads, copy_database
from worker.store.session import Engine, open_engine, upgrade


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database at head, made once and copied for every test."""
    path = tmp_path_factory.mktemp("template") / "store.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture
def engine(template: Path, tmp_path: Path) -> Iterator[Engine]:
    opened = copy_database(template, tmp_path)
    yield opened
    opened.dispose()


@pytest.fixture
def loads(engine: Engine) -> Loads:
    return Loads(engine)
