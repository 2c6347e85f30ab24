"""The limiter's rule: when the next calls may start, when nobody may call, and how fast it goes after a gate.

`limiter.lua` says the same to Redis, where processes share it; a test holds the two against each other. All times
are whole microseconds on one clock, given with every question: Redis's own there, the machine's here.

Each process asks with the limit that it was set to. In force is the lowest of those that reserved of late: `Book.asked`.
"""

import math
import threading
from dataclasses import dataclass, field
from typing import NamedTuple

SECOND = 1_000_000

HORIZON = 2 * SECOND  # no reservation reaches further; so this is how long one may be out after a flush
LATENESS = SECOND // 4  # a slot that is later than this is forfeited
SLOW_DOWN = 0.7  # what a gate set by Cyclr leaves of the rate
FLOOR_PER_SECOND = 0.5
GROWTH_PER_S = 1 / 600  # of the configured rate: 10 % a minute
FIRST_PAUSE = 1 * SECOND  # after a 429 that names no time; doubles
FIRST_OUTAGE = 5 * SECOND  # doubles
LONGEST_PAUSE = 300 * SECOND  # of either
LONGEST_GATE = 3600 * SECOND
PROBE_QUESTION = 1 * SECOND  # how often those who wait for a probe's answer ask again
REMEMBERED = 30 * SECOND  # how long the limit of a process counts after it last reserved
COUNTING = frozenset({"reserve", "announce"})  # the questions of those who call; to look alone does not count


class Limit(NamedTuple):
    """What a process was set to. `is_rate_set`, `is_burst_set`: False for a default, which counts only beside defaults."""

    per_second: float
    burst: int
    is_rate_set: bool = True
    is_burst_set: bool = True


class Reply(NamedTuple):
    """What every question answers. `.._in`: microseconds from now.

    `granted` slots: the first at `first_in` (not above 0: now), the others `interval` apart. `probe`: not 0 where
    the one slot granted is the probe after an outage; its name. `is_fresh`: the state was lost, so the gate kept
    elsewhere must be given back (`restore`) before anybody gets a slot. To `probe`, `granted` 1 means go.
    `configured_per_second`: the rate in force; `rate_per_second`: what a gate of Cyclr has left of it.
    """

    granted: int
    first_in: int
    interval: int
    next_in: int
    gate_in: int
    level: int
    throttles: int
    probe: int
    is_fresh: bool
    rate_per_second: float
    configured_per_second: float


@dataclass(slots=True)
class Book:
    """What is kept. `free_at`: when the next slot is free; with a rested limiter up to burst - 1 intervals ago.

    `slowed` (0: never): the rate at `slowed_at`, from where it grows. `throttles`: 429 in a row without a time.
    `level`: outages in a row. `probe_until`: until then one call has the right to probe.
    `asked`: the limits of those who call -> when one of them last reserved; there are as many as there are different
    settings. `per_second`, `burst`: in force when somebody last reserved; 0 before.
    """

    seen_at: int
    free_at: int
    is_fresh: bool = True
    gate_until: int = 0
    slowed: float = 0.0
    slowed_at: int = 0
    throttles: int = 0
    level: int = 0
    probe_until: int = 0
    per_second: float = 0.0
    burst: int = 0
    asked: dict[Limit, int] = field(default_factory=dict)


class Rule:
    """The rule over a book of its own. For one process: all its threads may ask, and share the limit."""

    def __init__(self) -> None:
        self._book: Book | None = None
        self._lock = threading.Lock()

    def ask(self, now: int, question: str, own: Limit, *given: int) -> Reply:
        """Answer one question of a process with this limit; the names of the questions are those of `_Turn`'s methods."""
        with self._lock:
            turn = _Turn(now, own, self._book)
            turn.find_limit(own, counts=question in COUNTING)
            granted, first_in, probe = getattr(turn, question)(*given) or (0, 0, 0)
            self._book = turn.book
            return turn.reply(granted, first_in, probe)


