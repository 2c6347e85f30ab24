"""What every route is given."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from worker.bootstrap import Database, open_cyclr
from worker.clock import Clock
from worker.cyclr.client import CyclrClient
from worker.cyclr.limiter import Limiter, redis_url
from worker.settings import CyclrSettings
from worker.tickets import count_tickets
from worker.web.waiting import WaitingUploads


class Place:
    """Where the web process works: a home, or a deployment.

    `redis_url`: of the broker just now; None where there is none. `ring`: there is work. `keep`: see to this job
    from now on; its rows are written while the context lasts. `uploads`: the folder of waiting uploads; None: they wait in the database.
    """

    def __init__(
        self,
        settings: CyclrSettings,
        database: Database,
        clock: Clock,
        *,
        redis_url: Callable[[], str | None],
        ring: Callable[[], None],
        keep: Callable[[str], AbstractContextManager[None]],
        uploads: Path | None,
    ) -> None:
        self.settings = settings
        self.database = database
        self.clock = clock
        self.redis_url = redis_url
        self.ring = ring
        self.keep = keep
        self.waiting = WaitingUploads(database.engine, database.sealer, uploads)
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._opened: tuple[str | None, CyclrClient, Limiter] | None = None

    async def cyclr(self) -> tuple[CyclrClient, Limiter]:
        """This process's client and its limiter: opened at the first use, and anew where the broker has moved.

        Its connections and its token outlive a request. On the server's event loop only.
        """
        url = self.redis_url()
        async with self._lock:
            if self._opened is None or self._opened[0] != url:
                await self._stack.aclose()
                self._stack = AsyncExitStack()
                opening = open_cyclr(self.settings, self.database.engine, clock=self.clock, redis_url=url)
                self._opened = (url, *await self._stack.enter_async_context(opening))
            return self._opened[1], self._opened[2]

    def count_tickets(self) -> int | None:
        """How many wait in the broker; None where it is away, or where there is none. It blocks."""
        url = self.redis_url()
        return None if url is None else count_tickets(redis_url(url))

    async def aclose(self) -> None:
        """End the connections to Cyclr and to the limiter; a second call is safe."""
        self._opened = None
        await self._stack.aclose()


def _place(request: Request) -> Place:
    place: Place = request.app.state.place
    return place


GivenPlace = Annotated[Place, Depends(_place)]
