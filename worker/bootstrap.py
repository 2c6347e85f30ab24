"""Builds the parts from Settings: for a worker process, for a command, for one that installs by itself."""

import asyncio
import gc
import os
import random
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from billiard.process import active_children, current_process
from pydantic import SecretStr

from worker.clock import Clock
from worker.cyclr.client import CyclrClient
from worker.cyclr.limiter import InProcessLimiter, Limiter, RedisLimiter
from worker.cyclr.limiter_rule import Rule
from worker.cyclr.tokens import Credentials
from worker.cyclr.transport import open_http
from worker.installing import InstallRun, Limits, Rules
from worker.installing.sighting import Sighting
from worker.lifeline import die_with_parent
from worker.settings import CyclrSettings, InvalidSettings, load_settings, parse_sealing_keys
from worker.store.gates import DatabaseGate
from worker.store.loading import ensure_instance
from worker.store.readiness import DatabaseAway, OldSchema, require_ready
from worker.store.sealing import Sealer
from worker.store.session import Engine, open_engine
from worker.sweeping import SweepRules
from worker.telemetry import configure_logging, get_logger
from worker.tickets import Doorbell

# Of one ticket. While the last calls of a run are under way no new one starts, which costs a slow Cyclr a call of its time;
# and only between two runs a busy process takes an item that must be alone.
RUN_S = 120.0
IDLE_S = 0.25  # between two runs where no ticket tells of work
PROBE_MARGIN_S = 5.0

log = get_logger()


@dataclass(frozen=True, slots=True)
class Database:
    """What every part that touches the database is given."""

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
    return Database(open_engine(settings.database_url.get_secret_value()), sealer, settings.instance_id)


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
            calls_per_second=settings.cyclr_calls_per_second,
            burst=settings.cyclr_burst,
            gates=gates,
            probe_s=probe_s,
            clock=clock,
        )
    return RedisLimiter(
        broker,
        instance_id,
        calls_per_second=settings.cyclr_calls_per_second,
        burst=settings.cyclr_burst,
        gates=gates,
        probe_s=probe_s,
        clock=clock,
    )


def environment_of(settings: CyclrSettings) -> dict[str, str]:
    """The settings as a worker process reads them. Holds secrets: for a child's environment only."""
    values = {name.upper(): value for name, value in settings if value is not None}
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in values.items()
    }


def sweep_rules(settings: CyclrSettings) -> SweepRules:
    return SweepRules(
        rescue_due_in_s=settings.cyclr_timeout_s + settings.cyclr_settle_s,
        secret_retention_h=settings.cyclr_secret_retention_h,
        pause_above_percent=settings.cyclr_pause_above_percent,
    )


class Installer:
    """Runs the install loop, time after time, on one event loop: connections and the token outlive a run."""

    def __init__(self, settings: CyclrSettings, database: Database, *, broker: str | Rule) -> None:
        self._settings = settings
        self._database = database
        self._broker = broker
        self._doorbell = None if isinstance(broker, Rule) else Doorbell(broker)
        self._clock = Clock()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._opened: tuple[CyclrClient, Limiter] | None = None
        self._sighting = Sighting(database.engine, database.instance_id)
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
        settings = self._settings
        if self._opened is None:
            # Opened anew at each try: the database may be away when the process starts.
            cyclr = open_cyclr(settings, self._database.engine, clock=self._clock, broker=self._broker)
            self._opened = await self._stack.enter_async_context(cyclr)
        client, limiter = self._opened
        run = InstallRun(
            engine=self._database.engine,
            sealer=self._database.sealer,
            instance_id=self._database.instance_id,
            client=client,
            limiter=limiter,
            rules=Rules(settings.cyclr_max_attempts, settings.cyclr_retry_base_s, settings.cyclr_settle_s),
            limits=Limits(
                concurrency=settings.cyclr_concurrency,
                deadline_s=settings.cyclr_timeout_s,
                claim_s=settings.claim_s,
                pause_above_percent=settings.cyclr_pause_above_percent,
            ),
            ring=self._ring,
            clock=self._clock,
            rng=random.Random(),
        )
        on_start(asyncio.get_running_loop(), run)
        await run.run(for_s=for_s)

    def _ring(self) -> None:
        if self._doorbell is not None:
            self._doorbell.ring()


class InProcessWorker:
    """Installs in this process, in a thread: where no broker is to be had. `rule`: of all limiters of this process."""

    def __init__(self, settings: CyclrSettings, database: Database, rule: Rule) -> None:
        self._settings = settings
        self._database = database
        self._rule = rule
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
        installer = Installer(self._settings, self._database, broker=self._rule)

        def remember(loop: asyncio.AbstractEventLoop, run: InstallRun) -> None:
            self._running = (loop, run)
            if self._is_stopping.is_set():
                run.stop()

        while not self._is_stopping.wait(IDLE_S):
            installer.run(for_s=RUN_S, on_start=remember)
        installer.close()


# One worker process is one of these: made after the fork, since neither loops nor connections survive one.
_installer: Installer | None = None


def require_worker_can_start(broker_url: str) -> None:
    """Called in Celery's main process before it forks: what no process could work with ends it, with one message.

    A database that is away does not: it may come back. Raises: SystemExit.
    """
    configure_logging()
    try:
        settings = load_settings(needs_cyclr=True, needs_deployment=True)
        assert settings.redis_url is not None
        if settings.redis_url.get_secret_value() != broker_url:
            raise InvalidSettings(["REDIS_URL: expected in the environment, Celery does not read .env"])
        engine = open_database(settings).engine
        try:
            require_ready(engine)
        finally:
            engine.dispose()  # no connection may be shared with the processes to come
    except DatabaseAway as error:
        log.warning("database_away", database=error.where)
    except (InvalidSettings, OldSchema) as error:
        sys.exit(f"The worker does not start. {error}")


def set_up_worker_process() -> None:
    """Called in each of Celery's prefork processes as it starts."""
    global _installer  # a prefork process has no other place to keep it between two tickets
    die_with_parent(current_process()._parent_pid)
    configure_logging()
    settings = load_settings()
    assert settings.redis_url is not None, "Celery has started this process"
    _installer = Installer(settings, open_database(settings), broker=settings.redis_url.get_secret_value())
    # What was imported stays for good: the collector need not walk it again and again.
    gc.collect()
    gc.freeze()


def tear_down_worker_process() -> None:
    if _installer is not None:
        _installer.close()


def run_installs() -> None:
    """One ticket's work. SIGTERM ends it early: what was not sent is given back, what is in flight is settled."""
    assert _installer is not None, "set up by worker_process_init"

    def stop_on_sigterm(loop: asyncio.AbstractEventLoop, run: InstallRun) -> None:
        loop.add_signal_handler(signal.SIGTERM, run.stop)

    _installer.run(for_s=RUN_S, on_start=stop_on_sigterm)


def stop_worker_processes() -> None:
    """Called in Celery's main process: its prefork processes hear nothing of a warm shutdown by themselves."""
    for process in active_children():
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
