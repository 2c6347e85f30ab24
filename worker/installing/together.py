"""Questions of many attempts that go to the database as one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Question = TypeVar("Question")
Reply = TypeVar("Reply")


class Together(Generic[Question, Reply]):
    """What is asked within `gather_s`, or while a question is under way, goes together in the next one.

    `ask` has a reply for each question, in their order; what it raises, each of those who asked is told.
    """

    def __init__(
        self, ask: Callable[[Sequence[Question]], Awaitable[Sequence[Reply]]], *, gather_s: float
    ) -> None:
        self._ask = ask
        self._gather_s = gather_s
        self._waiting: list[tuple[Question, asyncio.Future[Reply]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Reply:
        """The reply. Who stops waiting for it changes nothing for the others."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, reply))
        if self._asking is None:
            self._asking = asyncio.create_task(self._run())
        return await reply

    async def _run(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(self._gather_s)
                group, self._waiting = self._waiting, []
                await self._ask_for(group)
        finally:
            self._asking = None

    async def _ask_for(self, group: list[tuple[Question, asyncio.Future[Reply]]]) -> None:
        try:
            replies = await self._ask([question for question, _ in group])
        except Exception as error:  # noqa: BLE001 - it is theirs who asked
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), reply in zip(group, replies, strict=True):
            if not future.done():
                future.set_result(reply)
