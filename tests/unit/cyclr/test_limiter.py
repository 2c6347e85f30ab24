import asyncio
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.clocks import HeldClock
from tests.limits import BrokenGate, KeptGate
from worker.cyclr.errors import GateClosed, LimiterAway, SlotMissed
from worker.cyclr.limiter import GateStore, InProcessLimiter
from worker.cyclr.limiter_rule import SECOND, Limit, Reply, Rule
from worker.cyclr.slots import Gate, Slot
from worker.domain.pace import LimiterState, Pace


def limiter(
    clock: HeldClock, *, rate: float = 10, burst: int = 10, gates: GateStore | None = None
) -> InProcessLimiter:
    return InProcessLimiter(Rule(), limit=Limit(rate, burst), gates=gates, clock=clock, sleep=clock.sleep)


async def rested(clock: HeldClock, *, rate: float = 10, burst: int = 10) -> InProcessLimiter:
    fresh = limiter(clock, rate=rate, burst=burst)
    await fresh.state()
    clock.go_on(60)
    return fresh


class FarLimiter(InProcessLimiter):
    """A limiter that is asked over a wire: so long there, so long back."""

    def __init__(self, clock: HeldClock, *, there_s: float, back_s: float) -> None:
        super().__init__(Rule(), limit=Limit(10, 1), gates=None, clock=clock, sleep=clock.sleep)
        self.clock = clock
        self.there_s = there_s
        self.back_s = back_s
        self.is_away = False
        self.slow_questions = range(1, 1_000)  # of those for slots: all
        self.reserved: list[float] = []  # by each question

    async def ask_rule(self, question: str, *given: float) -> Reply:
        if self.is_away:
            raise LimiterAway
        if question == "reserve":
            self.reserved.append(given[0])
            await asyncio.sleep(0)  # others get their turn meanwhile, as over a wire
        self.clock.go_on(self.there_s)
        reply = await super().ask_rule(question, *given)
        if len(self.reserved) in self.slow_questions:
            self.clock.go_on(self.back_s)
        return reply

    def flush(self) -> None:
        self._rule = Rule()


async def far(clock: HeldClock, *, there_s: float, back_s: float) -> FarLimiter:
    opened = FarLimiter(clock, there_s=there_s, back_s=back_s)
    await opened.declare_idle()
    clock.go_on(60)
    return opened


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def hang(seconds: float) -> None:
    await asyncio.Event().wait()


def starts_in(slots: list[Slot]) -> list[float]:
    return [round(max(0.0, slot.starts_in_s()), 3) for slot in slots]


def test_gives_slots_at_the_configured_rate() -> None:
    async def work() -> None:
        reservation = await (await rested(HeldClock(), burst=2)).reserve(4)
        assert starts_in(reservation.slots) == [0, 0, 0.1, 0.2]
        assert reservation.retry_in_s == 0

    run(work())


def test_says_how_long_to_sleep_until_half_of_the_horizon_is_free_again() -> None:
    async def work() -> None:
        clock = HeldClock()
        asked = await rested(clock)
        first = await asked.reserve(1000)
        assert len(first.slots) == 20
        assert round(first.retry_in_s, 3) == 0.6
        clock.go_on(0.61)
        assert len((await asked.reserve(1000)).slots) == 6

    run(work())


def test_the_first_slot_after_a_start_waits_for_reservations_that_may_be_out() -> None:
    async def work() -> None:
        clock = HeldClock()
        slot = await limiter(clock).one()
        assert 2.25 <= clock.elapsing_s - 1_000 + slot.starts_in_s() < 2.26

    run(work())


def test_an_idle_start_does_not_wait() -> None:
    async def work() -> None:
        fresh = limiter(HeldClock())
        await fresh.declare_idle()
        assert starts_in((await fresh.reserve(2)).slots) == [0.1, 0.2]

    run(work())


