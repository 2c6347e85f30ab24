"""One simulated Cyclr and one home, and the real command as a process of its own that works with both."""

import csv
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
import redis
from sqlalchemy import Row, inspect, select

from tests.end_to_end.processes.commands import Command, eventually
from tests.end_to_end.processes.place import Place
from tests.servers import valkey_contents
from worker.embedded.processes import Runtime
from worker.simulator.catalogue import Parameter, method
from worker.simulator.ledger import Call
from worker.simulator.server import SimulatorThread
from worker.simulator.world import World
from worker.store.session import Engine, open_engine, reading
from worker.store.tables import items, jobs

T = TypeVar("T")

CLIENT_ID, CLIENT_SECRET = "partner-1", "partner-secret-4be1c7"
CONNECTOR = "Northwind Mail"
CALLS_PER_SECOND, BURST = 100, 20
TIMEOUT_S, SETTLE_S = 2.0, 0.5
LATENCY_S = (0.03, 0.07)


class Site(Place):
    """A place with a simulated Cyclr and one home."""

    def __init__(self, folder: Path, simulator: SimulatorThread) -> None:
        super().__init__(folder)
        self.home = folder / "home"
        self.simulator = simulator
        self.secrets = {CLIENT_SECRET}
        self._engine: Engine | None = None
        self._has_tables = False

    # What is asked for.

    def file(self, accounts: Sequence[str], name: str = "accounts.csv") -> Path:
        """A CSV that installs the connector into these accounts, with a credential and a secret property each."""
        path = self.folder / name
        with path.open("w", newline="", encoding="utf-8") as out:
            lines = csv.writer(out)
            lines.writerow(["account_id", "connector", "api_key", "property.WebhookSecret"])
            for account_id in accounts:
                key, secret = f"key-of-{account_id}-5f1c", f"whsec-of-{account_id}-77ab"
                self.secrets |= {key, secret}
                lines.writerow([account_id, CONNECTOR, key, secret])
        return path

    def run(self, file: Path, *more: str) -> Command:
        """`cyclr-bulk run FILE --yes`, started."""
        return self.start("run", str(file), "--yes", *more)

    def environment(self, **more: str) -> dict[str, str]:
        settings = {
            "CYCLR_API_URL": self.simulator.base_url,
            "CYCLR_CLIENT_ID": CLIENT_ID,
            "CYCLR_CLIENT_SECRET": CLIENT_SECRET,
            "CYCLR_CALLS_PER_SECOND": str(CALLS_PER_SECOND),
            "CYCLR_BURST": str(BURST),
            "CYCLR_TIMEOUT_S": str(TIMEOUT_S),
            "CYCLR_SETTLE_S": str(SETTLE_S),
            "CYCLR_BULK_HOME": str(self.home),
        }
        return super().environment(**(settings | more))

    # Its processes.

    def runtime(self) -> Runtime:
        """What the home's owner runs; waits until it runs workers too."""

        def find() -> Runtime | None:
            with suppress(FileNotFoundError):
                found = Runtime.find((self.home / "runtime.json").read_text(encoding="utf-8"))
                if found is not None and "workers" in found.children:
                    return found
            return None

        return eventually(find, "the owner has written down its services")

    def valkey(self) -> psutil.Process:
        return psutil.Process(self.runtime().children["valkey"].pid)

    def celery_main(self) -> psutil.Process:
        return psutil.Process(self.runtime().children["workers"].pid)

    def celery_children(self) -> list[psutil.Process]:
        """None while Celery is dead."""
        with suppress(psutil.NoSuchProcess):
            return sorted(self.celery_main().children(), key=lambda process: process.pid)
        return []

    def busy_children(self) -> list[psutil.Process]:
        """Worker processes that have a connection to Cyclr."""
        return [process for process in self.celery_children() if self._calls_cyclr(process)]

    def _calls_cyclr(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            port = int(self.simulator.base_url.rpartition(":")[2])
            return any(link.raddr and link.raddr.port == port for link in process.net_connections("tcp"))
        return False

    def valkey_contents(self) -> bytes:
        """All that the Valkey holds; nothing while it is dead."""
        with suppress(redis.ConnectionError):
            return b"\n".join(valkey_contents(self.runtime().redis_url).values())
        return b""

    # What came of it.

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = open_engine(f"sqlite:///{self.home / 'cyclr-bulk.db'}")
        return self._engine

    def has_tables(self) -> bool:
        """Asked until it is so: tables stay."""
        if not self._has_tables and (self.home / "cyclr-bulk.db").exists():
            self._has_tables = inspect(self.engine).has_table("jobs")
        return self._has_tables

    def jobs(self) -> list[Row[Any]]:
        with reading(self.engine) as connection:
            return list(connection.execute(select(jobs).order_by(jobs.c.created_at)))

    def items(self) -> list[Row[Any]]:
        with reading(self.engine) as connection:
            return list(connection.execute(select(items).order_by(items.c.id)))

    def installs(self) -> list[Call]:
        return self.simulator.ledger.calls_of("install")

    def wait_for_installs(self, count: int, *, interrupted: Sequence[Command] = ()) -> None:
        """Until so many install calls have reached Cyclr. `interrupted`: commands that have ended as they should."""
        running = [command for command in self.commands if command not in interrupted]
        eventually(
            lambda: self._has_installs(count, running), f"Cyclr has seen {count} install calls", every_s=0.01
        )

    def _has_installs(self, count: int, running: Sequence[Command]) -> bool:
        for command in running:
            assert command.exit_code in (None, 0, -signal.SIGKILL), command.out + command.err
        return len(self.installs()) >= count

    def change(self, do: Callable[[World], T]) -> T:
        """Runs in the simulator, between two calls."""
        return self.simulator.call(do)

    def close(self) -> None:
        super().close()
        if self._engine is not None:
            self._engine.dispose()


@contextmanager
def open_site(folder: Path, accounts: Sequence[str]) -> Iterator[Site]:
    """A site whose Cyclr has these accounts, and does not check names: doubles are possible."""
    world = World(credentials={CLIENT_ID: CLIENT_SECRET})
    for account_id in accounts:
        world.add_account(account_id)
    secret = Parameter(1, "WebhookSecret", "Signing secret", is_sensitive=True)
    world.add_connector(CONNECTOR, "3.0", methods=[method("ApiKey", seed="tests")], parameters=[secret])
    world.switches.name_check = False
    world.faults.latency_s = LATENCY_S
    with SimulatorThread(world) as simulator:
        site = Site(folder, simulator)
        try:
            yield site
        finally:
            site.close()


def account_ids(count: int, prefix: str = "account") -> list[str]:
    return [f"{prefix}-{number:03}" for number in range(count)]
