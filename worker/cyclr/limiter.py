"""When may the next calls start? One limit for all processes of an instance.

`Limiter` asks `limiter_rule.Rule` (or its twin in Redis: `limiter_redis.RedisLimiter`) and keeps what the answers tell:
slots, the gate of this process, the streak of failures. `InProcessLimiter` is for where there is no broker.
"""

import asyncio
import contextlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, Protocol

import structlog

from worker.clock import Clock, Moment
from worker.cyclr.errors import LimiterAway
from worker.cyclr.limiter_rule import FIRST_PAUSE, REMEMBERED, SECOND, Limit, Reply, Rule
from worker.cyclr.slots import (
    GATE_READ_EVERY_S,
    LATENESS_S,
    Gate,
    Outlook,
    Reservation,
    Sleep,
    Slot,
    Streak,
)
from worker.domain.pace import LimiterState, Pace
from worker.domain.server_faults import Server, ServerFault
from worker.telemetry import ALARMS

TOO_SLOW = ServerFault(Server.REDIS, "timeout", "its answer came too late to call by")
_SHORTEST_WAIT_S = 0.01
# Whoever waits asks again in time: its limit would be forgotten otherwise, and others would call faster than it may.
_LONGEST_WAIT_S = REMEMBERED / SECOND / 3
_SAVE_GATE_STEP_S = 0.1
# So long a call waits through answers that come too late to call by: a busy machine has some, a Redis that is far has no others.
_LATE_FOR_S = 5.0


class GateStore(Protocol):
    """Where the gate outlives Redis. Called in a thread."""

    def load_gate(self) -> datetime | None:
        """When the gate opens (or opened), aware; None where there was never one."""

    def save_gate(self, until: datetime) -> None:
        """Keep this time, unless a later one is kept already."""


class _Answer(NamedTuple):
    reply: Reply
    asked: Moment
    answered: Moment


class _AnswerTooLate(LimiterAway):
    """No call can start by it. `since`: when the first question was asked of those that are answered so, one after the other."""

    def __init__(self, since: Moment) -> None:
        super().__init__()
        self.since = since


@dataclass(slots=True, eq=False)
class _Waiter:
    within_s: float
    slot: Slot | None = None
    failure: LimiterAway | None = None