def test_limiters_of_one_process_share_its_limit() -> None:
    async def work() -> None:
        clock, rule = HeldClock(), Rule()
        first, second = (
            InProcessLimiter(rule, limit=Limit(10, 10), gates=None, clock=clock, sleep=clock.sleep)
            for _ in range(2)
        )
        await first.declare_idle()
        clock.go_on(60)
        assert len((await first.reserve(1000)).slots) == 20
        assert (await second.reserve(1000)).slots == []
        clock.go_on(0.5)
        assert len((await second.reserve(1000)).slots) == 5
        await first.close_gate(30, slow_down=False)
        assert (await second.state()).gate_closed_for_s == 30

    run(work())


def test_a_later_limiter_of_a_process_does_not_wait_as_the_first_did() -> None:
    async def work() -> None:
        clock, rule = HeldClock(), Rule()
        waited_s = []
        for _ in range(2):
            began = clock.elapsing_s
            opened = InProcessLimiter(rule, limit=Limit(10, 1), gates=None, clock=clock, sleep=clock.sleep)
            slot = await opened.one()
            waited_s.append(round(clock.elapsing_s - began + slot.starts_in_s(), 3))
            clock.go_on(10)
        assert waited_s == [2.25, 0.0]

    run(work())


def test_a_rule_may_be_asked_by_several_threads() -> None:
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns all the time
    rule = Rule()
    rule.ask(0, "restore", Limit(10_000, 1), 0)
    with ThreadPoolExecutor(8) as pool:
        replies = list(
            pool.map(
                lambda _: rule.ask(10 * SECOND, "reserve", Limit(10_000, 1), 1, 2 * SECOND), range(10_000)
            )
        )
    sys.setswitchinterval(usual_s)
    first_in = [reply.first_in for reply in replies if reply.granted]
    assert sorted(first_in) == [100 * n for n in range(10_000)]


def test_a_slot_is_ready_at_its_time() -> None:
    async def work() -> None:
        clock = HeldClock()
        asked = await rested(clock, burst=1)
        slots = (await asked.reserve(2)).slots
        await slots[1].ready()
        assert round(clock.elapsing_s - 1_060, 6) == 0.1

    run(work())


def test_a_slot_permits_one_call() -> None:
    async def work() -> None:
        slot = await (await rested(HeldClock())).one()
        await slot.ready()
        with pytest.raises(RuntimeError, match="one call"):
            await slot.ready()

    run(work())


@pytest.mark.parametrize("late_s", [0.26, 3.0, 3600.0])
def test_a_late_slot_is_forfeited(late_s: float) -> None:
    async def work() -> None:
        clock = HeldClock()
        slot = await (await rested(clock)).one()
        clock.go_on(late_s)
        with pytest.raises(SlotMissed):
            await slot.ready()

    run(work())


def test_a_sleep_that_lasts_too_long_forfeits_the_slot() -> None:
    async def work() -> None:
        clock = HeldClock()
        asked = await rested(clock, burst=1)
        slots = (await asked.reserve(5)).slots
        clock.oversleep_s = 0.26
        with pytest.raises(SlotMissed):
            await slots[3].ready()

    run(work())


def test_a_pause_that_only_the_wall_clock_saw_forfeits_the_slot() -> None:
    async def work() -> None:
        clock = HeldClock()
        slot = await (await rested(clock)).one()
        clock.wall_s += 0.26
        with pytest.raises(SlotMissed):
            await slot.ready()

    run(work())


def test_a_wall_clock_that_jumps_ahead_lets_no_call_start_early() -> None:
    async def work() -> None:
        clock = HeldClock()
        asked = await rested(clock, burst=1)
        slots = (await asked.reserve(3)).slots
        clock.wall_s += 0.2
        await slots[2].ready()
        assert round(clock.elapsing_s - 1_060, 6) == 0.2

    run(work())


def test_a_slot_starts_no_earlier_than_the_wait_after_the_answer() -> None:
    async def work() -> None:
        clock = HeldClock()
        slots = (await (await far(clock, there_s=0.0, back_s=0.1)).reserve(2)).slots
        answered_s = clock.elapsing_s
        await slots[1].ready()
        assert round(clock.elapsing_s - answered_s, 6) == 0.1

    run(work())


def test_lateness_counts_from_before_the_question() -> None:
    async def work() -> None:
        clock = HeldClock()
        slots = (await (await far(clock, there_s=0.1, back_s=0.0)).reserve(2)).slots
        clock.go_on(0.1 + 0.16)
        with pytest.raises(SlotMissed):
            await slots[1].ready()

    run(work())


