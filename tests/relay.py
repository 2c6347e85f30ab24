"""Stands between a PostgreSQL on a Unix socket and its clients."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from sqlalchemy.engine import make_url

SOCKET = ".s.PGSQL.5432"
PIECE = 65_536


class Link(Protocol):
    """One connection: what goes up, what comes down. It ends with whichever of the two ends first."""

    async def up(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None: ...

    async def down(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None: ...


class Relay:
    """`link`: makes what each connection goes through. Its socket is in `folder`."""

    def __init__(self, server: Path, folder: Path, link: Callable[[], Link]) -> None:
        self._folder = folder
        self._server = str(server / SOCKET)
        self._socket = str(folder / SOCKET)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._relays: set[asyncio.Task[None]] = set()
        self._link = link

    def lead_to(self, server: Path) -> None:
        """New connections only: those that are open stay with the server that they have."""
        self._server = str(server / SOCKET)

    def url(self, server_url: str) -> str:
        """The URL of the same database, through here."""
        through = make_url(server_url).update_query_dict({"host": str(self._folder)})
        return through.render_as_string(hide_password=False)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_unix_server(self._relay, self._socket)

    async def _end(self) -> None:
        self._listener.close()
        for relay in list(self._relays):
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _relay(self, client_reads: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        server: asyncio.StreamWriter | None = None
        try:
            server_reads, server = await asyncio.open_unix_connection(self._server)
            link = self._link()
            ways = [
                asyncio.create_task(link.up(client_reads, server)),
                asyncio.create_task(link.down(server_reads, client)),
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
            self._relays.discard(task)
            for end in (client, server):
                if end is not None:
                    with suppress(OSError, RuntimeError):
                        end.transport.abort()
