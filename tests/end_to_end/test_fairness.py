"""A small job beside a large one: it gets half of the calls, as soon as what was reserved before is used up.

Counted in calls that Cyclr saw, since the limiter turns them into time: alone, 100 rows take 100 of them.
`tests/end_to_end/fleet/fairness.py` measures the time, with real processes.
"""

import asyncio
from contextlib import suppress
from statistics import median

import pytest

from tests.end_to_end.conftest import MakeRig
from tests.end_to_end.harness import CRM, Rig, until
from worker.domain.options import RunOptions

SMALL, LARGE = 100, 2_000


def rows_of(name: str, count: int) -> list[dict[str, str]]:
    return [{"account_id": f"{name}-{number}", "connector": CRM} for number in range(count)]


def run_beside_what_runs(rig: Rig, name: str) -> int:
    """How many calls Cyclr saw from when this small job was loaded until its last install."""
    options = RunOptions(no_look=True)
    checked = rig.check(rows_of(name, SMALL), options)

    async def scene() -> int:
        seen = rig.ledger.calls
        before = len(seen)
        working = asyncio.create_task(rig.drive_on())
        await until(lambda: len(seen) >= before + 50)
        job_id = await asyncio.to_thread(rig.hand_in, checked, options)
        handed_in_at = len(seen)
        await until(lambda: rig.job(job_id).finished_at is not None)
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        mine = [n for n, call in enumerate(seen) if (call.account_id or "").startswith(f"{name}-")]
        return mine[-1] + 1 - handed_in_at

    return rig.play(scene())


@pytest.mark.slow
def test_a_small_job_beside_a_large_one_waits_for_its_share_and_no_more(make_rig: MakeRig) -> None:
    names = ("first", "second", "third")
    accounts = [line["account_id"] for name in names for line in rows_of(name, SMALL)]
    accounts += [line["account_id"] for line in rows_of("large", LARGE)]
    rig = make_rig(*accounts, cyclr_calls_per_second=100, cyclr_burst=10)
    large_id = rig.load(*rows_of("large", LARGE))
    calls = [run_beside_what_runs(rig, name) for name in names]
    assert rig.job(large_id).state == "running"
    assert median(calls) <= 3 * SMALL, calls
