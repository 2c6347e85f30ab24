import asyncio
from collections.abc import Sequence

import pytest

from worker.installing.groups import Together


def test_questions_of_one_moment_go_in_one_question() -> None:
    asked: list[list[int]] = []

    async def ask(numbers: Sequence[int]) -> list[int]:
        asked.append(list(numbers))
        return [number * 10 for number in numbers]

    async def work() -> list[int]:
        together = Together(ask, gather_s=0)
        return await asyncio.gather(*(together.ask(number) for number in (1, 2, 3)))

    assert asyncio.run(work()) == [10, 20, 30]
    assert asked == [[1, 2, 3]]


def test_what_is_asked_while_a_question_is_under_way_goes_in_the_next_one() -> None:
    asked: list[list[int]] = []
    may_answer = asyncio.Event()

    async def ask(numbers: Sequence[int]) -> list[int]:
        asked.append(list(numbers))
        await may_answer.wait()
        return list(numbers)

    async def work() -> None:
        together = Together(ask, gather_s=0)
        first = asyncio.create_task(together.ask(1))
        while not asked:
            await asyncio.sleep(0)
        others = [asyncio.create_task(together.ask(number)) for number in (2, 3)]
        await asyncio.sleep(0)
        may_answer.set()
        await asyncio.gather(first, *others)

    asyncio.run(work())
    assert asked == [[1], [2, 3]]


def test_each_is_told_what_went_wrong_and_the_next_question_is_asked_all_the_same() -> None:
    is_away = [True]

    async def ask(numbers: Sequence[int]) -> list[int]:
        if is_away.pop() if is_away else False:
            raise OSError("away")
        return list(numbers)

    async def work() -> None:
        together = Together(ask, gather_s=0)
        both = await asyncio.gather(together.ask(1), together.ask(2), return_exceptions=True)
        assert [str(each) for each in both] == ["away", "away"]
        assert await together.ask(3) == 3

    asyncio.run(work())


def test_who_stops_waiting_changes_nothing_for_the_others() -> None:
    async def ask(numbers: Sequence[int]) -> list[int]:
        return list(numbers)

    async def work() -> None:
        together = Together(ask, gather_s=0)
        gone, stays = (asyncio.create_task(together.ask(number)) for number in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == 2
        with pytest.raises(asyncio.CancelledError):
            await gone

    asyncio.run(work())