def test_an_answer_that_took_longer_than_a_slot_may_be_late_gives_none() -> None:
    async def work() -> None:
        asked = await far(HeldClock(), there_s=0.1, back_s=0.2)
        with pytest.raises(LimiterAway):
            await asked.reserve(1)

    run(work())


def test_who_waits_for_a_slot_asks_again_after_an_answer_that_came_too_late() -> None:
    async def work() -> None:
        asked = await far(HeldClock(), there_s=0.1, back_s=0.2)
        asked.slow_questions = range(2, 4)
        slots = await asyncio.gather(*(asked.one() for _ in range(4)))
        assert len(slots) == 4
        # The first asks before the others come. What comes too late is lost to everybody: so next for one alone.
        assert asked.reserved == [1, 3, 1, 1, 2]

    run(work())


def test_who_waits_for_a_slot_is_told_where_answers_go_on_coming_too_late() -> None:
    async def work() -> None:
        clock = HeldClock()
        asked, began_s = await far(clock, there_s=0.1, back_s=0.2), clock.elapsing_s
        with pytest.raises(LimiterAway):
            await asked.one()
        assert 5 <= clock.elapsing_s - began_s < 6

    run(work())


def test_who_waits_for_a_slot_is_told_at_once_that_the_limiter_is_away_though_answers_came_too_late() -> None:
    async def work() -> None:
        asked = await far(HeldClock(), there_s=0.1, back_s=0.2)
        waiting = asyncio.create_task(asked.one())
        with pytest.raises(LimiterAway):
            await asked.reserve(1)
        asked.is_away = True
        assert not waiting.done()
        with pytest.raises(LimiterAway):
            await waiting

    run(work())


def test_a_gate_known_here_is_given_back_to_a_flushed_limiter_without_a_store() -> None:
    async def work() -> None:
        asked = await far(HeldClock(), there_s=0.0, back_s=0.0)
        await asked.close_gate(30, slow_down=False)
        asked.flush()
        assert (await asked.state()).gate_closed_for_s == 30

    run(work())


def test_a_gate_that_could_not_be_told_is_told_with_the_next_contact() -> None:
    async def work() -> None:
        asked = await far(HeldClock(), there_s=0.0, back_s=0.0)
        asked.is_away = True
        await asked.throttled(30)
        with pytest.raises(LimiterAway):
            await asked.state()
        asked.is_away = False
        assert (await asked.state()).gate_closed_for_s == 30

    run(work())


def test_what_became_of_a_call_is_noted_without_an_error_while_the_limiter_is_away() -> None:
    async def work() -> None:
        clock = HeldClock()
        asked = await far(clock, there_s=0.0, back_s=0.0)
        asked.is_away = True
        for n in range(10):
            await asked.note_failure(f"account-{n}", clock.moment())
        await asked.note_success(clock.moment())
        await asked.close_gate(5, slow_down=True)

    run(work())


def test_a_limiter_that_lost_its_state_says_nothing_of_the_gate() -> None:
    clock = HeldClock()
    gate = Gate(clock)
    lost = Rule().ask(0, "read", Limit(10, 10))
    gate.learn(lost, asked=clock.moment(), answered=clock.moment())
    assert gate.read_ago_s() == float("inf")


def test_a_closed_gate_stops_slots_that_were_given_before() -> None:
    async def work() -> None:
        asked = await rested(HeldClock())
        slot = await asked.one()
        await asked.close_gate(30, slow_down=False)
        with pytest.raises(GateClosed) as closed:
            await slot.ready()
        assert round(closed.value.reopens_in_s, 2) == 30

    run(work())


def test_a_slot_waits_for_a_gate_that_opens_in_time_for_it() -> None:
    async def work() -> None:
        clock = HeldClock()
        asked = await rested(clock)
        slot = await asked.one()
        await asked.close_gate(0.2, slow_down=False)
        await slot.ready()
        assert round(clock.elapsing_s - 1_060, 6) == 0.2

    run(work())


