"""A slot is the permission to start one call at one time; the gate is what this process knows of "nobody before t"; a streak, of failures."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from worker.clock import Clock, Moment
from worker.cyclr.errors import GateClosed, LimiterAway, SlotMissed
from worker.cyclr.limiter_rule import LATENESS, LONGEST_GATE, SECOND, Reply

LATENESS_S = LATENESS / SECOND
GATE_READ_EVERY_S = 0.25
# With the time that a closing takes to reach Redis, no call starts later than 0.5 s after the answer that closed it.
GATE_TRUSTED_S = 0.45

Sleep = Callable[[float], Awaitable[None]]


class Gate:
    """What this process knows of the shared gate. It only ever closes for longer, whatever a flushed Redis says."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._read_at: Moment | None = None
        self._opens_at_s = float("-inf")  # on the elapsing clock
        self.level = 0
        self.throttles = 0

    def learn(self, reply: Reply, *, asked: Moment, answered: Moment) -> None:
        """`asked`, `answered`: around the question, so the reply is true for some time between the two."""
        if reply.gate_in > 0:
            self._close_until(answered.elapsing_s + reply.gate_in / SECOND)
        if reply.is_fresh:
            return  # a state that was lost says nothing of the gate
        if self._read_at is None or asked.elapsing_s >= self._read_at.elapsing_s:
            self._read_at = asked
            self.level = reply.level
            self.throttles = reply.throttles

    def close_for(self, seconds: float) -> None:
        self._close_until(self._clock.moment().elapsing_s + min(seconds, LONGEST_GATE / SECOND))

    def closed_for_s(self) -> float:
        return max(0.0, self._opens_at_s - self._clock.moment().elapsing_s)

    def read_ago_s(self) -> float:
        return float("inf") if self._read_at is None else self._clock.since(self._read_at)

    def opened_after(self, began: Moment) -> bool:
        """Whether a call that started then was begun before the gate last opened (or the gate is closed still)."""
        return began.elapsing_s < self._opens_at_s

    def _close_until(self, opens_at_s: float) -> None:
        self._opens_at_s = max(self._opens_at_s, opens_at_s)


class Slot:
    """The permission to start one call, `wait_s` after the question for it was answered. For one use.

    Redis's clock and ours differ, so the slot begins `wait_s` after the answer came (never early) and is forfeited
    `LATENESS_S` after what would have been its time had Redis answered at once.
    `begin_probe`: for the one call that probes after an outage; it says whether this slot still has the right to.
    """

    def __init__(
        self,
        gate: Gate,
        clock: Clock,
        sleep: Sleep,
        *,
        asked: Moment,
        answered: Moment,
        wait_s: float,
        begin_probe: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._gate = gate
        self._clock = clock
        self._sleep = sleep
        self._asked = asked
        self._starts_at_s = answered.elapsing_s + wait_s
        self._wait_s = wait_s
        self._begin_probe = begin_probe
        self._is_taken = False
        self._is_done = False

    def starts_in_s(self) -> float:
        """Seconds until the call may start; below 0 when that time has come."""
        return self._starts_at_s - self._clock.moment().elapsing_s

    @property
    def is_over(self) -> bool:
        """Whether no call can start with it any more."""
        return self._is_done or self._left_s() < 0

    async def ready(self) -> None:
        """Return when the call may start, and let it start at once.

        Raises: SlotMissed when that is more than `LATENESS_S` late (a frozen process, a sleeping laptop);
        GateClosed; LimiterAway when the gate has not been read lately.
        """
        if self._is_taken:
            raise RuntimeError("a slot permits one call, and this one was used before")
        self._is_taken = True
        try:
            await self._sleep_until_start()
            if self._begin_probe is not None and not await self._begin_probe():
                raise SlotMissed
            self._check()
        finally:
            self._is_done = True

    def ended(self, outcome: str, took_s: float) -> None:
        """Nobody counts the calls that belong to no item."""

    async def _sleep_until_start(self) -> None:
        while (wait_s := self.starts_in_s()) > 0:
            await self._sleep(wait_s)
        # A slot at the very time at which the gate opens may find it closed for some milliseconds more.
        while 0 < (wait_s := self._gate.closed_for_s()) <= self._left_s():
            await self._sleep(wait_s)

    def _check(self) -> None:
        if self._left_s() < 0:
            raise SlotMissed
        if (closed_for_s := self._gate.closed_for_s()) > 0:
            raise GateClosed(closed_for_s)
        if self._gate.read_ago_s() > GATE_TRUSTED_S:
            raise LimiterAway

    def _left_s(self) -> float:
        return self._wait_s + LATENESS_S - self._clock.since(self._asked)


@dataclass(frozen=True, slots=True)
class Reservation:
    """`slots` in the order of their times, at most as many as were asked for; perhaps none.

    `retry_in_s`: how long to sleep before asking again is worth while, with the slots of this one in use meanwhile.
    """

    slots: list[Slot]
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """How many slots could be had, none of them reserved. `retry_in_s`: as in a `Reservation`."""

    slots: int
    retry_in_s: float


# Cyclr is taken to be down after so many failures in a row, over so many accounts or more.
OUTAGE_FAILURES = 10
OUTAGE_ACCOUNTS = 3


class Streak:
    """The failures in a row that this process has seen: connect errors, timeouts and 5xx."""

    def __init__(self) -> None:
        self._failures = 0
        self._accounts: set[str] = set()

    def success(self) -> None:
        self._failures = 0
        self._accounts.clear()

    def failure(self, account_id: str) -> bool:
        """Whether that makes an outage; if so, counting starts anew.

        One broken account may fail for ever without being an outage: other accounts must fail with it.
        """
        self._failures += 1
        if len(self._accounts) < OUTAGE_ACCOUNTS:
            self._accounts.add(account_id)
        is_outage = self._failures >= OUTAGE_FAILURES and len(self._accounts) >= OUTAGE_ACCOUNTS
        if is_outage:
            self.success()
        return is_outage
