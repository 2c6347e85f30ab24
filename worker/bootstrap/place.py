"""Where a command, a page or a worker process works: its settings, its database, its Redis, and what is built of these.

What calls Cyclr, rings or sweeps is imported where it is done: most commands only read, and start in half of the time so.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    nullcontext,
    suppress,
)
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from worker.clock import Clock
from worker.cyclr.errors import CyclrError, LimiterAway
from worker.cyclr.limiter_rule import Rule
from worker.domain.pace import LimiterState, Pace
from worker.domain.server_faults import ServerFault
from worker.embedded import Home
from worker.settings import CyclrSettings, InvalidSettings, parse_sealing_keys
from worker.store.faults import note_database_failure, note_database_success
from worker.store.sealing import Sealer
from worker.store.session import Engine, open_engine

if TYPE_CHECKING:
    from worker.cyclr.client import CyclrClient
    from worker.cyclr.limiter import Limiter
    from worker.tickets import Doorbell

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Database:
    """The database, the key to the secrets in it, and the Cyclr whose jobs in it are ours."""

    engine: Engine
    sealer: Sealer
    instance_id: str


def open_database(settings: CyclrSettings) -> Database:
    """Raises: InvalidSettings where the URL or the sealing keys are missing."""
    missing = [
        f"{name} is not set"
        for name, value in (
            ("DATABASE_URL", settings.database_url),
            ("CYCLR_BULK_SEALING_KEYS", settings.cyclr_bulk_sealing_keys),
        )
        if value is None
    ]
    if settings.database_url is None or settings.cyclr_bulk_sealing_keys is None:
        raise InvalidSettings(missing)
    sealer = Sealer(parse_sealing_keys(settings.cyclr_bulk_sealing_keys.get_secret_value()))
    engine = open_engine(
        settings.database_url.get_secret_value(), connections=settings.cyclr_bulk_database_connections
    )
    return Database(engine, sealer, settings.instance_id)


class Place:
    """A deployment, whose workers belong to nobody's command; or, with `home`, a home beside whatever command owns it.

    `broker`: the URL of the Redis just now; the one rule of this process, where there is no Redis to be had; None where
    no command runs one. `uploads`: the folder of waiting uploads; None: they wait in the database. `has_workers`: whether any
    process could see to a job.
    """

    def __init__(
        self,
        settings: CyclrSettings,
        database: Database,
        broker: str | Rule | None,
        *,
        home: Home | None = None,
        clock: Clock | None = None,
        uploads: Path | None = None,
        has_workers: bool = True,
    ) -> None:
        self.settings = settings
        self.database = database
        self.broker = broker
        self.home = home
        self.clock = clock or Clock()
        self.uploads = home.path / "uploads" if home else uploads
        self.has_workers = has_workers
        self._tidied_at = self.clock.moment()
        self._doorbell: tuple[str, Doorbell] | None = None
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._opened: tuple[str | Rule, CyclrClient, Limiter] | None = None

    @property
    def redis_url(self) -> str | None:
        """None where there is none."""
        return self.broker if isinstance(self.broker, str) else None

    # Jobs

    def watch(self, job_id: str) -> AbstractContextManager[None]:
        """See to this job, from before its first row is written: nobody takes it for abandoned while the context lasts.

        The workers of a deployment see to every job.
        """
        return nullcontext() if self.home is None else self.home.watch(job_id)

    def ring(self) -> None:
        """There is work."""
        url = self.redis_url
        if url is None:
            return
        if self._doorbell is None or self._doorbell[0] != url:
            from worker.tickets import Doorbell

            self._doorbell = url, Doorbell(url)
        self._doorbell[1].ring()

    def count_tickets(self) -> int | None:
        """How many wait in the broker; None where it is away, or where there is none. It blocks."""
        from worker.tickets import count_tickets

        return None if self.redis_url is None else count_tickets(self.redis_url)

    def find_workers_began_ago_s(self) -> float | None:
        """Seconds since the workers of the home were started; None where that is not known, as in a deployment."""
        return None if self.home is None else self.home.find_workers_began_ago_s()

    def sweep(self) -> None:
        """One sweep, and once a minute what can wait. One that failed is noted, and done again in two seconds."""
        from worker.sweeping import SWEEPING, TIDY_EVERY_S, SweepRules, sweep, tidy

        engine = self.database.engine
        try:
            sweep(engine, self.database.instance_id, SweepRules.of(self.settings), self.ring)
            if self.clock.since(self._tidied_at) >= TIDY_EVERY_S:
                tidy(engine)
                self._tidied_at = self.clock.moment()
        except Exception as error:  # noqa: BLE001
            note_database_failure(error, SWEEPING)
        else:
            note_database_success(SWEEPING)

    # Calls

    def limiter(self, instance_id: str | None = None) -> "Limiter | None":
        """A limiter of one's own to look at the shared one; None where nobody runs one. `instance_id`: None for ours."""
        if self.broker is None:
            return None
        from worker.bootstrap.installer import make_limiter

        return make_limiter(
            self.settings,
            self.database.engine,
            clock=self.clock,
            broker=self.broker,
            instance_id=instance_id,
        )

    async def look_at_limiter(self, instance_id: str) -> LimiterState | ServerFault | None:
        """How the limiter of this instance stands, or why nobody may call; None where nobody runs one."""
        from worker.jobs.views import why_nobody_calls

        limiter = self.limiter(instance_id)
        if limiter is None:
            return None
        try:
            return await limiter.state()
        except LimiterAway as away:
            return why_nobody_calls(away)
        finally:
            with suppress(LimiterAway):
                await limiter.aclose()

    def open_cyclr(self) -> "AbstractAsyncContextManager[tuple[CyclrClient, Limiter]]":
        """A client and a limiter of one's own, for the running loop."""
        from worker.bootstrap.installer import open_cyclr

        assert self.broker is not None, "whoever calls has asked for a limit"
        return open_cyclr(self.settings, self.database.engine, clock=self.clock, broker=self.broker)

    def ask(self, question: "Callable[[CyclrClient, Limiter], Awaitable[T]]") -> T:
        """Calls of Cyclr by a command itself, under the limit that all processes share."""

        async def work() -> T:
            async with self.open_cyclr() as (client, limiter):
                return await question(client, limiter)

        return asyncio.run(work())

    async def cyclr(self) -> "tuple[CyclrClient, Limiter]":
        """The client and the limiter of the web server: opened at the first use, and anew where the broker has moved.

        Its connections and its token outlive a request. On the server's event loop only.
        """
        async with self._lock:
            if self._opened is None or self._opened[0] != self.broker:
                await self._stack.aclose()
                self._stack = AsyncExitStack()
                assert self.broker is not None
                opened = await self._stack.enter_async_context(self.open_cyclr())
                self._opened = (self.broker, *opened)
            return self._opened[1], self._opened[2]

    async def limiter_state(self, instance_id: str) -> LimiterState | ServerFault | None:
        """As `look_at_limiter`, by the web server's own connections where it is ours. On the server's event loop only."""
        from worker.jobs.views import why_nobody_calls

        if instance_id == self.database.instance_id:
            try:
                _, limiter = await self.cyclr()
                return await limiter.state()
            except LimiterAway as away:
                return why_nobody_calls(away)
            except (CyclrError, InvalidSettings):
                return None
        return await self.look_at_limiter(instance_id) if self.redis_url else None

    async def pace(self) -> Pace:
        """How fast Cyclr is called; as this process was set to where nobody can be asked. On the server's event loop only."""
        with suppress(CyclrError):
            _, limiter = await self.cyclr()
            return (await limiter.state()).pace
        own = self.settings.cyclr_calls_per_second
        return Pace(own, own)

    async def aclose(self) -> None:
        """End the connections of the web server to Cyclr and to the limiter; a second call is safe."""
        self._opened = None
        await self._stack.aclose()


def deployment(settings: CyclrSettings) -> Place:
    """Raises: InvalidSettings."""
    settings.require_deployment()
    assert settings.redis_url is not None
    return Place(settings, open_database(settings), settings.redis_url.get_secret_value())


def home_beside_its_owner(settings: CyclrSettings) -> Place:
    """Nothing is started in it, and Cyclr is not asked."""
    home = Home(settings.cyclr_bulk_home, Clock())
    is_in_use = home.is_in_use
    runtime = home.find_runtime() if is_in_use else None
    redis_url = None if runtime is None else runtime.redis_url or None
    settings = home.settings(settings)
    return Place(settings, open_database(settings), redis_url, home=home, has_workers=is_in_use)