class _Turn:
    """One question at one time."""

    def __init__(self, now: int, own: Limit, book: Book | None) -> None:
        self.now = now
        self.configured = own.per_second
        self.burst = own.burst
        self.book = book or self._fresh_book()
        self._go_back(self.book.seen_at - now)
        self.book.seen_at = now

    def find_limit(self, own: Limit, *, counts: bool) -> None:
        """Which limit is in force: the lowest of those that are remembered, of rate and burst each."""
        book = self.book
        book.asked = {limit: at for limit, at in book.asked.items() if self.now - at < REMEMBERED}
        if counts:
            book.asked[own] = self.now
        asked = book.asked or {own: self.now}
        self.configured = min(
            [limit.per_second for limit in asked if limit.is_rate_set]
            or [limit.per_second for limit in asked]
        )
        self.burst = min(
            [limit.burst for limit in asked if limit.is_burst_set] or [limit.burst for limit in asked]
        )
        if book.asked:
            self._put_in_force()

    def read(self) -> None:
        """Change nothing."""

    def announce(self) -> None:
        """Reserve nothing, and be counted: for a process whose calls another one makes."""

    def reserve(self, wanted: int, within: int) -> tuple[int, int, int]:
        book, interval = self.book, self.interval()
        within = min(within, HORIZON)
        if book.is_fresh or (book.level > 0 and self.now < book.probe_until):
            wanted = 0
        elif book.level > 0:
            wanted = min(wanted, 1)
        earliest = max(book.free_at, self.now - (self.burst - 1) * interval)
        room = (self.now + within - earliest) // interval + 1
        granted = max(0, min(wanted, room))
        book.free_at = earliest + granted * interval
        if granted == 0 or book.level == 0:
            return granted, earliest - self.now, 0
        # The right to probe ends with the slot, unless the call begins (`probe`).
        book.probe_until = max(earliest, self.now) + LATENESS
        return granted, earliest - self.now, book.probe_until

    def probe(self, name: int, lasts: int) -> tuple[int, int, int]:
        if self.book.probe_until != name:
            return 0, 0, 0
        self.book.probe_until = self.now + lasts
        return 1, 0, 0

    def close(self, seconds: int, slow_down: int, began_ago: int) -> None:
        """`seconds`: in microseconds, 0 where Cyclr named no time."""
        book, is_news = self.book, self._is_news(began_ago)
        rate = self.rate()
        if seconds == 0:
            book.throttles += 1 if is_news else 0
            seconds = _doubled(FIRST_PAUSE, book.throttles)
        if slow_down and is_news:
            book.slowed = max(min(FLOOR_PER_SECOND, self.configured), rate * SLOW_DOWN)
            book.slowed_at = self.now
        self._shut(seconds)

    def fail(self, is_outage: int, began_ago: int) -> None:
        book = self.book
        if self._is_news(began_ago) and (is_outage or book.level > 0):
            book.level += 1
            self._shut(_doubled(FIRST_OUTAGE, book.level))

    def succeed(self, began_ago: int) -> None:
        book = self.book
        if not self._is_news(began_ago):
            return
        if book.level > 0:
            book.free_at = max(book.free_at, self.now)
        book.level = book.throttles = book.probe_until = 0

    def restore(self, gate_in: int) -> None:
        self.book.is_fresh = False
        if gate_in > 0:
            self._shut(gate_in)

    def idle(self) -> None:
        if self.book.is_fresh:
            self.book.free_at = self.now + self.interval()

    def rate(self) -> float:
        return min(self.configured, self._grown(self.configured)) if self.book.slowed > 0 else self.configured

    def interval(self) -> int:
        return math.ceil(SECOND / self.rate())

    def reply(self, granted: int, first_in: int, probe: int) -> Reply:
        book = self.book
        next_at = max(book.free_at, self.now)
        if book.level > 0 and self.now < book.probe_until:
            next_at = max(next_at, min(book.probe_until, self.now + PROBE_QUESTION))
        return Reply(
            granted=granted,
            first_in=first_in,
            interval=self.interval(),
            next_in=next_at - self.now,
            gate_in=max(0, book.gate_until - self.now),
            level=book.level,
            throttles=book.throttles,
            probe=probe,
            is_fresh=book.is_fresh,
            rate_per_second=self.rate(),
            configured_per_second=self.configured,
        )

    def _fresh_book(self) -> Book:
        # Reservations of before may be out for a whole horizon, the last of them with an interval after it.
        interval = math.ceil(SECOND / self.configured)
        return Book(seen_at=self.now, free_at=self.now + HORIZON + max(LATENESS, interval))

    def _go_back(self, step: int) -> None:
        # The clock was set back: what was 3 s away stays 3 s away.
        if step > 0:
            book = self.book
            book.free_at -= step
            book.gate_until -= step
            book.slowed_at -= step
            book.probe_until -= step
            book.asked = {limit: at - step for limit, at in book.asked.items()}

    def _put_in_force(self) -> None:
        book = self.book
        if book.per_second > 0:
            if self.configured != book.per_second and book.slowed > 0:
                # What has grown until now has grown by the limit before.
                book.slowed = self._grown(book.per_second)
                book.slowed_at = max(book.slowed_at, self.now)
            if self.configured < book.per_second or self.burst < book.burst:
                # Slots that were given under the higher limit are out, and nobody can take them back: the last one is
                # before `free_at` and may be used LATENESS later. So the lower limit begins after all of them, with an
                # empty bucket, and from its first slot on every window keeps to it. What may still start above it
                # until then is what was out: of the higher limit the burst and 0.5 s of its rate, as far ahead as
                # installs reserve; the HORIZON of its rate at most.
                book.free_at = max(book.free_at, self.now) + max(LATENESS, self.interval())
        book.per_second, book.burst = self.configured, self.burst

    def _grown(self, configured: float) -> float:
        grown_s = max(0, self.now - self.book.slowed_at) / SECOND
        return self.book.slowed + configured * GROWTH_PER_S * grown_s

    def _is_news(self, began_ago: int) -> bool:
        # A call from before the last gate opened only repeats why that gate was closed.
        return self.now - began_ago >= self.book.gate_until

    def _shut(self, seconds: int) -> None:
        book = self.book
        if book.slowed > 0:
            book.slowed = self._grown(self.configured)
        book.gate_until = max(book.gate_until, self.now + min(seconds, LONGEST_GATE))
        book.slowed_at = book.gate_until
        # It opens with an empty bucket, and whoever was to probe asks again.
        book.free_at = max(book.free_at, book.gate_until)
        book.probe_until = 0


def _doubled(first: int, times: int) -> int:
    return min(LONGEST_PAUSE, first << min(max(times, 1) - 1, 20))
