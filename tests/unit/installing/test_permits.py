"""The last check before a request is written, on a clock that the test holds."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from tests.clocks import HeldClock
from worker.clock import Moment
from worker.cyclr.errors import GateClosed, NotStarted, SlotMissed
from worker.cyclr.limiter import Limiter
from worker.cyclr.slots import Slot
from worker.domain.steps import ACCOUNT, CONNECTOR, StepKind
from worker.installing.permits import GivenBack, HeldPermit
from worker.store.claiming import Standing

CLAIM_S, DEADLINE_S = 40.0, 30.0


class OpenSlot:
    """A slot whose time has come. `meanwhile`: what happens while it is waited for; `failure`: what becomes of it."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] = lambda: None
        self.failure: Exception | None = None

    def starts_in_s(self) -> float:
        return 0.0

    async def ready(self) -> None:
        self.meanwhile()
        if self.failure is not None:
            raise self.failure


class OpenLimiter:
    """Gives a slot at once; while `is_closed`, never."""

    def __init__(self) -> None:
        self.is_closed = False

    async def one(self, within_s: float = 2.0) -> OpenSlot:
        if self.is_closed:
            await asyncio.Event().wait()
        return OpenSlot()


class Desk:
    """Permits of one attempt, and what they depend on."""

    def __init__(self, *, claim_s: float = CLAIM_S, deadline_s: float = DEADLINE_S) -> None:
        self.clock = HeldClock()
        self.limiter = OpenLimiter()
        self.standing = Standing.HELD
        self.prolonged = 0
        self.seen = 0
        self.begun = 0
        self.missed = 0
        self.is_stopping = False
        self.first_slot = OpenSlot()
        self.permit = HeldPermit(
            cast(Slot, self.first_slot),
            claimed_at=self.clock.moment(),
            claim_s=claim_s,
            deadline_s=deadline_s,
            limiter=cast(Limiter, self.limiter),
            holder=self,
            is_stopping=lambda: self.is_stopping,
            clock=self.clock,
        )

    async def prolong(self) -> tuple[Moment, Standing]:
        self.prolonged += 1
        return self.clock.moment(), self.standing

    async def see(self) -> tuple[Moment, Standing]:
        self.seen += 1
        return self.clock.moment(), self.standing

    def note_begun(self) -> None:
        self.begun += 1

    def note_missed(self) -> None:
        self.missed += 1

    async def call(self, call: StepKind | str, meanwhile: Callable[[], None] = lambda: None) -> None:
        permit = await self.permit.next(call)
        meanwhile()
        await permit.ready()


def test_a_call_starts_at_once_while_its_claim_and_its_job_were_seen_lately() -> None:
    desk = Desk()
    asyncio.run(desk.call(CONNECTOR, lambda: desk.clock.go_on(1.8)))
    assert desk.permit.is_calling
    assert (desk.begun, desk.seen, desk.prolonged) == (1, 0, 0)


def test_the_job_is_asked_for_before_a_call_where_it_was_not_seen_for_long() -> None:
    desk = Desk()
    asyncio.run(desk.call(CONNECTOR, lambda: desk.clock.go_on(1.801)))
    assert desk.permit.is_calling
    assert (desk.seen, desk.prolonged) == (1, 0)


def test_a_claim_serves_while_a_whole_deadline_is_left() -> None:
    desk = Desk()
    asyncio.run(desk.call(CONNECTOR, lambda: desk.clock.go_on(10.0)))
    assert desk.prolonged == 0


def test_no_call_starts_with_less_than_a_deadline_left_of_its_claim() -> None:
    desk = Desk()
    desk.standing = Standing.LOST
    with pytest.raises(GivenBack, match="the claim was lost"):
        asyncio.run(desk.call(CONNECTOR, lambda: desk.clock.go_on(10.001)))
    assert not desk.permit.is_calling
    assert desk.prolonged == 1


def test_a_claim_with_less_than_a_deadline_left_is_prolonged_before_the_call() -> None:
    desk = Desk()
    asyncio.run(desk.call(CONNECTOR, lambda: desk.clock.go_on(10.001)))
    assert desk.permit.is_calling
    assert desk.prolonged == 1


@pytest.mark.parametrize("clock", ["elapsing_s", "wall_s"])
def test_a_jump_of_either_clock_is_seen(clock: str) -> None:
    desk = Desk()
    desk.standing = Standing.LOST
    with pytest.raises(GivenBack, match="the claim was lost"):
        asyncio.run(desk.call(CONNECTOR, lambda: setattr(desk.clock, clock, getattr(desk.clock, clock) + 11)))


def test_a_wall_clock_that_was_set_back_hides_nothing() -> None:
    desk = Desk()
    desk.standing = Standing.LOST

    def sleep_and_set_back() -> None:
        desk.clock.go_on(11.0)
        desk.clock.wall_s -= 3600

    with pytest.raises(GivenBack, match="the claim was lost"):
        asyncio.run(desk.call(CONNECTOR, sleep_and_set_back))


