import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from tests.faults.cutter import CommitCutter, commit_cutter
from tests.postgres import PostgresServer, postgres_server
from worker.store.session import open_engine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def cutter(postgres: PostgresServer) -> Iterator[CommitCutter]:
    with (
        tempfile.TemporaryDirectory(prefix="cut-") as folder,
        commit_cutter(postgres.folder, Path(folder)) as made,
    ):
        yield made


@pytest.fixture
def engine(postgres: PostgresServer, cutter: CommitCutter) -> Iterator[Engine]:
    opened = open_engine(cutter.url(postgres.new_database()))
    with opened.begin() as connection:
        connection.execute(text("CREATE TABLE written (n int)"))
    yield opened
    opened.dispose()


def write(engine: Engine, n: int) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO written VALUES (:n)"), {"n": n})


def read(engine: Engine) -> list[int]:
    with engine.begin() as connection:
        return list(connection.execute(text("SELECT n FROM written ORDER BY n")).scalars())


def test_a_cut_commit_is_done_and_its_client_hears_of_no_answer(engine: Engine, cutter: CommitCutter) -> None:
    for n in range(8):  # often enough for the statement to be sent by its name only
        write(engine, n)
    cutter.arm(1)
    assert read(engine) == list(range(8))
    with pytest.raises(OperationalError) as raised:
        write(engine, 8)
    assert raised.value.connection_invalidated
    assert cutter.cuts == 1
    assert read(engine) == list(range(9))


def test_it_cuts_so_often_and_not_again(engine: Engine, cutter: CommitCutter) -> None:
    cutter.arm(2)
    for n in (1, 2):
        with pytest.raises(OperationalError):
            write(engine, n)
    write(engine, 3)
    assert (read(engine), cutter.cuts) == ([1, 2, 3], 2)