def test_a_slot_does_not_trust_an_old_reading_of_the_gate() -> None:
    async def work() -> None:
        clock = HeldClock()
        asked = await rested(clock, burst=1)
        slots = (await asked.reserve(10)).slots
        await slots[4].ready()
        with pytest.raises(LimiterAway):
            await slots[5].ready()

    run(work())


def test_waiting_callers_get_the_slots_in_the_order_of_their_asking() -> None:
    async def work() -> None:
        clock = HeldClock()
        asked = InProcessLimiter(Rule(), limit=Limit(10, 1), gates=None, clock=clock, sleep=hang)
        await asked.state()
        clock.go_on(60)
        slots = await asyncio.gather(*(asked.one() for _ in range(5)))
        assert starts_in(slots) == [0, 0.1, 0.2, 0.3, 0.4]
        await asked.aclose()

    run(work())


def test_a_cancelled_waiter_takes_no_slot_from_the_others() -> None:
    async def work() -> None:
        clock = HeldClock()
        reached = asyncio.Event()

        async def reach(seconds: float) -> None:
            reached.set()
            await hang(seconds)

        asked = InProcessLimiter(Rule(), limit=Limit(10, 1), gates=None, clock=clock, sleep=reach)
        waiters = [asyncio.create_task(asked.one()) for _ in range(3)]
        await reached.wait()
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
        clock.go_on(60)
        assert starts_in((await asked.reserve(2)).slots) == [0, 0.1]
        await asked.aclose()

    run(work())


def test_the_state_tells_what_goes_on() -> None:
    async def work() -> None:
        asked = await rested(HeldClock())
        await asked.throttled(30)
        assert await asked.state() == LimiterState(7.0, Pace(10.0, 10.0), 30.0, 0)

    run(work())


def test_the_state_tells_whose_limit_is_in_force() -> None:
    async def work() -> None:
        clock, rule = HeldClock(), Rule()
        fast, slow = (
            InProcessLimiter(rule, limit=limit, gates=None, clock=clock, sleep=clock.sleep)
            for limit in (Limit(50, 10), Limit(2, 10))
        )
        await fast.reserve(1)
        assert (await slow.state()).pace == Pace(50, 2)
        await slow.announce()
        assert str((await fast.state()).pace) == (
            "2 calls/s (set by another process that shares the limit; this one has 50)"
        )
        assert str((await slow.state()).pace) == "2 calls/s"
        clock.go_on(30)
        assert str((await fast.state()).pace) == "50 calls/s"

    run(work())


def test_whoever_waits_for_longer_than_a_limit_is_remembered_keeps_it_in_force() -> None:
    async def work() -> None:
        clock, rule = HeldClock(), Rule()

        async def sleep(seconds: float) -> None:
            await clock.sleep(seconds)
            assert (await fast.state()).pace.per_second == 0.02

        slow = InProcessLimiter(rule, limit=Limit(0.02, 1), gates=None, clock=clock, sleep=sleep)
        fast = InProcessLimiter(rule, limit=Limit(50, 10), gates=None, clock=clock, sleep=clock.sleep)
        await slow.one()
        began_s = clock.elapsing_s
        await slow.one()
        assert clock.elapsing_s - began_s > 40

    run(work())


def test_a_limit_that_another_process_has_lowered_is_logged_once() -> None:
    async def work() -> None:
        clock, rule = HeldClock(), Rule()
        fast, slow = (
            InProcessLimiter(rule, limit=limit, gates=None, clock=clock, sleep=clock.sleep)
            for limit in (Limit(50, 10), Limit(2, 10))
        )
        await fast.reserve(1)
        await slow.announce()
        with capture_logs() as logged:
            await fast.reserve(1)
            await fast.reserve(1)
        assert logged == [
            {
                "event": "limit_changed",
                "log_level": "info",
                "pace": "2 calls/s (set by another process that shares the limit; this one has 50)",
            }
        ]

    run(work())


def test_throttling_that_names_no_time_closes_the_gate_for_a_second_and_doubles() -> None:
    async def work() -> None:
        clock = HeldClock()
        asked = await rested(clock)
        await asked.throttled(None)
        assert (await asked.state()).gate_closed_for_s == 1
        clock.go_on(1)
        await asked.throttled(0)
        assert (await asked.state()).gate_closed_for_s == 2
        clock.go_on(2)
        await asked.note_success(clock.moment())
        await asked.throttled(None)
        assert (await asked.state()).gate_closed_for_s == 1

    run(work())


