"""Slows down whoever tries wrong keys: each answer waits longer than the one before."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

from worker.clock import Clock, Moment
from worker.web.addresses import caller_group


class TooManyWrongKeys(Exception):
    """More keys wait for their turn than this process lets wait."""


class Brake:
    """Counts wrong keys by the address that they come from, and by the id that stands in a key: from wherever it comes."""

    FIRST_S = 0.1
    LONGEST_S = 3.0
    FORGIVEN_AFTER_S = 60.0
    SIDE_BY_SIDE = 3  # looked at, or waiting for their answer, of one address or id
    MOST_OF_ONE = 50  # waiting for their turn too
    MOST_WAITING = 200  # of all
    MOST_MARKS = 10_000

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tries: OrderedDict[str, tuple[int, Moment]] = OrderedDict()
        self._turns: dict[str, _Turns] = {}
        self._waiting = 0

    @asynccontextmanager
    async def turn(self, address: str, key_text: str) -> AsyncIterator[None]:
        """Holds one of the few places that an address has, and an id, while the context lasts. Raises: TooManyWrongKeys."""
        if self._waiting >= self.MOST_WAITING:
            raise TooManyWrongKeys
        self._waiting += 1
        try:
            async with AsyncExitStack() as stack:
                # In this order everywhere, so that no two wait for each other.
                for mark in self.marks(address, key_text):
                    await stack.enter_async_context(self._turn_of(mark))
                yield
        finally:
            self._waiting -= 1

    async def slow_down(self, address: str, key_text: str) -> None:
        """To be called for every wrong key, in its turn, before it is answered."""
        await asyncio.sleep(max(self._wait_s(mark) for mark in self.marks(address, key_text)))

    @staticmethod
    def marks(address: str, key_text: str) -> Iterator[str]:
        """What a try is counted by."""
        yield caller_group(address)
        key_id = key_text.partition("_")[2].partition("_")[0]
        if key_id:
            yield f"key {key_id[:40]}"

    @asynccontextmanager
    async def _turn_of(self, mark: str) -> AsyncIterator[None]:
        turns = self._turns.setdefault(mark, _Turns(self.SIDE_BY_SIDE))
        if turns.count >= self.MOST_OF_ONE:
            raise TooManyWrongKeys
        turns.count += 1
        try:
            async with turns.places:
                yield
        finally:
            turns.count -= 1
            if not turns.count:
                self._turns.pop(mark, None)

    def _wait_s(self, mark: str) -> float:
        tries, last = self._tries.pop(mark, (0, self._clock.moment()))
        if self._clock.since(last) > self.FORGIVEN_AFTER_S:
            tries = 0
        self._tries[mark] = (tries + 1, self._clock.moment())
        if len(self._tries) > self.MOST_MARKS:
            self._tries.popitem(last=False)
        return min(self.LONGEST_S, self.FIRST_S * 2.0 ** min(tries, 10))


class _Turns:
    def __init__(self, side_by_side: int) -> None:
        self.places = asyncio.Semaphore(side_by_side)
        self.count = 0
