"""What all contenders share: one machine, one PostgreSQL, one Valkey, one stand-in server."""

import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.end_to_end.processes.commands import ROOT, Command, eventually
from tests.end_to_end.processes.place import Place
from tests.postgres import Databases, postgres_server
from tests.servers import ValkeyServer, valkey_server
from tests.started import start_process

# Those of a small server of its own, alike for everybody. What is committed is not forced to the disk (the tests'
# setting), which flatters those who commit for each account: the rivals.
POSTGRES = {"shared_buffers": "1GB", "max_wal_size": "8GB", "max_connections": "200"}
LONGEST_S = 3_600.0


class Site(Place):
    """`stand_in`: ask the stand-in server. Commands run in a folder of their own."""

    def __init__(self, folder: Path, port: int, valkey: ValkeyServer, databases: Databases) -> None:
        super().__init__(folder)
        self.url = f"http://127.0.0.1:{port}"
        self.valkey = valkey
        self.databases = databases

    def stand_in(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as answer:
            return json.load(answer)

    def count(self) -> int:
        return int(self.stand_in("/count"))

    def wait_for_installs(self, count: int, command: Command) -> None:
        """Raises: AssertionError where the command ends before that."""

        def has_come() -> bool:
            has_ended = command.exit_code is not None
            has_come = self.count() >= count
            assert has_come or not has_ended, f"it ended early:\n{command.err[-2000:]}"
            return has_come

        eventually(has_come, f"{count} installs:\n{command.err[-2000:]}", within_s=LONGEST_S, every_s=0.05)

    def begin(
        self, name: str, argv: Sequence[str], *, folder: Path | None = None, **environment: str
    ) -> Command:
        """A process, with the checkout as its code, unless PYTHONPATH says otherwise. `folder`: where it runs; else this site's."""
        self.folder.mkdir(exist_ok=True)
        command = Command(
            argv,
            env=self.environment(**environment),
            folder=folder or self.folder,
            name=f"{name}-{len(self.commands) + 1}",
        )
        self.commands.append(command)
        return command

    def end(self, command: Command) -> None:
        """The command and all that it started are gone."""
        family = tree(command.pid)
        with suppress(psutil.Error):
            psutil.Process(command.pid).terminate()
        _, alive = psutil.wait_procs(family, timeout=15)
        for process in alive:
            with suppress(psutil.Error):
                process.kill()
        command.kill()

    def flush(self) -> None:
        """An empty Valkey."""
        self.valkey.kill()
        self.valkey.start()


def tree(pid: int) -> list[psutil.Process]:
    """The process and all below it; none where it has ended."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """User and system seconds of these processes so far."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def resident_mb(processes: Sequence[psutil.Process]) -> float:
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / 1024**2


def dsn(database_url: str) -> str:
    """As psycopg and asyncpg read it."""
    return database_url.replace("postgresql+psycopg://", "postgresql://")


def execute(database_url: str, *statements: str) -> None:
    with psycopg.connect(dsn(database_url), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


@contextmanager
def open_site() -> Iterator[Site]:
    """The servers, and a place that ends whatever is left."""
    folder = Path(tempfile.mkdtemp(prefix="cyclr-bulk-bench-"))
    server = start_process(
        [sys.executable, "-m", "tests.benchmarks.server"], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        with valkey_server() as valkey, postgres_server(POSTGRES) as postgres:
            site = Site(folder, port, valkey, postgres.databases())
            try:
                yield site
            finally:
                site.close()
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)
