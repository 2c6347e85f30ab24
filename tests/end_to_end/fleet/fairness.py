"""A small job beside a large one, on the Procfile's own processes: figures for a machine that does nothing else.

`pytest -s tests/end_to_end/fleet/fairness.py`; it is no part of `make test`, which has `tests/end_to_end/test_fairness.py`:
on a busy machine slots are missed, and rows that come back are late whoever's they are. `FAIRNESS_ROWS`: of the large job.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from tests.end_to_end.fleet.fleet import Fleet, open_fleet
from tests.postgres import Databases

LARGE = int(os.environ.get("FAIRNESS_ROWS", "100000"))
SMALL = 100


@pytest.fixture
def fleet(databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.chdir(tmp_path)
    limit = {"CYCLR_CALLS_PER_SECOND": "100", "CYCLR_BURST": "10"}
    with open_fleet(tmp_path, databases, **limit) as opened:
        opened.release()
        opened.launch("sweep")
        opened.launch_worker("--concurrency", "2")
        yield opened


def run_small(fleet: Fleet, name: str) -> tuple[int, float]:
    """The calls that Cyclr saw from the job's acceptance to its last install, and the seconds that it took."""
    accounts = [f"{name}-{number}" for number in range(SMALL)]
    job_id = fleet.submit(accounts)
    seen_before = len(fleet.simulator.ledger.calls)
    fleet.wait_for(job_id, "completed")
    mine = set(accounts)
    calls = list(fleet.simulator.ledger.calls)
    last = max(n for n, call in enumerate(calls) if call.kind == "install" and call.account_id in mine)
    job = fleet.job(job_id)
    return last + 1 - seen_before, (job.finished_at - job.started_at).total_seconds()


@pytest.mark.timeout(3600)
def test_a_small_job_beside_a_large_one_waits_for_its_share_and_no_more(fleet: Fleet) -> None:
    alone = [run_small(fleet, f"alone{n}") for n in range(3)]
    large = [f"large-{number}" for number in range(LARGE)]
    large_id = fleet.submit(large)
    fleet.wait_for_installs(large, 50)
    beside = [run_small(fleet, f"beside{n}") for n in range(3)]
    assert fleet.job(large_id).state == "running", "the large job ended before the small ones"
    fleet.say("cancel", large_id, "--yes")
    print(f"beside {LARGE} rows: {beside}; alone: {alone}")  # noqa: T201 - the figures, for whoever measures
    assert median(calls for calls, _ in beside) <= 3 * SMALL
    assert median(s for _, s in beside) <= 3 * median(s for _, s in alone)
