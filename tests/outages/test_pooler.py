"""A deployment whose every process reaches PostgreSQL through a pooler in transaction mode, and a `submit` that was stopped."""

import signal
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from tests.end_to_end.fleet.fleet import Fleet, end, open_fleet
from tests.end_to_end.processes.commands import ROOT, Command, eventually
from tests.pooler import LEFT_IN_A_SESSION, Pooler, transaction_pooler
from tests.postgres import Databases, postgres_server
from worker.store.session import reading
from worker.store.tables import items, jobs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Pooled(Databases):
    """Databases of the server behind the pooler, by the pooler's URL."""

    def __init__(self, url: str, pooler: Pooler) -> None:
        super().__init__(url)
        self.pooler = pooler

    def new(self, template: str = "template1") -> str:
        return self.pooler.url(super().new(template))

    def drop(self, url: str) -> None:
        """It goes with its server."""


@pytest.fixture(scope="module")
def databases() -> Iterator[Pooled]:
    with postgres_server() as server, transaction_pooler(server.folder, sessions=6) as pooler:
        yield Pooled(f"postgresql://postgres@/postgres?host={server.folder}", pooler)


@pytest.fixture(scope="module")
def running(databases: Pooled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with open_fleet(tmp_path_factory.mktemp("pooled"), databases) as fleet:
        fleet.release()
        fleet.launch("sweep")
        fleet.launch_worker("--concurrency", "2")
        yield fleet
        fleet.assert_never_twice()
        fleet.assert_no_secret_was_said()


def accounts(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:05}" for number in range(count)]


def loaded(fleet: Fleet, source_name: str) -> tuple[str, int] | None:
    """The load of this file that is under way, and how many rows of it are there."""
    with reading(fleet.engine) as connection:
        found = select(jobs.c.id).where(jobs.c.state == "loading", jobs.c.source_name == source_name)
        job_id = connection.execute(found).scalar()
        count = connection.execute(select(func.count()).where(items.c.job_id == job_id)).scalar_one()
    return None if job_id is None else (job_id, count)


def test_jobs_go_through_a_pooler_one_after_the_other_and_nothing_is_left_in_its_sessions(
    fleet: Fleet, databases: Pooled
):
    for prefix in ("one", "two", "three"):
        ids = accounts(prefix, 40)
        job_id = fleet.submit(ids)
        fleet.wait_for(job_id, "completed")
        assert fleet.states(job_id) == ["installed"] * 40
        assert len(fleet.calls("install", ids)) == 40
    left = databases.pooler.ask_each(LEFT_IN_A_SESSION)
    assert left == [["0"]] * len(left)
    assert left
    assert databases.pooler.refused == []


def test_a_submit_that_was_stopped_in_mid_load_holds_up_nobody_and_does_no_harm_when_it_wakes(fleet: Fleet):
    many = accounts("many", 30_000)
    stopped = Command(
        [str(ROOT / ".venv/bin/cyclr-bulk"), "submit", str(fleet.file(many, "many.csv")), "--yes"],
        env=fleet.environment(),
        folder=fleet.folder,
        name="stopped",
    )
    fleet.commands.append(stopped)
    try:
        job_id, _ = eventually(
            lambda: (found := loaded(fleet, "many.csv")) and found[1] and found,
            "a piece is loaded",
            every_s=0.01,
        )
        stopped.send(signal.SIGSTOP)
        others = fleet.say("submit", fleet.file(accounts("others", 20), "others.csv"), "--yes")
        assert others.code == 0, others.err
        fleet.wait_for(others.out.strip(), "completed")
        assert "Waiting" not in others.err

        # The very first rows of the file: they are there for certain.
        mine = fleet.say("submit", fleet.file(many[:20], "mine.csv"), "--yes")
        assert mine.code == 0, mine.err
        [waited] = [line for line in mine.err.splitlines() if line.startswith("Waiting")]
        assert waited.startswith(f"Waiting for job {job_id} (many.csv), which is being loaded since ")
        assert f" UTC by process {stopped.pid} on " in waited
        fleet.wait_for(mine.out.strip(), "completed")
        assert fleet.states(mine.out.strip()) == ["installed"] * 20

        stopped.send(signal.SIGCONT)
        assert stopped.wait() == 2
        assert stopped.err.splitlines()[-2:] == [
            f"job {job_id} was loaded too slowly and was taken for abandoned; nothing of it was installed, run it again",
            "Nothing was changed.",
        ]
        assert loaded(fleet, "many.csv") is None
        assert len(fleet.calls("install", many)) == 20
    finally:
        stopped.send(signal.SIGCONT)
        end(stopped)