@pytest.mark.parametrize("clock", ["elapsing_s", "wall_s"])
def test_a_process_that_was_frozen_while_it_waited_for_its_slot_asks_again(clock: str) -> None:
    """The very last thing before a request is written: here the machine slept while the slot was waited for."""
    desk = Desk()
    desk.standing = Standing.LOST
    desk.first_slot.meanwhile = lambda: setattr(desk.clock, clock, getattr(desk.clock, clock) + 11)
    with pytest.raises(GivenBack, match="the claim was lost"):
        asyncio.run(desk.call(CONNECTOR))
    assert not desk.permit.is_calling


def test_a_pause_is_heard_by_a_call_that_waited_for_its_slot() -> None:
    desk = Desk()
    desk.standing = Standing.STOPPED
    desk.first_slot.meanwhile = lambda: desk.clock.go_on(1.9)
    with pytest.raises(GivenBack, match="the job was paused"):
        asyncio.run(desk.call(CONNECTOR))
    assert (desk.seen, desk.prolonged) == (1, 0)


@pytest.mark.parametrize("failure", [SlotMissed(), GateClosed(1.0)])
def test_a_slot_that_went_by_is_replaced_while_the_claim_holds(failure: Exception) -> None:
    desk = Desk()
    desk.first_slot.failure = failure
    asyncio.run(desk.call(CONNECTOR))
    assert desk.permit.is_calling
    assert (desk.missed, desk.begun, desk.prolonged) == (1, 1, 0)


def test_the_first_call_needs_no_prolonging_and_each_further_one_does() -> None:
    desk = Desk()

    async def three_calls() -> None:
        for call in (ACCOUNT, "look", CONNECTOR):
            await desk.call(call)

    asyncio.run(three_calls())
    assert desk.prolonged == 2


def test_a_prolonged_claim_counts_from_when_it_was_asked_for() -> None:
    desk = Desk()

    async def a_look_of_a_whole_deadline_then_an_install() -> None:
        await desk.call("look")
        desk.clock.go_on(DEADLINE_S)
        await desk.call(CONNECTOR, lambda: desk.clock.go_on(10.0))

    asyncio.run(a_look_of_a_whole_deadline_then_an_install())
    assert desk.permit.is_calling


@pytest.mark.parametrize(
    ("standing", "call", "reason"),
    [
        (Standing.LOST, "look", "the claim was lost"),
        (Standing.LOST, CONNECTOR, "the claim was lost"),
        (Standing.STOPPED, "look", "the job was paused"),
        (Standing.STOPPED, CONNECTOR, "the job was paused"),
        (Standing.CALLED_OFF, CONNECTOR, "the job was cancelled"),
        (Standing.CALLED_OFF, ACCOUNT, "the job was cancelled"),
        (Standing.CALLED_OFF, "connector", "the job was cancelled"),
        (Standing.CALLED_OFF, "look", None),
        (Standing.CALLED_OFF, "account", None),
    ],
)
def test_a_further_call_is_made_only_while_the_job_wants_it(
    standing: Standing, call: StepKind | str, reason: str | None
) -> None:
    desk = Desk()

    async def a_look_and_then() -> None:
        await desk.call("look")
        desk.standing = standing
        await desk.call(call)

    if reason is None:
        asyncio.run(a_look_and_then())
    else:
        with pytest.raises(GivenBack, match=reason):
            asyncio.run(a_look_and_then())
    assert desk.permit.is_calling is (reason is None)


def test_nothing_is_begun_once_the_process_is_to_stop() -> None:
    desk = Desk()
    desk.is_stopping = True
    with pytest.raises(GivenBack, match="this process ends"):
        asyncio.run(desk.call(CONNECTOR))


def test_an_item_is_given_back_before_its_claim_ends_where_no_slot_comes() -> None:
    desk = Desk(claim_s=2.1, deadline_s=0.05)

    async def a_look_and_then_a_closed_gate() -> None:
        await desk.call("look")
        desk.limiter.is_closed = True
        await desk.call(CONNECTOR)

    with pytest.raises(GivenBack, match="nobody may call for longer than the claim lasts"):
        asyncio.run(a_look_and_then_a_closed_gate())


def test_giving_back_is_not_tried_again_by_those_who_read_patiently() -> None:
    assert not issubclass(GivenBack, NotStarted)


def test_a_step_that_is_not_written_down_yet_is_written_before_its_call() -> None:
    desk = Desk()

    async def step() -> None:
        permit = await desk.permit.next(CONNECTOR, is_written=False)
        assert desk.prolonged == 1
        await permit.ready()

    asyncio.run(step())
    assert (desk.permit.is_calling, desk.prolonged) == (True, 1)


def test_what_fails_before_a_permit_is_given_is_no_failure_of_the_call() -> None:
    desk = Desk()
    assert desk.permit.call_in_flight == "account"
    asyncio.run(desk.permit.next(CONNECTOR))
    assert desk.permit.call_in_flight == "account"


def test_what_fails_after_it_is_a_failure_of_the_call() -> None:
    desk = Desk()
    asyncio.run(desk.call(CONNECTOR))
    assert desk.permit.call_in_flight == CONNECTOR
