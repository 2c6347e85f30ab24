"""The limiter's rule: when the next calls may start, when nobody may call, and how fast it goes after a gate.

`limiter.lua` says the same to Redis, where processes share it; a test holds the two against each other. All times
are whole microseconds on one clock, given with every question: Redis's own there, the machine's here.
"""

import math
import threading
from dataclasses import dataclass
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


class Reply(NamedTuple):
    """What every question answers. `.._in`: microseconds from now.

    `granted` slots: the first at `first_in` (not above 0: now), the others `interval` apart. `probe`: not 0 where
    the one slot granted is the probe after an outage; its name. `is_fresh`: the state was lost, so the gate kept
    elsewhere must be given back (`restore`) before anybody gets a slot. To `probe`, `granted` 1 means go.
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


@dataclass(slots=True)
class Book:
    """What is kept. `free_at`: when the next slot is free; with a rested limiter up to burst - 1 intervals ago.

    `slowed` (0: never): the rate at `slowed_at`, from where it grows. `throttles`: 429 in a row without a time.
    `level`: outages in a row. `probe_until`: until then one call has the right to probe.
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


class Rule:
    """The rule over a book of its own. For one process: all its threads may ask, and share the limit."""

    def __init__(self) -> None:
        self._book: Book | None = None
        self._lock = threading.Lock()

    def ask(self, now: int, question: str, configured: float, burst: int, *given: int) -> Reply:
        """Answer one question; the names of the questions are those of `_Turn`'s methods."""
        with self._lock:
            turn = _Turn(now, configured, burst, self._book)
            granted, first_in, probe = getattr(turn, question)(*given) or (0, 0, 0)
            self._book = turn.book
            return turn.reply(granted, first_in, probe)


class _Turn:
    """One question at one time."""

    def __init__(self, now: int, configured: float, burst: int, book: Book | None) -> None:
        self.now = now
        self.configured = configured
        self.burst = burst
        self.book = book or self._fresh_book()
        self._go_back(self.book.seen_at - now)
        self.book.seen_at = now

    def read(self) -> None:
        """Change nothing."""

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
        book = self.book
        if book.slowed == 0:
            return self.configured
        grown_s = max(0, self.now - book.slowed_at) / SECOND
        return min(self.configured, book.slowed + self.configured * GROWTH_PER_S * grown_s)

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

    def _is_news(self, began_ago: int) -> bool:
        # A call from before the last gate opened only repeats why that gate was closed.
        return self.now - began_ago >= self.book.gate_until

    def _shut(self, seconds: int) -> None:
        book = self.book
        if book.slowed > 0:
            book.slowed = self.rate()
        book.gate_until = max(book.gate_until, self.now + min(seconds, LONGEST_GATE))
        book.slowed_at = book.gate_until
        # It opens with an empty bucket, and whoever was to probe asks again.
        book.free_at = max(book.free_at, book.gate_until)
        book.probe_until = 0


def _doubled(first: int, times: int) -> int:
    return min(LONGEST_PAUSE, first << min(max(times, 1) - 1, 20))
