"""What calls Cyclr: the client and its limiter, and what runs the install loop, in a process of Celery's or in a thread of a command."""

import asyncio
import random
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from worker.bootstrap.place import Place
from worker.clock import Clock
from worker.cyclr.client import CyclrClient
from worker.cyclr.exchange import Credentials
from worker.cyclr.limiter import InProcessLimiter, Limiter
from worker.cyclr.limiter_redis import RedisLimiter
from worker.cyclr.limiter_rule import Limit, Rule
from worker.cyclr.transport import open_http
from worker.installing import InstallRun, Rules
from worker.settings import CyclrSettings
from worker.store.faults import note_database_failure, note_database_success
from worker.store.instances import (
    DatabaseGate,
    ensure_instance,
    forget_sighting,
    new_worker_id,
    note_sighting,
)
from worker.store.session import Engine

# Of one ticket. While the last calls of a run are under way no new one starts, which costs a slow Cyclr a call of its time;
# and only between two runs a busy process takes an item that must be alone.
RUN_S = 120.0
IDLE_S = 0.25  # between two runs where no ticket tells of work
SEEN_EVERY_S = 10.0
NOTING = "saying that this worker lives"
PROBE_MARGIN_S = 5.0


class Installer:
    """Runs the install loop, time after time, on one event loop: connections and the token outlive a run."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._opened: tuple[CyclrClient, Limiter] | None = None
        self._sighting = Sighting(place.database.engine, place.database.instance_id)
        self._sighting.start()

    def run(self, *, for_s: float, on_start: Callable[[asyncio.AbstractEventLoop, InstallRun], None]) -> None:
        """One run. `on_start` gets the loop and the run, to stop it from outside."""
        self._runner.run(self._run(for_s, on_start))

    def close(self) -> None:
        self._sighting.end()
        self._runner.run(self._stack.aclose())
        self._runner.close()

    async def _run(
        self, for_s: float, on_start: Callable[[asyncio.AbstractEventLoop, InstallRun], None]
    ) -> None:
        settings, database = self._place.settings, self._place.database
        if self._opened is None:
            # Opened anew at each try: the database may be away when the process starts.
            self._opened = await self._stack.enter_async_context(self._place.open_cyclr())
        client, limiter = self._opened
        run = InstallRun(
            engine=database.engine,
            sealer=database.sealer,
            instance_id=database.instance_id,
            client=client,
            limiter=limiter,
            rules=Rules.of(settings),
            ring=self._place.ring,
            clock=self._place.clock,
            rng=random.Random(),
        )
        on_start(asyncio.get_running_loop(), run)
        await run.run(for_s=for_s)


class Sighting:
    """Says every few seconds that this worker process lives, so that others can tell whether anybody works.

    In a thread of its own: a process that waits for a ticket does nothing else.
    """

    def __init__(self, engine: Engine, instance_id: str) -> None:
        self._engine = engine
        self._instance_id = instance_id
        self._worker_id = new_worker_id(socket.gethostname())
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="sighting", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """It is not seen any more."""
        self._has_ended.set()

    def _go_on(self) -> None:
        while True:
            try:
                note_sighting(self._engine, self._worker_id, self._instance_id)
            except Exception as error:  # noqa: BLE001 - the database may be away; it is said again soon
                note_database_failure(error, NOTING)
            else:
                note_database_success(NOTING)
            if self._has_ended.wait(SEEN_EVERY_S):
                break
        try:
            forget_sighting(self._engine, self._worker_id)
        except Exception as error:  # noqa: BLE001 - it is forgotten in an hour
            note_database_failure(error, NOTING)


class InProcessWorker:
    """Installs in this process, in a thread: where no broker is to be had."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="installs", daemon=True)
        self._running: tuple[asyncio.AbstractEventLoop, InstallRun] | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """Give back what was not sent, settle what is in flight."""
        self._is_stopping.set()
        if self._running is not None:
            loop, run = self._running
            with suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(run.stop)
        self._thread.join(within_s)

    def _work(self) -> None:
        installer = Installer(self._place)

        def remember(loop: asyncio.AbstractEventLoop, run: InstallRun) -> None:
            self._running = (loop, run)
            if self._is_stopping.is_set():
                run.stop()

        while not self._is_stopping.wait(IDLE_S):
            installer.run(for_s=RUN_S, on_start=remember)
        installer.close()


@asynccontextmanager
async def open_cyclr(
    settings: CyclrSettings, engine: Engine, *, clock: Clock, broker: str | Rule, is_idle: bool = False
) -> AsyncIterator[tuple[CyclrClient, Limiter]]:
    """The client and its limiter, for the running loop.

    `broker`: the URL of the Redis where the limit is kept; where there is none, the one rule of this process.
    `is_idle`: the caller knows that no other process has a call reserved.
    """
    settings.require_cyclr()
    assert settings.cyclr_api_url is not None
    assert settings.cyclr_client_id is not None
    assert settings.cyclr_client_secret is not None
    ensure_instance(engine, settings.instance_id, settings.api_host)
    limiter = make_limiter(settings, engine, clock=clock, broker=broker)
    if is_idle:
        await limiter.declare_idle()
    http = open_http(settings.cyclr_api_url, max_connections=settings.cyclr_concurrency + 10)
    credentials = Credentials(settings.cyclr_client_id, settings.cyclr_client_secret.get_secret_value())
    client = CyclrClient(
        http,
        settings.cyclr_api_url,
        credentials,
        timeout_s=settings.cyclr_timeout_s,
        clock=clock,
        limiter=limiter,
    )
    try:
        yield client, limiter
    finally:
        await client.aclose()
        await limiter.aclose()


def make_limiter(
    settings: CyclrSettings,
    engine: Engine,
    *,
    clock: Clock,
    broker: str | Rule,
    instance_id: str | None = None,
) -> Limiter:
    """`instance_id`: None for the one of the settings."""
    instance_id = instance_id or settings.instance_id
    gates = DatabaseGate(engine, instance_id)
    probe_s = settings.cyclr_timeout_s + PROBE_MARGIN_S
    if isinstance(broker, Rule):
        return InProcessLimiter(
            broker,
            limit=limit_of(settings),
            gates=gates,
            probe_s=probe_s,
            clock=clock,
        )
    return RedisLimiter(
        broker,
        instance_id,
        limit=limit_of(settings),
        gates=gates,
        probe_s=probe_s,
        clock=clock,
    )


def limit_of(settings: CyclrSettings) -> Limit:
    """The limit that these settings ask for, and which of it somebody has set."""
    is_rate_set = "cyclr_calls_per_second" in settings.model_fields_set
    return Limit(
        settings.cyclr_calls_per_second,
        settings.cyclr_burst,
        is_rate_set=is_rate_set,
        # Whoever set a rate has it with the burst that goes with it here, or another one's burst would break its limit.
        is_burst_set=is_rate_set or "cyclr_burst" in settings.model_fields_set,
    )
