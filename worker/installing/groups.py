"""What goes to the database in groups: questions of many attempts, and their verdicts."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from worker.store.faults import note_database_failure, note_database_success
from worker.store.settling import Settlement
from worker.telemetry import get_logger

SETTLE_EVERY_S = 0.25
SETTLE_AT = 500
TRY_AGAIN_S = 1.0
TRIES = 30
SETTLING = "writing outcomes"
TRIES_WHEN_CLOSING = 2  # each of them is patient already: see `store.session.writing`

log = get_logger()

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


class Settler:
    """`settle` writes a group; while it fails, as it does where the database is away, it is tried again, but not for ever.

    What is never written costs nothing but time: the claim runs out, and a look tells what happened.
    """

    def __init__(
        self,
        settle: Callable[[list[Settlement]], Awaitable[int]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settle = settle
        self._sleep = sleep
        self._waiting: list[Settlement] = []
        self._has_some = asyncio.Event()  # set when it closes too
        self._wake = asyncio.Event()
        self._written_at = float("-inf")  # on the loop's clock
        self._has_written = asyncio.Event()
        self._has_written.set()
        self._is_closing = False

    @property
    def is_empty(self) -> bool:
        """Whether all that was added is written (or given up)."""
        return self._has_written.is_set()

    def add(self, settlement: Settlement) -> None:
        """To be written soon; at once where its process must wait for that."""
        self._waiting.append(settlement)
        self._has_written.clear()
        self._has_some.set()
        if len(self._waiting) >= SETTLE_AT or settlement.item.is_alone:
            self._wake.set()

    async def wait_until_empty(self) -> None:
        await self._has_written.wait()

    async def run(self) -> None:
        """Write until closed and empty."""
        while self._waiting or not self._is_closing:
            await self._until_it_is_time()
            group, self._waiting = self._waiting[:SETTLE_AT], self._waiting[SETTLE_AT:]
            if group:
                await self._write(group)
                self._written_at = asyncio.get_running_loop().time()
            if not self._waiting:
                self._has_written.set()
                if not self._is_closing:
                    self._has_some.clear()

    def close(self) -> None:
        """No more are coming: write what is waiting, then end."""
        self._is_closing = True
        self._has_some.set()
        self._wake.set()

    async def _until_it_is_time(self) -> None:
        """A first verdict does not wait: a person looks at the start of a run, and a lone row is done sooner."""
        await self._has_some.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._written_at + SETTLE_EVERY_S):
                await self._wake.wait()
        if not self._is_closing:
            self._wake.clear()

    async def _write(self, group: list[Settlement]) -> None:
        tries = 0
        while tries < (TRIES_WHEN_CLOSING if self._is_closing else TRIES):
            tries += 1
            try:
                settled = await self._settle(group)
            except Exception as error:  # noqa: BLE001 - whatever the database says, these verdicts must not be lost
                note_database_failure(error, SETTLING)
                await self._sleep(TRY_AGAIN_S)
            else:
                note_database_success(SETTLING)
                if settled < len(group):
                    log.warning("claims_lost", items=len(group) - settled)
                return
        log.error("verdicts_dropped", items=len(group))
