"""The limiter on a real Valkey, in real time; only the comparison of the two rules has the time scripted."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from tests.limits import KEPT_GATE, SECOND, KeptGate, assert_within_bound, pauses, questions, rates, scripts
from tests.redis_states import STATES
from tests.servers import ValkeyServer, valkey, valkey_server
from tests.started import start_process
from worker.clock import Clock
from worker.cyclr.errors import GateClosed, LimiterAway, NotStarted, SlotMissed
from worker.cyclr.limiter import GateStore
from worker.cyclr.limiter_redis import RedisLimiter, limiter_script, read_reply, written_limit
from worker.cyclr.limiter_rule import Limit, Reply, Rule
from worker.cyclr.slots import Slot
from worker.domain.pace import Pace

KEY = "cyclr-bulk:shared:limiter"

any_limits = st.builds(Limit, rates, st.integers(1, 30), st.booleans(), st.booleans())
near_the_end_of_memory = st.integers(30 * SECOND - 2, 30 * SECOND + 2)


@pytest.fixture(scope="module")
def shared_url() -> Iterator[str]:
    with valkey() as url:
        yield url


@pytest.fixture
def url(shared_url: str) -> str:
    with Redis.from_url(shared_url) as redis:
        redis.flushall()
    return shared_url


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as running:
        yield running


@contextlib.asynccontextmanager
async def limiter(
    url: str, *, rate: float = 10, burst: int = 10, gates: GateStore | None = None
) -> AsyncIterator[RedisLimiter]:
    opened = RedisLimiter(url, "shared", limit=Limit(rate, burst), gates=gates or KeptGate(), clock=Clock())
    try:
        yield opened
    finally:
        await opened.aclose()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def wait_until(is_so: Callable[[], bool], within_s: float = 90.0) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, f"not so within {within_s} s"
        await asyncio.sleep(0.01)


async def call_until(limiter: RedisLimiter, is_enough: Callable[[], bool], starts: list[float]) -> None:
    async def call(slot: Slot) -> None:
        with contextlib.suppress(NotStarted):
            await slot.ready()
            starts.append(time.monotonic())

    while not is_enough():
        try:
            reservation = await limiter.reserve(100, within_s=0.5)
        except LimiterAway:
            await asyncio.sleep(0.02)
            continue
        await asyncio.gather(*map(call, reservation.slots))
        if not reservation.slots:
            await asyncio.sleep(reservation.retry_in_s)


def start_caller(url: str, seconds: float, rate: float, burst: int) -> subprocess.Popen[str]:
    argv = [
        sys.executable,
        "-m",
        "tests.integration.limiter_caller",
        url,
        str(seconds),
        str(rate),
        str(burst),
    ]
    return start_process(argv, stdout=subprocess.PIPE, text=True)


def read_lines(caller: subprocess.Popen[str], n: int) -> list[str]:
    assert caller.stdout is not None
    return [caller.stdout.readline().strip() for _ in range(n)]


def idle(url: str, rate: float = 10, burst: int = 10) -> None:
    """Spare a test the wait of a fresh limiter."""

    async def work() -> None:
        async with limiter(url, rate=rate, burst=burst) as first:
            await first.declare_idle()

    run(work())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rate=rates, burst=st.integers(1, 30), script=scripts, start=st.integers(10**15, 4 * 10**15))
def test_redis_and_process_follow_the_same_rule_and_keep_the_bound(
    shared_url: str, rate: float, burst: int, script: list[Any], start: int
) -> None:
    with Redis.from_url(shared_url) as redis:
        redis.delete("scripted")
        ask_redis = redis.register_script(limiter_script("local now = tonumber(ARGV[9])\n"))
        rule, limit, now, probe = Rule(), Limit(rate, burst), start, 0
        slots: list[float] = []

        def ask(question: str, *given_: int) -> Reply:
            numbers = [*given_, 0, 0, 0][:3]
            answer = read_reply(ask_redis(["scripted"], [question, *written_limit(limit), *numbers, now]))
            assert answer == rule.ask(now, question, limit, *given_)
            return answer

        for pause, (question, *given_) in script:
            now += pause
            if question == "flush":
                redis.delete("scripted")
                rule = Rule()
                continue
            if question == "probe" and given_[0]:
                given_[0] = probe
            reply = ask(question, *given_)
            probe = reply.probe or probe
            if question == "reserve":
                slots += [
                    (now - start + max(0, reply.first_in + k * reply.interval)) / SECOND
                    for k in range(reply.granted)
                ]
            if reply.is_fresh:
                ask("restore", KEPT_GATE if question == "close" else 0)
        assert_within_bound(slots, rate=rate, burst=burst, slack_s=0.0)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(any_limits, min_size=1, max_size=4),
    steps=st.lists(st.integers(-100 * SECOND, 100 * SECOND), max_size=10),
    script=st.lists(
        st.tuples(st.one_of(pauses, near_the_end_of_memory), st.integers(0, 3), questions), max_size=30
    ),
)
def test_redis_and_process_take_several_limits_and_a_clock_that_is_set_back_alike(
    shared_url: str, asked: list[Limit], steps: list[int], script: list[Any]
) -> None:
    with Redis.from_url(shared_url) as redis:
        redis.delete("scripted")
        ask_redis = redis.register_script(limiter_script("local now = tonumber(ARGV[9])\n"))
        rule, now = Rule(), 10**15
        for (pause, who, (question, *given_)), step in zip(
            script, [*steps, *[0] * len(script)], strict=False
        ):
            now += pause + step
            limit = asked[who % len(asked)]
            if question != "flush":
                numbers = [*given_, 0, 0, 0][:3]
                answer = read_reply(ask_redis(["scripted"], [question, *written_limit(limit), *numbers, now]))
                assert answer == rule.ask(now, question, limit, *given_)
        kept = [name for name in redis.hkeys("scripted") if name.startswith(b"asked ")]
        assert len(kept) <= len(set(asked))


def test_two_processes_share_one_rate(url: str) -> None:
    idle(url, 60, 5)
    callers = [start_caller(url, 2.0, 60, 5) for _ in range(2)]
    written = [caller.communicate(timeout=90)[0].split() for caller in callers]
    starts = [[float(line) for line in lines if line[0].isdigit()] for lines in written]
    both = [*starts[0], *starts[1]]
    assert_within_bound(both, rate=60, burst=5, slack_s=0.5)
    assert min(map(len, starts)) > 0
    assert len(both) > 0.5 * 60 * 2


def test_two_processes_of_different_settings_keep_to_the_lower_limit(url: str) -> None:
    idle(url, 60, 20)
    fast = start_caller(url, 5.0, 60, 20)
    before = read_lines(fast, 60)
    slow = start_caller(url, 2.5, 8, 2)
    slow_starts = [float(line) for line in slow.communicate(timeout=90)[0].split() if line[0].isdigit()]
    lines = [*before, *fast.communicate(timeout=90)[0].split()]
    fast_starts = [float(line) for line in lines if line[0].isdigit()]
    # From the first call of the slower one on, and for as long as its limit is remembered.
    both = [at for at in (*fast_starts, *slow_starts) if at >= min(slow_starts)]
    assert_within_bound(both, rate=8, burst=2, slack_s=0.5)
    assert len(both) > len(slow_starts) > 0


def test_a_limit_that_was_lost_with_redis_is_known_again_before_the_first_slot(url: str) -> None:
    idle(url, 50, 10)

    async def work() -> None:
        async with limiter(url, rate=50) as fast, limiter(url, rate=2) as slow:
            await fast.reserve(1)
            await slow.announce()
            with Redis.from_url(url) as redis:
                redis.flushall()
            assert (await fast.reserve(1)).slots == []
            await slow.announce()
            assert (await fast.state()).pace == Pace(2, 50)

    run(work())


def test_a_frozen_process_forfeits_its_slots(url: str) -> None:
    idle(url, 100, 1)
    frozen = start_caller(url, 3.0, 100, 1)
    before = read_lines(frozen, 10)
    # It holds slots for about half a second more, and stands still until they are well over.
    os.kill(frozen.pid, signal.SIGSTOP)
    other = start_caller(url, 2.0, 100, 1)
    meanwhile = read_lines(other, 60)
    os.kill(frozen.pid, signal.SIGCONT)
    after = frozen.communicate(timeout=90)[0].split()
    others = other.communicate(timeout=90)[0].split()
    assert after.count("SlotMissed") > 20
    lines = [*before, *meanwhile, *after, *others]
    starts = [float(line) for line in lines if line[0].isdigit()]
    assert_within_bound(starts, rate=100, burst=1, slack_s=0.5)


def test_a_flush_lets_no_window_pass_the_bound(url: str) -> None:
    idle(url, 50, 5)
    starts: list[float] = []

    async def work() -> None:
        async with limiter(url, rate=50, burst=5) as first, limiter(url, rate=50, burst=5) as second:
            wanted = 100
            calls = [
                asyncio.create_task(call_until(each, lambda: len(starts) >= wanted, starts))
                for each in (first, second)
            ]
            await wait_until(lambda: len(starts) > 30)
            with Redis.from_url(url) as redis:
                redis.flushall()
            wanted = len(starts) + 70
            await asyncio.wait_for(asyncio.gather(*calls), 90)

    run(work())
    assert_within_bound(starts, rate=50, burst=5, slack_s=0.5)


def test_nobody_calls_while_redis_is_away_and_all_go_on_when_it_is_back(server: ValkeyServer) -> None:
    idle(server.url, 50, 5)
    starts: list[float] = []

    async def work() -> None:
        async with limiter(server.url, rate=50, burst=5) as asked:
            wanted = 1_000
            calls = asyncio.create_task(call_until(asked, lambda: len(starts) >= wanted, starts))
            await wait_until(lambda: len(starts) > 10)
            server.kill()
            gone_at = time.monotonic()
            with pytest.raises(LimiterAway):
                await asked.reserve(1)
            with pytest.raises(LimiterAway):
                await asked.one()
            with pytest.raises(LimiterAway):
                await asked.state()
            await wait_until(lambda: time.monotonic() > gone_at + 0.8)
            assert max(starts) < gone_at + 0.5
            wanted = len(starts) + 20
            server.start()
            await asyncio.wait_for(calls, 90)

    run(work())
    assert_within_bound(starts, rate=50, burst=5, slack_s=0.5)


@pytest.mark.parametrize("word", STATES)
def test_a_redis_that_answers_with_an_error_gives_no_slot_and_its_word_is_kept(
    server: ValkeyServer, word: str
) -> None:
    idle(server.url, 50, 5)

    async def work() -> None:
        async with limiter(server.url, rate=50, burst=5) as asked:
            slots = (await asked.reserve(5)).slots
            with STATES[word](server):
                with contextlib.suppress(LimiterAway):
                    await asked.state()  # over a connection that may have been cut
                for ask in (asked.one, asked.state, asked.announce, partial(asked.reserve, 1)):
                    with pytest.raises(LimiterAway) as caught:
                        await ask()
                    assert caught.value.fault == word
                    assert str(caught.value) == (
                        f"the shared limiter cannot be asked ({word}), so nobody calls Cyclr"
                    )
            assert len(slots) == 5
            assert (await asked.reserve(1)).slots or (await asked.one())

    run(work())


def test_slots_in_hand_are_not_used_when_redis_answers_no_more(server: ValkeyServer) -> None:
    idle(server.url, 4, 1)

    async def work() -> None:
        async with limiter(server.url, rate=4, burst=1) as asked:
            slots = (await asked.reserve(4, within_s=1.0)).slots
            server.freeze()
            with pytest.raises(LimiterAway):
                await slots[-1].ready()
            server.resume()
            await (await asked.one()).ready()

    run(work())


def test_a_gate_stops_the_slots_of_every_process_within_half_a_second(url: str) -> None:
    idle(url, 100, 1)
    starts: list[float] = []

    async def work() -> None:
        async with limiter(url, rate=100, burst=1) as first, limiter(url, rate=100, burst=1) as second:
            calls = asyncio.create_task(call_until(first, lambda: False, starts))
            held = (await second.reserve(20, within_s=2.0)).slots
            await wait_until(lambda: len(starts) > 30)
            await second.throttled(20)
            closed_at = time.monotonic()
            await wait_until(lambda: time.monotonic() > closed_at + 1.0)
            calls.cancel()
            assert max(starts) < closed_at + 0.5
            with pytest.raises((GateClosed, SlotMissed)):
                await held[-1].ready()

    run(work())
    assert len(starts) > 30


def test_a_slot_held_elsewhere_learns_of_the_gate(url: str) -> None:
    idle(url, 1, 1)

    async def work() -> None:
        async with limiter(url, rate=1, burst=1) as first, limiter(url, rate=1, burst=1) as second:
            slot = (await first.reserve(1, within_s=2.0)).slots[0]
            await second.close_gate(30, slow_down=False)
            with pytest.raises(GateClosed) as closed:
                await slot.ready()
            assert 20 < closed.value.reopens_in_s <= 30

    run(work())


def test_a_flush_does_not_lift_the_gate(url: str) -> None:
    async def work() -> None:
        gates = KeptGate()
        async with limiter(url, gates=gates) as first, limiter(url, gates=gates) as second:
            await second.state()
            await first.throttled(30)
            with Redis.from_url(url) as redis:
                redis.flushall()
            assert 20 < (await second.state()).gate_closed_for_s <= 30
            assert (await second.reserve(5)).slots == []
            assert 20 < (await first.state()).gate_closed_for_s <= 30

    run(work())


def test_a_gate_that_was_set_while_redis_was_away_is_brought_to_it_later(server: ValkeyServer) -> None:
    idle(server.url)

    async def work() -> None:
        gates = KeptGate()
        async with limiter(server.url, gates=gates) as first, limiter(server.url, gates=KeptGate()) as second:
            await first.state()
            server.kill()
            await first.throttled(30)
            assert gates.until is not None
            server.start()
            await first.state()
            assert 20 < (await second.state()).gate_closed_for_s <= 30

    run(work())


def test_one_call_probes_after_an_outage_over_all_processes(url: str) -> None:
    idle(url)

    async def work() -> None:
        async with limiter(url) as failing:
            for n in range(10):
                await failing.note_failure(f"account-{n}", Clock().moment())
            assert 3 < (await failing.state()).gate_closed_for_s <= 5
        with Redis.from_url(url) as redis:
            # The five seconds are over.
            redis.hset(KEY, mapping={"gate_until": "0", "free_at": "0"})
        async with limiter(url) as first, limiter(url) as second:
            slots = [slot for each in (first, second, first) for slot in (await each.reserve(50)).slots]
            assert len(slots) == 1
            assert second.is_outage()
            await slots[0].ready()
            assert (await second.reserve(50)).slots == []
            await first.note_success(Clock().moment())
            assert len((await second.reserve(50)).slots) > 5
            assert not second.is_outage()

    run(work())


def test_a_clean_stop_spares_the_wait_after_a_restart(url: str) -> None:
    async def work() -> None:
        async with limiter(url, rate=20) as first:
            await first.declare_idle()
            assert 0 < (await first.reserve(1)).slots[0].starts_in_s() <= 0.05

    run(work())


def test_an_unclean_start_waits(url: str) -> None:
    async def work() -> None:
        async with limiter(url) as first:
            reservation = await first.reserve(1)
            assert reservation.slots == []
            assert 1.5 < reservation.retry_in_s <= 1.75
            assert (await first.one(2.0)).starts_in_s() > 1.7

    run(work())


def test_nothing_is_read_when_no_slot_is_held(url: str) -> None:
    idle(url)

    async def work() -> None:
        async with limiter(url) as asked:
            await (await asked.one()).ready()
            await wait_until(lambda: len(asyncio.all_tasks()) == 1)

    run(work())


def test_instances_do_not_share_a_limit(url: str) -> None:
    async def work() -> None:
        gates = KeptGate()
        other = RedisLimiter(url, "other", limit=Limit(10, 1), gates=gates, clock=Clock())
        async with limiter(url) as asked:
            await asked.close_gate(30, slow_down=False)
            assert (await other.state()).gate_closed_for_s == 0
        await other.aclose()

    run(work())
