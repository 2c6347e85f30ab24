"""How often the loop asks the database what is due, and what it claims ahead of the room for its calls."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import event

from tests.clocks import HeldClock
from tests.end_to_end.conftest import MakeRig
from tests.end_to_end.harness import Rig, row, until
from worker.clock import Moment
from worker.installing import attempt, run
from worker.store.claiming import ClaimedItem, claim


def test_one_count_of_what_is_due_serves_many_claims(make_rig: MakeRig) -> None:
    accounts = [f"account-{n:03d}" for n in range(400)]
    rig = make_rig(*accounts, cyclr_concurrency=10)
    rig.simulator.call(lambda world: setattr(world.faults, "latency_s", (0.03, 0.06)))
    job_id = rig.load(*(row(account) for account in accounts))
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(rig.engine, "before_cursor_execute", note)
    rig.play(rig.new_run(clock=HeldClock()).run(for_s=60))
    event.remove(rig.engine, "before_cursor_execute", note)
    # A count is some statements; each of them is made so often.
    counts = Counter(statement for statement in asked if statement.startswith("SELECT count("))
    claims = [
        statement for statement in asked if statement.startswith("UPDATE items SET state=?, claim_id=?")
    ]
    assert rig.job(job_id).installed == 400
    assert len(claims) >= 20
    assert 2 * max(counts.values()) < len(claims)


def most_at_a_time(rig: Rig) -> int:
    """The most install calls that Cyclr worked on at once."""
    steps = [(call.received_at, 1) for call in rig.ledger.calls_of("install")]
    steps += [(call.ended_at, -1) for call in rig.ledger.calls_of("install")]
    now = most = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most


@pytest.fixture
def claimed(monkeypatch: pytest.MonkeyPatch) -> list[ClaimedItem]:
    """Every item that is claimed, each time."""
    taken: list[ClaimedItem] = []

    def note(*args: Any, **kwargs: Any) -> tuple[Moment, list[ClaimedItem]]:
        claimed_at, items = claim(*args, **kwargs)
        taken.extend(items)
        return claimed_at, items

    monkeypatch.setattr(run, "claim", note)
    return taken


def test_items_are_claimed_ahead_and_no_more_calls_are_made_at_a_time(
    make_rig: MakeRig, claimed: list[ClaimedItem]
) -> None:
    accounts = [f"account-{n:03d}" for n in range(200)]
    rig = make_rig(*accounts, cyclr_concurrency=8)
    rig.simulator.call(lambda world: setattr(world.faults, "latency_s", (0.02, 0.02)))
    rig.load(*(row(account) for account in accounts))
    install_run = rig.new_run()
    in_hand: list[int] = []

    async def watch() -> None:
        working = asyncio.create_task(install_run.run(for_s=60))
        while not working.done():
            in_hand.append(len(claimed) - len(rig.ledger.calls_of("install")))
            await asyncio.sleep(0.002)
        await working

    rig.play(watch())
    assert rig.job(rig.job_ids[-1]).installed == 200
    assert most_at_a_time(rig) == 8
    assert max(in_hand[len(in_hand) // 3 :]) > 8


def test_an_item_that_finds_no_room_is_given_back_untried(
    make_rig: MakeRig, claimed: list[ClaimedItem], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "ROOM_WITHIN_S", 0.05)
    accounts = [f"account-{n:03d}" for n in range(200)]
    rig = make_rig(*accounts, cyclr_concurrency=8)
    rig.simulator.call(lambda world: setattr(world.faults, "latency_s", (0.01, 0.01)))
    job_id = rig.load(*(row(account) for account in accounts))

    async def slow_down() -> None:
        working = asyncio.create_task(rig.new_run().run(for_s=60))
        await until(lambda: rig.job(job_id).installed >= 60)
        rig.simulator.call(lambda world: setattr(world.faults, "latency_s", (0.3, 0.3)))
        await working

    rig.play(slow_down())
    assert len(claimed) > 200, "nothing was given back"
    assert rig.job(job_id).installed == 200
    tried = {(rig.item(account).attempts, rig.item(account).deaths) for account in accounts}
    assert tried == {(1, 0)}
    assert len(rig.ledger.calls_of("install")) == 200


def test_a_process_has_its_token_before_it_reserves_slots_and_claims_items(
    make_rig: MakeRig, claimed: list[ClaimedItem], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token's own call has to wait behind every slot that is reserved, so that they go by, and the items for
    them are claimed for nothing."""
    accounts = [f"account-{n:03d}" for n in range(20)]
    rig = make_rig(*accounts)
    job_id = rig.load(*(row(account) for account in accounts))
    rig.reopen()  # a new process: without a token
    before = len(rig.ledger.calls_of("token"))
    tokens_then: list[int] = []
    reserve = rig.limiter.reserve

    async def note(*args: Any, **kwargs: Any) -> Any:
        tokens_then.append(len(rig.ledger.calls_of("token")) - before)
        return await reserve(*args, **kwargs)

    monkeypatch.setattr(rig.limiter, "reserve", note)
    rig.play(rig.new_run().run(for_s=60))
    assert (tokens_then[0], len(claimed)) == (1, 20)
    assert rig.job(job_id).installed == 20
    assert len(rig.ledger.calls_of("token")) == before + 1
