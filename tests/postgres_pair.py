"""Two PostgreSQL of the tests' own: one takes writes, the other follows it and can take its place. And a switch before them."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.end_to_end.processes.commands import eventually
from tests.postgres import Databases, PostgresServer
from tests.relay import SOCKET, Relay

FOLLOWING = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = ANY ('{%s}')"
# As a server that was the one that takes writes, and must not be so any more.
SET_ASIDE = {"default_transaction_read_only": "on", "synchronous_standby_names": ""}


class Pair:
    """`primary` takes writes, `standby` follows. `is_synchronous`: what was said to be committed stands in both."""

    def __init__(self, primary: PostgresServer, standby: PostgresServer) -> None:
        self.primary, self.standby = primary, standby

    def wait_until_it_follows(self, *, is_synchronous: bool) -> None:
        if is_synchronous:
            self.primary.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
            self.primary.ask("SELECT pg_reload_conf()")
        states = "sync" if is_synchronous else "async,potential"
        eventually(lambda: self.primary.ask(FOLLOWING % states), "the standby follows")

    def part(self) -> None:
        """The primary waits for no standby any more."""
        self.primary.ask("ALTER SYSTEM RESET synchronous_standby_names")
        self.primary.ask("SELECT pg_reload_conf()")

    def stop_following(self) -> None:
        """What is committed from now on, the standby will never know."""
        self.standby.ask("ALTER SYSTEM SET primary_conninfo = ''")
        self.standby.ask("SELECT pg_reload_conf()")
        eventually(
            lambda: not self.primary.ask("SELECT count(*) FROM pg_stat_replication"), "the standby is alone"
        )


@contextmanager
def postgres_pair(*, is_synchronous: bool = True) -> Iterator[Pair]:
    """Both run, and are killed at the end."""
    folders = [Path(tempfile.mkdtemp(prefix="pg-")) for _ in range(2)]
    primary = PostgresServer(folders[0])
    servers = [primary]
    try:
        primary.start()
        servers.append(PostgresServer(folders[1], standby_of=primary))
        servers[1].start()
        pair = Pair(*servers)
        pair.wait_until_it_follows(is_synchronous=is_synchronous)
        yield pair
    finally:
        for server in servers:
            server.kill()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


class Switch(Relay):
    """An address of 127.0.0.1 behind which stands one server, and later another."""

    def __init__(self, server: PostgresServer) -> None:
        super().__init__(str(server.folder / SOCKET))

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


class DatabasesBehind(Databases):
    """Made in one server, and reached by other hosts: as PostgreSQL's own programs take a list of them."""

    def __init__(self, server: PostgresServer, hosts: str) -> None:
        super().__init__(f"postgresql://postgres@/postgres?host={server.folder}")
        self._hosts = hosts

    def new(self, template: str = "template1") -> str:
        return f"postgresql://postgres@{self._hosts}/{make_url(super().new(template)).database}"

    def drop(self, url: str) -> None:
        """It goes with its servers."""