class Limiter(ABC):
    """What callers know of either limiter: everything but the way in which the rule is asked (`ask_rule`)."""

    def __init__(
        self,
        *,
        limit: Limit,
        gates: GateStore | None,
        probe_s: float,
        clock: Clock,
        sleep: Sleep,
    ) -> None:
        if not 0.01 <= limit.per_second <= 10_000 or limit.burst < 1:
            raise ValueError(
                "expected 0.01 to 10000 calls a second and a burst of 1 or more,"
                f" got {limit.per_second} and {limit.burst}"
            )
        self._limit = limit._replace(per_second=float(limit.per_second))
        self._in_force_per_second = self._limit.per_second
        self._gates = gates
        self._probe_s = probe_s
        self._clock = clock
        self._sleep = sleep
        self._gate = Gate(clock)
        self._streak = Streak()
        self._turn = asyncio.Lock()
        self._waiting: list[_Waiter] = []  # for `one`
        self._late_since: Moment | None = None
        self._heard: _Answer | None = None
        self._slots: set[Slot] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._is_restored = False
        self._saved_until: datetime | None = None

    async def reserve(self, n: int, *, within_s: float = 1.0) -> Reservation:
        """At most `n` slots that start within `within_s` (2 s at most) from now.

        `retry_in_s` lets half of that time's slots come free again, so that a low rate does not mean tiny claims.
        Raises: LimiterAway.
        """
        if n < 1:
            return Reservation([], 0.0)
        slots, next_in_s = await self._reserve(n, within_s)
        return Reservation(slots, max(0.0, next_in_s - within_s / 2))

    async def outlook(self, *, within_s: float) -> Outlook:
        """How many slots that start within `within_s` there are, by what was heard lately; it reserves none.

        More may be had where nobody has called for a while: of a burst it knows one only. Raises: LimiterAway.
        """
        if self._heard is None or self._clock.since(self._heard.answered) > GATE_READ_EVERY_S:
            await self._ask("read")
        assert self._heard is not None, "by the question"
        reply, _, answered = self._heard
        next_in_s = reply.next_in / SECOND - self._clock.since(answered)
        if next_in_s > within_s:
            return Outlook(0, max(0.0, next_in_s - within_s / 2))
        slots = 1 + int((within_s - max(0.0, next_in_s)) * SECOND / reply.interval)
        return Outlook(1 if reply.level else slots, 0.0)

    async def one(self, within_s: float = 2.0) -> Slot:
        """A slot for one call; waits until there is one, in the order of the callers, all of whom ask in one question.

        Where the answer comes too late to call by, it asks again, for a while. Cancelling the wait loses this caller's slot
        at most. Raises: LimiterAway.
        """
        mine = _Waiter(within_s)
        self._waiting.append(mine)
        try:
            async with self._turn:
                while mine.slot is None and mine.failure is None:
                    await self._serve(within_s)
        finally:
            self._waiting.remove(mine)
        if mine.slot is None:
            assert mine.failure is not None
            raise mine.failure
        return mine.slot

    async def _serve(self, within_s: float) -> None:
        """One question for all who wait for such a slot; where there is none yet, until it is worth asking again."""
        alike = [waiter for waiter in self._waiting if waiter.slot is None and waiter.within_s == within_s]
        # What is granted too late is lost to everybody: then for one at a time.
        count = len(alike) if self._late_since is None else 1
        try:
            slots, next_in_s = await self._reserve(count, within_s)
        except LimiterAway as failure:
            if isinstance(failure, _AnswerTooLate) and self._clock.since(failure.since) < _LATE_FOR_S:
                return
            for waiter in alike:
                waiter.failure = failure
            return
        for waiter, slot in zip(alike, slots, strict=False):
            waiter.slot = slot
        if not slots:
            await self._sleep(min(max(_SHORTEST_WAIT_S, next_in_s - within_s), _LONGEST_WAIT_S))

    async def close_gate(self, seconds: float, *, slow_down: bool) -> None:
        """Nobody calls for so long (1 h at most). It only ever prolongs; safe to repeat.

        `slow_down`: leave 70 % of the rate, once per gate; it grows back by a tenth of the configured rate a minute.
        Does not raise where Redis is away: the gate holds here at once and is kept in the `GateStore`.
        """
        if seconds > 0:
            await self._close(seconds, slow_down=slow_down, began=None)

    async def throttled(self, retry_after_s: float | None, began: Moment | None = None) -> None:
        """Close the gate after a 429, or a 503 with Retry-After. No time (or 0) named: 1 s, doubling up to 5 min.

        `began`: when the call was started; a call from before the last gate opened neither doubles nor slows down.
        Does not raise where Redis is away.
        """
        await self._close(max(0.0, retry_after_s or 0.0), slow_down=True, began=began)

    async def note_success(self, began: Moment) -> None:
        """A call was answered: ends a streak of failures and, if it was the probe, the outage."""
        self._streak.success()
        if self._gate.level or self._gate.throttles:
            with contextlib.suppress(LimiterAway):
                await self._ask("succeed", self._ago(began))

    async def note_failure(self, account_id: str, began: Moment) -> None:
        """A call ended with a connect error, a timeout or a 5xx: may close the gate for an outage."""
        if self._gate.opened_after(began):
            return
        is_outage = self._streak.failure(account_id)
        if is_outage or self._gate.level:
            with contextlib.suppress(LimiterAway):
                reply, *_ = await self._ask("fail", int(is_outage), self._ago(began))
                await self._save_gate(reply.gate_in / SECOND)
                if reply.level and (fault := ALARMS.find(Server.CYCLR)) is not None:
                    await self.keep_outage(fault)

    def is_outage(self) -> bool:
        """Whether Cyclr was down when this process last asked: such failures cost no attempt."""
        return self._gate.level > 0

    async def state(self) -> LimiterState:
        """For display. Raises: LimiterAway."""
        reply, *_ = await self._ask("read")
        return LimiterState(
            reply.rate_per_second,
            Pace(reply.configured_per_second, self._limit.per_second),
            reply.gate_in / SECOND,
            reply.level,
            await self.find_outage() if reply.level else None,
        )

    async def announce(self) -> None:
        """Have this process's limit counted as a reservation would, for the next 30 s. Raises: LimiterAway."""
        await self._ask("announce")

    async def declare_idle(self) -> None:
        """Say that no reservation is out (all was stopped cleanly): a new Redis need not wait for any.

        Call it before anything else; later it changes nothing. Raises: LimiterAway.
        """
        if (await self._exchange("idle")).reply.is_fresh:
            await self._restore()

    async def aclose(self) -> None:
        """Stop reading the gate. Safe to repeat."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
            self._watcher = None

    @abstractmethod
    async def ask_rule(self, question: str, *given: float) -> Reply:
        """Raises: LimiterAway."""

    @abstractmethod
    async def keep_outage(self, fault: ServerFault) -> None:
        """Let all who share the limit know what ails Cyclr. Raises: LimiterAway."""

    @abstractmethod
    async def find_outage(self) -> ServerFault | None:
        """What was kept last; None where nobody knows."""

    async def _exchange(self, question: str, *given: float) -> _Answer:
        asked = self._clock.moment()
        reply = await self.ask_rule(question, *given)
        answer = _Answer(reply, asked, self._clock.moment())
        self._gate.learn(reply, asked=asked, answered=answer.answered)
        self._heard = answer
        if not reply.is_fresh:  # a state that was lost says nothing of the others
            self._note_pace(Pace(reply.configured_per_second, self._limit.per_second))
        return answer

    def _note_pace(self, pace: Pace) -> None:
        if pace.per_second != self._in_force_per_second:
            self._in_force_per_second = pace.per_second
            structlog.get_logger().info("limit_changed", pace=str(pace))

    async def _ask(self, question: str, *given: float) -> _Answer:
        if not self._is_restored:
            await self._restore()
        answer = await self._exchange(question, *given)
        if answer.reply.is_fresh:
            # Redis lost its state: it gives no slot before it has the gate again.
            await self._restore()
            answer = await self._exchange(question, *given)
        return answer

    async def _restore(self) -> None:
        until = await self._load_gate()
        left_s = 0.0 if until is None else (until - self._clock.now()).total_seconds()
        await self._exchange("restore", _microseconds(max(left_s, self._gate.closed_for_s())))
        self._is_restored = True

    async def _reserve(self, n: int, within_s: float) -> tuple[list[Slot], float]:
        reply, asked, answered = await self._ask("reserve", n, _microseconds(within_s))
        if reply.granted and self._clock.since(asked) > LATENESS_S:
            # Every slot would be forfeited before it starts.
            ALARMS.failed(TOO_SLOW, "reserving calls")
            self._late_since = self._late_since or asked
            raise _AnswerTooLate(self._late_since)
        if reply.granted:
            self._late_since = None
            ALARMS.went_well(Server.REDIS, "reserving calls")
        begin_probe = partial(self._begin_probe, reply.probe) if reply.probe else None
        slots = [
            Slot(
                self._gate,
                self._clock,
                self._sleep,
                asked=asked,
                answered=answered,
                wait_s=max(0, reply.first_in + k * reply.interval) / SECOND,
                begin_probe=begin_probe,
            )
            for k in range(reply.granted)
        ]
        self._hold(slots)
        return slots, reply.next_in / SECOND

    async def _begin_probe(self, name: int) -> bool:
        reply, *_ = await self._ask("probe", name, _microseconds(self._probe_s))
        return reply.granted == 1

    async def _close(self, seconds: float, *, slow_down: bool, began: Moment | None) -> None:
        # Here at once; the others learn of it when they read the gate.
        self._gate.close_for(seconds or FIRST_PAUSE / SECOND)
        ago = 0 if began is None else self._ago(began)
        try:
            reply, *_ = await self._ask("close", _microseconds(seconds), int(slow_down), ago)
        except LimiterAway:
            # With the next contact it is brought to Redis.
            self._is_restored = False
            await self._save_gate(self._gate.closed_for_s())
        else:
            await self._save_gate(reply.gate_in / SECOND)

    def _ago(self, began: Moment) -> int:
        return max(0, math.floor((self._clock.moment().elapsing_s - began.elapsing_s) * SECOND))

    async def _load_gate(self) -> datetime | None:
        if self._gates is None:
            return None
        try:
            return await asyncio.to_thread(self._gates.load_gate)
        except Exception as error:
            # Whatever ails the store: without the gate nobody may call.
            raise LimiterAway(None) from error

    async def _save_gate(self, closed_for_s: float) -> None:
        until = self._clock.now() + timedelta(seconds=closed_for_s)
        step = timedelta(seconds=_SAVE_GATE_STEP_S)
        if self._gates is None or closed_for_s <= 0:
            return
        if self._saved_until is not None and until < self._saved_until + step:
            return
        self._saved_until = until
        try:
            await asyncio.to_thread(self._gates.save_gate, until)
        except Exception as error:  # noqa: BLE001 - the gate stands in Redis; an answer of Cyclr must not become another error
            self._saved_until = None
            ALARMS.crashed("gate_not_saved", error)

    def _hold(self, slots: list[Slot]) -> None:
        self._slots.update(slots)
        if slots and (self._watcher is None or self._watcher.done()):
            self._watcher = asyncio.create_task(self._watch_gate())

    async def _watch_gate(self) -> None:
        while self._slots:
            await self._sleep(max(GATE_READ_EVERY_S / 5, GATE_READ_EVERY_S - self._gate.read_ago_s()))
            self._slots = {slot for slot in self._slots if not slot.is_over}
            if self._slots and self._gate.read_ago_s() >= GATE_READ_EVERY_S:
                # A Redis that is away shows in the slots, by the age of the last reading.
                with contextlib.suppress(LimiterAway, TimeoutError):
                    async with asyncio.timeout(GATE_READ_EVERY_S):
                        await self._ask("read")


class InProcessLimiter(Limiter):
    """The same limiter for a process that has no broker. All of one instance and process share one `rule`."""

    def __init__(
        self,
        rule: Rule,
        *,
        limit: Limit,
        gates: GateStore | None,
        probe_s: float = 35.0,
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        super().__init__(
            limit=limit,
            gates=gates,
            probe_s=probe_s,
            clock=clock,
            sleep=sleep,
        )
        self._rule = rule

    async def ask_rule(self, question: str, *given: float) -> Reply:
        now = math.floor(self._clock.moment().elapsing_s * SECOND)
        return self._rule.ask(now, question, self._limit, *map(int, given))

    async def keep_outage(self, fault: ServerFault) -> None:
        """All of them are of this process, which knows what it has met last."""

    async def find_outage(self) -> ServerFault | None:
        return ALARMS.find(Server.CYCLR)


def _microseconds(seconds: float) -> int:
    return math.ceil(seconds * SECOND)
