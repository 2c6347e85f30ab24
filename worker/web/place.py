"""What every route is given."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, suppress
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from worker.bootstrap.cyclr import make_limiter, open_cyclr
from worker.bootstrap.database import Database
from worker.clock import Clock
from worker.cyclr.client import CyclrClient
from worker.cyclr.errors import CyclrError
from worker.cyclr.limiter import Limiter
from worker.cyclr.limiter_rule import Rule
from worker.domain.pace import LimiterState, Pace
from worker.domain.server_faults import ServerFault
from worker.jobs.away import ask_limiter
from worker.settings import CyclrSettings, InvalidSettings
from worker.tickets import count_tickets
from worker.web.receiving import Bodies
from worker.web.waiting import WaitingUploads


class Place:
    """Where the web process works: a home, or a deployment.

    `broker`: the URL of the Redis just now; where there is none, the one rule of this process. `ring`: there is work. `keep`: see to this job
    from now on; its rows are written while the context lasts. `uploads`: the folder of waiting uploads; None: they wait in the database.
    `find_workers_began_ago_s`: seconds since the workers of the home were started, None where that is not known.
    """

    def __init__(
        self,
        settings: CyclrSettings,
        database: Database,
        clock: Clock,
        *,
        broker: Callable[[], str | Rule],
        ring: Callable[[], None],
        keep: Callable[[str], AbstractContextManager[None]],
        uploads: Path | None,
        find_workers_began_ago_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.database = database
        self.clock = clock
        self.broker = broker
        self.ring = ring
        self.keep = keep
        self.find_workers_began_ago_s = find_workers_began_ago_s
        self.waiting = WaitingUploads(database.engine, database.sealer, uploads)
        self.bodies = Bodies()
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._opened: tuple[str | Rule, CyclrClient, Limiter] | None = None

    async def cyclr(self) -> tuple[CyclrClient, Limiter]:
        """This process's client and its limiter: opened at the first use, and anew where the broker has moved.

        Its connections and its token outlive a request. On the server's event loop only.
        """
        broker = self.broker()
        async with self._lock:
            if self._opened is None or self._opened[0] != broker:
                await self._stack.aclose()
                self._stack = AsyncExitStack()
                opening = open_cyclr(self.settings, self.database.engine, clock=self.clock, broker=broker)
                self._opened = (broker, *await self._stack.enter_async_context(opening))
            return self._opened[1], self._opened[2]

    async def limiter_state(self, instance_id: str) -> LimiterState | ServerFault | None:
        """How the limiter of this instance stands, or why nobody may call; None: there is none here. As above."""
        if instance_id == self.database.instance_id:
            try:
                _, limiter = await self.cyclr()
            except (CyclrError, InvalidSettings):
                return None
            return await ask_limiter(limiter)
        broker = self.broker()
        if isinstance(broker, Rule):
            return None
        other = make_limiter(
            self.settings, self.database.engine, clock=self.clock, broker=broker, instance_id=instance_id
        )
        async with aclosing(other):
            return await ask_limiter(other)

    async def pace(self) -> Pace:
        """How fast Cyclr is called; as this process was set to where nobody can be asked. On the server's event loop only."""
        with suppress(CyclrError):
            _, limiter = await self.cyclr()
            return (await limiter.state()).pace
        own = self.settings.cyclr_calls_per_second
        return Pace(own, own)

    def count_tickets(self) -> int | None:
        """How many wait in the broker; None where it is away, or where there is none. It blocks."""
        broker = self.broker()
        return None if isinstance(broker, Rule) else count_tickets(broker)

    async def aclose(self) -> None:
        """End the connections to Cyclr and to the limiter; a second call is safe."""
        self._opened = None
        await self._stack.aclose()


def _place(request: Request) -> Place:
    place: Place = request.app.state.place
    return place


GivenPlace = Annotated[Place, Depends(_place)]