def test_a_gate_is_kept_in_the_store_and_comes_back_after_a_restart() -> None:
    async def work() -> None:
        clock, gates = HeldClock(), KeptGate()
        first = limiter(clock, gates=gates)
        await first.throttled(60)
        assert gates.until is not None
        assert gates.until - clock.now() == timedelta(seconds=60)
        clock.go_on(20)
        second = limiter(clock, gates=gates)
        assert (await second.state()).gate_closed_for_s == 40

    run(work())


def test_a_gate_far_in_the_future_of_a_wrong_clock_holds_for_an_hour_at_most() -> None:
    async def work() -> None:
        clock = HeldClock()
        gates = KeptGate(clock.now() + timedelta(days=400))
        assert (await limiter(clock, gates=gates).state()).gate_closed_for_s == 3600

    run(work())


def test_nobody_calls_while_the_kept_gate_cannot_be_read() -> None:
    async def work() -> None:
        asked = limiter(HeldClock(), gates=BrokenGate())
        with pytest.raises(LimiterAway):
            await asked.reserve(1)

    run(work())


def test_an_outage_closes_the_gate_and_is_known_at_once() -> None:
    async def work() -> None:
        clock = HeldClock()
        asked = await rested(clock)
        for n in range(9):
            await asked.note_failure(f"account-{n}", clock.moment())
        assert not asked.is_outage()
        await asked.note_failure("account-9", clock.moment())
        assert asked.is_outage()
        assert (await asked.state()).gate_closed_for_s == 5

    run(work())


def test_failures_of_calls_from_before_an_outage_count_for_nothing_after_it() -> None:
    async def work() -> None:
        clock = HeldClock()
        asked = await rested(clock)
        started = clock.moment()
        clock.go_on(1)
        for n in range(50):
            await asked.note_failure(f"account-{n}", started)
        clock.go_on(6)
        for n in range(9):
            await asked.note_failure(f"account-{n}", started)
        await asked.note_success(clock.moment())
        for n in range(9):
            await asked.note_failure(f"account-{n}", started)
        await asked.note_failure("account-9", clock.moment())
        assert not asked.is_outage()

    run(work())


def test_one_probe_follows_an_outage_and_its_success_opens_the_way() -> None:
    async def work() -> None:
        clock = HeldClock()
        asked = await rested(clock)
        for n in range(10):
            await asked.note_failure(f"account-{n}", clock.moment())
        clock.go_on(5)
        probes = (await asked.reserve(50)).slots
        assert len(probes) == 1
        await probes[0].ready()
        started = clock.moment()
        clock.go_on(10)
        assert (await asked.reserve(50)).slots == []
        await asked.note_success(started)
        assert not asked.is_outage()
        assert starts_in((await asked.reserve(3)).slots) == [0, 0.1, 0.2]

    run(work())


def test_a_failed_probe_doubles_the_outage() -> None:
    async def work() -> None:
        clock = HeldClock()
        asked = await rested(clock)
        for n in range(10):
            await asked.note_failure(f"account-{n}", clock.moment())
        clock.go_on(5)
        await (await asked.one()).ready()
        await asked.note_failure("account-1", clock.moment())
        assert (await asked.state()).gate_closed_for_s == 10

    run(work())


def test_a_probe_that_another_took_over_does_not_start() -> None:
    async def work() -> None:
        clock = HeldClock()
        asked = await rested(clock)
        for n in range(10):
            await asked.note_failure(f"account-{n}", clock.moment())
        clock.go_on(5)
        slow = await asked.one()
        clock.go_on(0.3)
        quick = await asked.one()
        with pytest.raises(SlotMissed):
            await slow.ready()
        await quick.ready()

    run(work())


@pytest.mark.parametrize(("rate", "burst"), [(0, 10), (-1, 10), (float("nan"), 10), (1e9, 10), (10, 0)])
def test_refuses_rates_and_bursts_that_make_no_sense(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="calls a second"):
        limiter(HeldClock(), rate=rate, burst=burst)
