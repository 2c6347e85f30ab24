"""Questions whose answers many requests wait for: each is asked again and again, once for all of them."""

import asyncio
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from fastapi.concurrency import run_in_threadpool

from worker.store.faults import note_database_failure, note_database_success
from worker.web.http_errors import HttpError

T = TypeVar("T")
ASK_AGAIN_AFTER_S = 1.0  # where there was no answer
FOLLOWING = "asking for those who follow"


class Follower(Generic[T]):
    """What one request sees of a question: never an answer that is older than itself, and the newest only."""

    def __init__(self, asker: "_Asker[T]") -> None:
        self._asker = asker
        self._came_at = asker.begun

    @property
    def answer(self) -> T | Exception | None:
        """The newest one, or why there is none; None: nothing was heard yet."""
        return self._asker.answer if self._asker.answered > self._came_at else None


class Askers:
    """Of one web process. On the server's event loop only."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, _Asker[Any]] = {}

    @contextmanager
    def following(
        self, key: Hashable, ask: Callable[[], T], *, every_s: float, news: asyncio.Event
    ) -> Iterator[Follower[T]]:
        """The question is asked, in a thread, for as long as somebody follows it: first after `every_s`, since whoever comes
        has just asked. `news` is set at every answer. Of those who come with the same key, the first one's `ask` is used.

        A follower keeps nothing: one that is slow misses what was in between, and holds up nobody.
        """
        asker = self._by_key.get(key)
        if asker is None:
            asker = self._by_key[key] = _Asker(ask, every_s)
        asker.followers.add(news)
        try:
            yield Follower(asker)
        finally:
            asker.followers.discard(news)
            if not asker.followers and self._by_key.get(key) is asker:
                del self._by_key[key]
                asker.stop()


class _Asker(Generic[T]):
    def __init__(self, ask: Callable[[], T], every_s: float) -> None:
        self._ask = ask
        self._every_s = every_s
        self.followers: set[asyncio.Event] = set()
        self.begun = self.answered = 0  # counts: of the questions that were begun, which one `answer` is to
        self.answer: T | Exception | None = None
        self._task = asyncio.create_task(self._ask_on())

    def stop(self) -> None:
        self._task.cancel()

    async def _ask_on(self) -> None:
        while True:
            has_failed = isinstance(self.answer, Exception)
            await asyncio.sleep(min(self._every_s, ASK_AGAIN_AFTER_S) if has_failed else self._every_s)
            self.begun += 1
            try:
                self.answer = await run_in_threadpool(self._ask)
            except Exception as error:  # noqa: BLE001 - all who follow are told, and it goes on
                if not isinstance(error, HttpError):
                    note_database_failure(error, FOLLOWING)
                self.answer = error
            else:
                note_database_success(FOLLOWING)
            self.answered = self.begun
            for news in self.followers:
                news.set()
