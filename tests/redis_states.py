"""States in which a real Valkey answers with errors while its connections stand: entered, and left again."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import redis

from tests.end_to_end.processes.commands import eventually
from tests.servers import ValkeyServer

OPERATOR = "operator"
NO_MASTER = ("127.0.0.1", "1")
# What a process may still do whose user has lost its permissions.
LEFT = ("+ping", "+hello", "+auth", "+client")

State = Callable[[ValkeyServer], AbstractContextManager[None]]


@contextmanager
def operator(server: ValkeyServer) -> Iterator["redis.Redis"]:
    """Somebody who is not the user of the processes."""
    with redis.Redis.from_url(server.url, socket_timeout=10) as client, contextlib.suppress(redis.RedisError):
        client.execute_command("ACL", "SETUSER", OPERATOR, "on", ">operator", "~*", "&*", "+@all")
    url = server.url.replace("unix://", f"unix://{OPERATOR}:operator@")
    with redis.Redis.from_url(url, socket_timeout=10) as client:
        yield client


@contextmanager
def _configured(server: ValkeyServer, **values: str) -> Iterator[None]:
    """Each setting as given, and then as it was."""
    named = {name.replace("_", "-"): value for name, value in values.items()}
    with operator(server) as client:
        before = {name: client.config_get(name)[name] for name in named}
        for name, value in named.items():
            client.config_set(name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                client.config_set(name, value)


@contextmanager
def full(server: ValkeyServer) -> Iterator[None]:
    with _configured(server, maxmemory_policy="noeviction", maxmemory="100000"):
        yield


@contextmanager
def read_only(server: ValkeyServer) -> Iterator[None]:
    with operator(server) as client:
        client.replicaof(*NO_MASTER)
        try:
            yield
        finally:
            client.replicaof("NO", "ONE")


@contextmanager
def without_its_master(server: ValkeyServer) -> Iterator[None]:
    with _configured(server, replica_serve_stale_data="no"), read_only(server):
        yield


@contextmanager
def without_replicas(server: ValkeyServer) -> Iterator[None]:
    with _configured(server, min_replicas_to_write="1"):
        yield


@contextmanager
def unable_to_save(server: ValkeyServer) -> Iterator[None]:
    """What it would write is in the way."""
    with operator(server) as client, _configured(server, save="3600 1000000"):
        dump = Path(client.config_get("dir")["dir"], client.config_get("dbfilename")["dbfilename"])

        def is_in_the_way() -> bool:
            with contextlib.suppress(FileExistsError):  # a save of before has just ended
                dump.unlink(missing_ok=True)
                dump.mkdir()
            return dump.is_dir()

        eventually(is_in_the_way, "what it would write is in the way")

        def saved(status: str) -> bool:
            with contextlib.suppress(redis.ResponseError):  # one is under way
                client.bgsave()
            return str(client.info("persistence")["rdb_last_bgsave_status"]) == status

        eventually(lambda: saved("err"), "a save has failed")
        try:
            yield
        finally:
            dump.rmdir()
            eventually(lambda: saved("ok"), "a save has succeeded")


@contextmanager
def forbidden(server: ValkeyServer) -> Iterator[None]:
    with operator(server) as client:
        client.execute_command("ACL", "SETUSER", "default", "-@all", *LEFT)
        try:
            yield
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def with_a_password(server: ValkeyServer) -> Iterator[None]:
    """Which nobody has told the processes."""
    with operator(server) as client, _configured(server, requirepass="changed"):
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        yield


@contextmanager
def busy(server: ValkeyServer) -> Iterator[None]:
    """A script of somebody else does not end."""

    def run() -> None:
        with operator(server) as client, contextlib.suppress(redis.RedisError):
            client.eval("while true do end", 0)

    with _configured(server, busy_reply_threshold="50"):
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        eventually(lambda: _is_busy(server), "the script runs")
        try:
            yield
        finally:
            eventually(lambda: _ends_script(server, thread), "the script has ended")


def _is_busy(server: ValkeyServer) -> bool:
    with redis.Redis.from_url(server.url, socket_timeout=10) as client:
        try:
            client.exists("anything")
        except redis.ResponseError as error:
            return str(error).startswith("BUSY")
    return False


def _ends_script(server: ValkeyServer, thread: threading.Thread) -> bool:
    url = server.url.replace("unix://", f"unix://{OPERATOR}:operator@")
    with redis.Redis.from_url(url, socket_timeout=10) as client, contextlib.suppress(redis.RedisError):
        client.execute_command("SCRIPT", "KILL")
    thread.join(0.2)
    return not thread.is_alive()


# What the processes are then told, by its first word.
STATES: dict[str, State] = {
    "OOM": full,
    "READONLY": read_only,
    "MASTERDOWN": without_its_master,
    "NOREPLICAS": without_replicas,
    "MISCONF": unable_to_save,
    "NOPERM": forbidden,
    "NOAUTH": with_a_password,
    "BUSY": busy,
}
