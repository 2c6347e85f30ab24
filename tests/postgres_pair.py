"""Two PostgreSQL of the tests' own: one takes writes, the other follows it and can take its place. And a switch before them."""

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from sqlalchemy.engine import make_url

from tests.end_to_end.processes.commands import eventually
from tests.postgres import Databases, PostgresServer

SOCKET = ".s.PGSQL.5432"
PIECE = 65_536
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


class Switch:
    """An address of 127.0.0.1 behind which stands one server, and later another. `taken`: the connections that it took."""

    def __init__(self, server: PostgresServer) -> None:
        self.taken = 0
        self._server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="switch", daemon=True)
        self._links: set[asyncio.Task[None]] = set()

    def lead_to(self, server: PostgresServer) -> None:
        """New connections only: those that are open stay with the server that they have."""
        self._server = server

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._link, "127.0.0.1", 0)
        self._port = int(self._listener.sockets[0].getsockname()[1])

    async def _end(self) -> None:
        self._listener.close()
        for link in list(self._links):
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _link(self, client_reads: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        self.taken += 1
        server: asyncio.StreamWriter | None = None
        try:
            server_reads, server = await asyncio.open_unix_connection(str(self._server.folder / SOCKET))
            ways = [
                asyncio.create_task(_pass_on(client_reads, server)),
                asyncio.create_task(_pass_on(server_reads, client)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # the server is away, or the test is over: for the client the connection ends
        finally:
            self._links.discard(task)
            for end in (client, server):
                if end is not None:
                    with suppress(OSError, RuntimeError):
                        end.close()


async def _pass_on(reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
    while data := await reads.read(PIECE):
        writes.write(data)
        await writes.drain()


class DatabasesBehind(Databases):
    """Made in one server, and reached by other hosts: as PostgreSQL's own programs take a list of them."""

    def __init__(self, server: PostgresServer, hosts: str) -> None:
        super().__init__(f"postgresql://postgres@/postgres?host={server.folder}")
        self._hosts = hosts

    def new(self, template: str = "template1") -> str:
        return f"postgresql://postgres@{self._hosts}/{make_url(super().new(template)).database}"

    def drop(self, url: str) -> None:
        """It goes with its servers."""
