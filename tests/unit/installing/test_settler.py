"""Groups of verdicts, written in order, and a database that is away for a while."""

import asyncio
from datetime import UTC, datetime

from tests.unit.installing.making import claimed_item
from worker.domain.steps import Notes
from worker.domain.verdicts import CalledOff
from worker.installing.groups import SETTLE_AT, SETTLE_EVERY_S, Settler
from worker.store.settling import Settlement


def settlement(number: int) -> Settlement:
    return Settlement(
        claimed_item(id=number), CalledOff(), Notes(), datetime(2026, 1, 1, tzinfo=UTC), 0.1, "look"
    )


class Book:
    """Takes groups; fails for the first `failures` of them."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.groups: list[int] = []
        self.tries = 0
        self.naps = 0

    async def settle(self, group: list[Settlement]) -> int:
        self.tries += 1
        if self.tries <= self.failures:
            raise ConnectionError("the database is away")
        self.groups.append(len(group))
        return len(group)

    async def sleep(self, seconds: float) -> None:
        self.naps += 1

    async def write(self, count: int, *, is_closed_first: bool = True) -> None:
        settler = Settler(self.settle, self.sleep)
        for number in range(count):
            settler.add(settlement(number))
        running = asyncio.create_task(settler.run())
        if not is_closed_first:
            while not self.groups:
                await asyncio.sleep(0)
        settler.close()
        await running


def test_writes_what_is_waiting_when_it_is_closed() -> None:
    book = Book()
    asyncio.run(book.write(3))
    assert book.groups == [3]


def test_writes_no_group_larger_than_one_transaction_should_be() -> None:
    book = Book()
    asyncio.run(book.write(2 * SETTLE_AT + 1))
    assert book.groups == [500, 500, 1]


def test_writes_at_once_when_a_group_is_full() -> None:
    book = Book()
    asyncio.run(book.write(SETTLE_AT, is_closed_first=False))
    assert book.groups == [500]


def test_tries_again_while_the_database_is_away() -> None:
    book = Book(failures=5)
    asyncio.run(book.write(SETTLE_AT, is_closed_first=False))
    assert (book.groups, book.tries, book.naps) == ([500], 6, 5)


def test_a_process_that_ends_does_not_wait_for_ever_for_a_database_that_is_away() -> None:
    book = Book(failures=1_000)
    asyncio.run(book.write(3))
    assert (book.groups, book.tries) == ([], 2)


def test_what_was_held_alone_is_written_at_once_and_is_held_until_then() -> None:
    async def scene() -> list[object]:
        book = Book(failures=1)
        settler = Settler(book.settle, book.sleep)
        running = asyncio.create_task(settler.run())
        await asyncio.sleep(0)
        seen: list[object] = [settler.is_empty]
        began = asyncio.get_running_loop().time()
        settler.add(
            Settlement(
                claimed_item(is_alone=True),
                CalledOff(),
                Notes(),
                datetime(2026, 1, 1, tzinfo=UTC),
                0.1,
                "look",
            )
        )
        seen.append(settler.is_empty)
        await settler.wait_until_empty()
        seen += [settler.is_empty, book.groups, asyncio.get_running_loop().time() - began < SETTLE_EVERY_S]
        settler.close()
        await running
        return seen

    assert asyncio.run(scene()) == [True, False, True, [1], True]


def test_the_first_verdict_is_written_at_once_and_those_that_follow_are_gathered() -> None:
    async def scene() -> tuple[float, float, list[int]]:
        book = Book()
        settler = Settler(book.settle, book.sleep)
        running = asyncio.create_task(settler.run())
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        began = loop.time()
        settler.add(settlement(1))
        await settler.wait_until_empty()
        first_s = loop.time() - began
        settler.add(settlement(2))
        await asyncio.sleep(SETTLE_EVERY_S / 2)
        settler.add(settlement(3))
        await settler.wait_until_empty()
        both_s = loop.time() - began
        settler.close()
        await running
        return first_s, both_s, book.groups

    first_s, both_s, groups = asyncio.run(scene())
    assert groups == [1, 2]
    assert first_s < SETTLE_EVERY_S <= both_s
