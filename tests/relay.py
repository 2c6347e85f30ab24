"""Stands between a server and its clients, on this machine: passes on what they say, unless a test has it say something else."""

import asyncio
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self

from sqlalchemy.engine import make_url

SOCKET = ".s.PGSQL.5432"
PIECE = 65_536


class Link(Protocol):
    """One connection: what goes up, what comes down. It ends with whichever of the two ends first."""

    async def up(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None: ...

    async def down(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None: ...


async def pass_on(reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
    while data := await reads.read(PIECE):
        writes.write(data)
        await writes.drain()


class PassedOn:
    """A link that changes nothing."""

    async def up(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        await pass_on(reads, writes)

    async def down(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        await pass_on(reads, writes)


class Relay:
    """`server`: the path of its socket, or its port of 127.0.0.1. `socket`: where it listens itself, else on a free port of
    127.0.0.1. `link`: makes what each connection goes through, of the client's writer. `tls`: for its clients.

    `taken`: the connections that it took; `connections`: of those, the ones that went on, whose client believed the certificate.
    """

    def __init__(
        self,
        server: str | int,
        link: Callable[[asyncio.StreamWriter], Link] = lambda _: PassedOn(),
        *,
        socket: Path | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.port = 0
        self.taken = 0
        self.connections = 0
        self._server = server
        self._socket = socket
        self._link = link
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._relays: set[asyncio.Task[None]] = set()

    def lead_to(self, server: str | int) -> None:
        """New connections only: those that are open stay with the server that they have."""
        self._server = server

    def cut(self) -> None:
        """All connections; new ones are taken."""
        self.do(self._cut)

    def change_certificate(self, tls: ssl.SSLContext) -> None:
        """For connections to come; those that stand are cut."""

        def change() -> None:
            self._tls = tls
            self._cut()

        self.do(change)

    def do(self, change: Callable[[], None]) -> None:
        """Between two pieces of what is said."""

        async def now() -> None:
            change()

        asyncio.run_coroutine_threadsafe(now(), self._loop).result(30)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _listen(self) -> None:
        if self._socket is not None:
            self._listener: asyncio.Server = await asyncio.start_unix_server(self._relay, self._socket)
        else:
            self._listener = await asyncio.start_server(self._relay, "127.0.0.1", 0)
            self.port = self._listener.sockets[0].getsockname()[1]

    def _cut(self) -> None:
        for relay in list(self._relays):
            relay.cancel()

    async def _end(self) -> None:
        self._listener.close()
        self._cut()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _relay(self, reads: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        self.taken += 1
        server: asyncio.StreamWriter | None = None
        try:
            if self._tls is not None:
                await client.start_tls(self._tls)
            self.connections += 1
            server_reads, server = await self._connect()
            link = self._link(client)
            ways = [
                asyncio.create_task(link.up(reads, server)),
                asyncio.create_task(link.down(server_reads, client)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            # The client does not believe us, the server is away, or the test is over: for the client the connection ends.
            client.transport.abort()
        finally:
            self._relays.discard(task)
            for end in (client, server):
                if end is not None:
                    with suppress(OSError, RuntimeError):
                        end.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._server, int):
            return await asyncio.open_connection("127.0.0.1", self._server)
        return await asyncio.open_unix_connection(self._server)


class PostgresRelay(Relay):
    """`server`, `folder`: of the sockets, the server's and its own."""

    def __init__(self, server: Path, folder: Path, link: Callable[[asyncio.StreamWriter], Link]) -> None:
        super().__init__(str(server / SOCKET), link, socket=folder / SOCKET)
        self._folder = folder

    def lead_to_folder(self, server: Path) -> None:
        self.lead_to(str(server / SOCKET))

    def url(self, server_url: str) -> str:
        """The URL of the same database, through here."""
        through = make_url(server_url).update_query_dict({"host": str(self._folder)})
        return through.render_as_string(hide_password=False)
