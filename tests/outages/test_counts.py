"""What an install costs the database, counted: no load and no distance makes the loop claim for nothing."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from tests.delay import delaying_proxy
from tests.end_to_end.fleet.fleet import Fleet, end, open_fleet, worker_processes
from tests.end_to_end.processes.commands import eventually
from tests.postgres import Databases
from tests.started import start_process
from worker.store.session import reading


@dataclass(frozen=True, slots=True)
class Counts:
    """Of the database, for each install. `updates`: of items; a claim is one, a settle is one."""

    updates: float
    commits: float


def counters(fleet: Fleet) -> tuple[int, int]:
    """Updates of items, and commits, since ever; a session tells of its own a second later at most."""
    with reading(fleet.engine) as connection:
        connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        updates = connection.execute(
            text("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'items'")
        ).scalar_one()
        commits = connection.execute(
            text("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        ).scalar_one()
    return updates, commits


def count(fleet: Fleet, rows: int) -> Counts:
    """Of workers alone: nobody sweeps, and nobody asks how the job stands."""
    accounts = [f"account-{number}" for number in range(rows)]
    job_id = fleet.submit(accounts)
    before = counters(fleet)
    all_are_there = f"{rows} installs"
    eventually(lambda: len(fleet.calls("install", accounts)) >= rows, all_are_there, within_s=240)
    assert end(fleet.worker) == 0  # it settles what it holds, and its sessions tell of all that they did
    after = counters(fleet)
    assert fleet.job(job_id).installed == rows
    return Counts((after[0] - before[0]) / rows, (after[1] - before[1]) / rows)


@contextmanager
def busy_loops(many: int) -> Iterator[None]:
    loops = [start_process([sys.executable, "-c", "while True: pass"]) for _ in range(many)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@contextmanager
def a_fleet(
    databases: Databases, folder: Path, *, processes: int = 2, loops: int = 0, delay_s: float = 0.0
) -> Iterator[Fleet]:
    """Workers whose database answers so late, with so many busy loops beside them."""
    limit = {"CYCLR_CALLS_PER_SECOND": "2000", "CYCLR_BURST": "20", "CYCLR_TIMEOUT_S": "30"}
    with ExitStack() as stack:
        fleet = stack.enter_context(open_fleet(folder, databases, **limit))
        fleet.release()
        url = fleet.settings["DATABASE_URL"]
        far = folder / "far"
        far.mkdir()
        proxy = stack.enter_context(delaying_proxy(Path(str(make_url(url).query["host"])), far))
        way = proxy.url(url) if delay_s else url
        fleet.worker = fleet.launch("worker", "--concurrency", str(processes), DATABASE_URL=way)
        eventually(lambda: len(worker_processes(fleet.worker)) == processes, "its processes are up")
        proxy.delay_s = delay_s  # not for the start, which would take a minute
        stack.enter_context(busy_loops(loops))
        yield fleet


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("rows", "processes", "loops", "delay_s"),
    [(2_000, 2, 0, 0.0), (2_000, 2, 8, 0.0), (2_000, 8, 0, 0.0), (400, 2, 0, 0.3)],
    ids=["alone", "beside_busy_loops", "eight_processes", "a_database_0_3_s_away"],
)
def test_an_install_costs_a_claim_and_a_settle(
    databases: Databases,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    processes: int,
    loops: int,
    delay_s: float,
) -> None:
    monkeypatch.chdir(tmp_path)
    with a_fleet(databases, tmp_path, processes=processes, loops=loops, delay_s=delay_s) as fleet:
        counts = count(fleet, rows)
    # A claim and a settle for each, and few that are claimed or held on to once more.
    assert counts.updates <= 2.3
    if rows >= 1_000:  # a short job's beginning and end count for much
        assert counts.commits <= 0.2
