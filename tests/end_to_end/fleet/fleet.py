"""A deployment: PostgreSQL, Valkey, a simulated Cyclr, the processes of the Procfile, and commands that steer it."""

import csv
import io
import json
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
from sqlalchemy import Row, select
from typer.testing import CliRunner

from tests.end_to_end.processes.commands import ROOT, Command, eventually
from tests.end_to_end.processes.place import Place
from tests.postgres import Databases
from tests.servers import ValkeyServer, valkey_server
from worker.cli.app import app
from worker.simulator.catalogue import Parameter, method
from worker.simulator.ledger import Call
from worker.simulator.server import SimulatorThread
from worker.simulator.world import World
from worker.store.session import Engine, open_engine, reading
from worker.store.tables import items, jobs
from worker.telemetry import configure_logging

T = TypeVar("T")

CLIENT_ID, CLIENT_SECRET = "partner-1", "partner-secret-7d0c35"
OTHER_CLIENT_ID = "partner-2"
CONNECTOR = "Northwind Mail"
KEY = "k1:" + "MTEx" * 10 + "MTE="
TIMEOUT_S, SETTLE_S = 2.0, 0.3
COLUMNS = ("account_id", "connector", "api_key", "property.WebhookSecret")


def procfile(code: Path = ROOT) -> dict[str, list[str]]:
    """Process name -> its command, as words, in this checkout."""
    lines = (code / "Procfile").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(":") for line in lines if line.strip() and not line.startswith("#"))
    return {name: shlex.split(command) for name, _, command in pairs}


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        """One JSON value for each line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Fleet(Place):
    """`say`: type a command. `launch`: start a process of the Procfile."""

    def __init__(
        self,
        folder: Path,
        simulator: SimulatorThread,
        valkey: ValkeyServer,
        database_url: str,
        **settings: str,
    ) -> None:
        super().__init__(folder)
        # As in the image: what `alembic` needs lies where the processes run.
        for name in ("alembic.ini", "migrations"):
            (folder / name).symlink_to(ROOT / name)
        self.simulator = simulator
        self.valkey = valkey
        self.secrets = {CLIENT_SECRET, KEY.partition(":")[2]}
        self.said: list[Said] = []
        self.settings = {
            "CYCLR_API_URL": simulator.base_url,
            "CYCLR_CLIENT_ID": CLIENT_ID,
            "CYCLR_CLIENT_SECRET": CLIENT_SECRET,
            "CYCLR_CALLS_PER_SECOND": "200",
            "CYCLR_BURST": "20",
            "CYCLR_TIMEOUT_S": str(TIMEOUT_S),
            "CYCLR_SETTLE_S": str(SETTLE_S),
            "CYCLR_BULK_SEALING_KEYS": KEY,
            "DATABASE_URL": database_url,
            "REDIS_URL": valkey.url,
            "CYCLR_BULK_HOME": str(folder / "home"),
            **settings,
        }
        self._engine: Engine | None = None

    # What is asked for.

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(**(self.settings | more))

    def launch(self, name: str, *more: str, **environment: str) -> Command:
        """A process of the Procfile."""
        command = Command(
            [*procfile()[name], *more],
            env=self.environment(**environment),
            folder=self.folder,
            name=f"{name}-{len(self.commands) + 1}",
        )
        self.commands.append(command)
        return command

    def launch_worker(self, *more: str) -> Command:
        """A worker whose processes are up."""
        self.worker = self.launch("worker", *more)
        eventually(lambda: worker_processes(self.worker), "the worker has its processes")
        return self.worker

    def release(self) -> None:
        assert self.launch("release").wait() == 0, self.commands[-1].err

    def say(self, *words: object, **settings: str | None) -> Said:
        """`cyclr-bulk WORDS`, in this process. A setting that is None is not set."""
        environment: Mapping[str, str | None] = {**self.settings, **settings}
        result = CliRunner().invoke(app, [str(word) for word in words], env=environment)
        configure_logging(io.StringIO())
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        said = Said(result.exit_code, result.stdout, result.stderr)
        self.said.append(said)
        return said

    def file(self, accounts: Sequence[str], name: str = "accounts.csv", *, unknown: bool = False) -> Path:
        """A CSV that installs the connector into these accounts; they exist, unless they are to be `unknown`."""
        if not unknown:
            self.change(
                lambda world: [world.add_account(each) for each in accounts if each not in world.accounts]
            )
        path = self.folder / name
        with path.open("w", newline="", encoding="utf-8") as out:
            lines = csv.writer(out)
            lines.writerow(COLUMNS)
            for account_id in accounts:
                key, secret = f"key-of-{account_id}-5f1c", f"whsec-of-{account_id}-77ab"
                self.secrets |= {key, secret}
                lines.writerow([account_id, CONNECTOR, key, secret])
        return path

    def submit(self, accounts: Sequence[str], *options: str, **settings: str) -> str:
        """The id of a job for these accounts."""
        said = self.say("submit", self.file(accounts), "--yes", *options, **settings)
        assert said.code == 0, said.err
        return said.out.strip()

    # What came of it.

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = open_engine(self.settings["DATABASE_URL"])
        return self._engine

    def job(self, job_id: str) -> Row[Any]:
        with reading(self.engine) as connection:
            return connection.execute(select(jobs).where(jobs.c.id == job_id)).one()

    def items(self, job_id: str) -> list[Row[Any]]:
        with reading(self.engine) as connection:
            mine = select(items).where(items.c.job_id == job_id).order_by(items.c.row_number)
            return list(connection.execute(mine))

    def states(self, job_id: str) -> list[str]:
        return [item.state for item in self.items(job_id)]

    def calls(self, kind: str, accounts: Sequence[str]) -> list[Call]:
        wanted = set(accounts)
        return [call for call in self.simulator.ledger.calls_of(kind) if call.account_id in wanted]

    def wait_for(self, job_id: str, state: str) -> None:
        eventually(
            lambda: self.job(job_id).state == state and (state == "paused" or self.job(job_id).finished_at),
            f"job {job_id} is {state}",
        )

    def wait_for_installs(self, accounts: Sequence[str], count: int) -> None:
        eventually(lambda: len(self.calls("install", accounts)) >= count, f"{count} installs", every_s=0.01)

    def wait_for_silence(self, seconds: float = 1.5) -> int:
        """Nobody has called for so long; how many calls there were. Longer than a call may wait for its slot."""

        def is_silent() -> bool:
            return time.time() - self.simulator.ledger.calls[-1].received_at > seconds

        eventually(is_silent, "nobody calls")
        return len(self.simulator.ledger.calls)

    def change(self, do: Callable[[World], T]) -> T:
        """Runs in the simulator, between two calls."""
        return self.simulator.call(do)

    def assert_never_twice(self) -> None:
        assert self.change(lambda world: world.count_doubles()) == 0

    def assert_no_secret_was_said(self) -> None:
        """Neither by a command nor by a process."""
        texts = [text for said in self.said for text in (said.out, said.err)]
        texts += [text for command in self.commands for text in (command.out, command.err)]
        tokens = self.change(lambda world: set(world.tokens.bearers))
        assert [text for text in texts if any(secret in text for secret in self.secrets | tokens)] == []

    def close(self) -> None:
        super().close()
        if self._engine is not None:
            self._engine.dispose()


def worker_processes(worker: Command) -> list[psutil.Process]:
    """The processes that install, of Celery's main process."""
    with suppress(psutil.NoSuchProcess):
        assert worker.exit_code is None, worker.err
        return [process for process in psutil.Process(worker.pid).children() if not has_ended(process)]
    return []


def has_ended(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def end(command: Command, *, to_group: bool = False) -> int:
    """SIGTERM; the exit code."""
    if to_group:
        os.killpg(command.pid, signal.SIGTERM)
    else:
        command.send(signal.SIGTERM)
    return command.wait()


@contextmanager
def open_fleet(folder: Path, databases: Databases, **settings: str) -> Iterator[Fleet]:
    """Servers and an empty database; no process yet. Cyclr does not check names: doubles are possible."""
    world = World(credentials={CLIENT_ID: CLIENT_SECRET, OTHER_CLIENT_ID: CLIENT_SECRET})
    world.add_account("somebody")
    secret = Parameter(1, "WebhookSecret", "Signing secret", is_sensitive=True)
    world.add_connector(CONNECTOR, "3.0", methods=[method("ApiKey", seed="tests")], parameters=[secret])
    world.switches.name_check = False
    world.faults.latency_s = (0.03, 0.07)
    url = databases.new()
    with SimulatorThread(world) as simulator, valkey_server() as valkey:
        fleet = Fleet(folder, simulator, valkey, url, **settings)
        try:
            yield fleet
        finally:
            fleet.close()
            databases.drop(url)
