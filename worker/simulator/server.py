"""Runs the stand-in on a loopback port: in a loop of the caller's, in a thread of its own, or as a whole process."""

import asyncio
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from aiohttp import web

from worker.simulator.admin import Admin
from worker.simulator.control import Control
from worker.simulator.faults import FaultPlan
from worker.simulator.ledger import Ledger
from worker.simulator.traffic import Traffic
from worker.simulator.world import World

HOST = "127.0.0.1"
MOST_BODY_BYTES = 4_000_000
END_WITHIN_S = 1.0

T = TypeVar("T")


class Simulator:
    """The stand-in. It can be stopped and started again, on the same port, with its world and ledger kept."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.ledger = Ledger(self.world.now)
        self.world.record = self.ledger.record
        self.admin = Admin(self.world)
        self.base_url = ""
        self._runner: web.AppRunner | None = None

    @property
    def faults(self) -> FaultPlan:
        return self.world.faults

    async def start(self, port: int = 0, host: str = HOST) -> int:
        """Listens on 127.0.0.1 unless told otherwise; 0 takes a free port. Returns the port. Raises: `OSError` where the port is taken."""
        traffic = Traffic(self.world, self.ledger, self.admin)
        app = web.Application(client_max_size=MOST_BODY_BYTES)
        Control(self.world, self.ledger, self.admin).add_to(app)
        app.router.add_route("*", "/{path:.*}", traffic.handle)
        app.on_shutdown.append(traffic.end_silences)
        app.on_cleanup.append(traffic.drop_late_effects)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=END_WITHIN_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, reuse_address=True).start()
        bound_port: int = self._runner.addresses[0][1]
        self.base_url = f"http://{host}:{bound_port}"
        return bound_port

    async def stop(self) -> None:
        """Ends all connections within about a second. A second call does nothing."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()


class SimulatorThread:
    """A Simulator in a thread with a loop of its own, for tests that are not asynchronous.

    Reading `.ledger` and planning for the `.admin` is safe from any thread. Everything else that changes or walks the
    world while calls come in goes through `call`.
    """

    def __init__(self, world: World | None = None, *, port: int = 0) -> None:
        self.simulator = Simulator(world)
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulator", daemon=True)

    def __enter__(self) -> "SimulatorThread":
        self._thread.start()
        try:
            self.start()
        except BaseException:
            self.stop()
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._end()

    @property
    def base_url(self) -> str:
        return self.simulator.base_url

    @property
    def ledger(self) -> Ledger:
        return self.simulator.ledger

    @property
    def admin(self) -> Admin:
        return self.simulator.admin

    def start(self) -> None:
        """Listens (again): the first time on the port asked for, later on the same one."""
        self._port = asyncio.run_coroutine_threadsafe(self.simulator.start(self._port), self._loop).result()

    def stop(self) -> None:
        """Refuses connections until `start`."""
        asyncio.run_coroutine_threadsafe(self.simulator.stop(), self._loop).result()

    def call(self, do: Callable[[World], T]) -> T:
        """Runs `do(world)` in the simulator's own thread, between two calls, and returns what it returns."""

        async def run() -> T:
            return do(self.simulator.world)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def _end(self) -> None:
        asyncio.run_coroutine_threadsafe(_end_late_answers(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _end_late_answers() -> None:
    """A call that was to be answered late may still be waiting for its time."""
    waiting = asyncio.all_tasks() - {asyncio.current_task()}
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def serve(
    port: int,
    *,
    host: str = HOST,
    world: World | None = None,
    latency_s: float = 0.0,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Runs the stand-in until SIGTERM or SIGINT. `ready` hears the base URL once it listens.

    Raises: `OSError` where the port is taken.
    """
    simulator = Simulator(world)
    if latency_s:
        simulator.faults.latency_s = (latency_s, latency_s)
    with suppress(KeyboardInterrupt):  # where the loop cannot handle signals
        asyncio.run(_serve(simulator, host, port, ready))


async def _serve(simulator: Simulator, host: str, port: int, ready: Callable[[str], None] | None) -> None:
    ended = asyncio.Event()
    with suppress(NotImplementedError):
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        await simulator.start(port, host)
        if ready is not None:
            ready(simulator.base_url)
        await ended.wait()
    finally:
        await simulator.stop()
