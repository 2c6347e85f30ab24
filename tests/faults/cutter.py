"""Stands between PostgreSQL and its clients, and cuts a connection at COMMIT: it is done, and nobody hears of it."""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy.engine import make_url

SOCKET = ".s.PGSQL.5432"
COMMIT = b"COMMIT\0"
# What the server says of a statement that has changed rows; statements of a name are not seen on the way up.
CHANGED_ROWS = re.compile(rb"C\0\0\0.(?:UPDATE|INSERT 0) [1-9]", re.DOTALL)
PIECE = 65_536


class CommitCutter:
    """`arm`: cut so many connections, each after the COMMIT of a transaction that changed rows. `cuts`: how many were."""

    def __init__(self, server: Path, folder: Path) -> None:
        self._folder = folder
        self._server = str(server / SOCKET)
        self._socket = str(folder / SOCKET)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="commit cutter", daemon=True)
        self._relays: set[asyncio.Task[None]] = set()
        self._armed = 0
        self.cuts = 0

    def arm(self, count: int) -> None:
        self._loop.call_soon_threadsafe(setattr, self, "_armed", count)

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
            link = _Link(self)
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

    def takes(self) -> bool:
        """Whether the cut is to be made, which is then counted."""
        if self._armed <= 0:
            return False
        self._armed -= 1
        self.cuts += 1
        return True


class _Link:
    """One connection: what goes up, what comes down."""

    def __init__(self, cutter: CommitCutter) -> None:
        self._cutter = cutter
        self._has_changed_rows = False
        self._is_to_be_cut = False

    async def up(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        while data := await reads.read(PIECE):
            if COMMIT in data:
                self._is_to_be_cut = self._has_changed_rows and self._cutter.takes()
                self._has_changed_rows = False
            writes.write(data)
            await writes.drain()

    async def down(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        while data := await reads.read(PIECE):
            if self._is_to_be_cut:
                return  # the server has committed; its answer is lost
            if CHANGED_ROWS.search(data):
                self._has_changed_rows = True
            writes.write(data)
            await writes.drain()


@contextmanager
def commit_cutter(server: Path, folder: Path) -> Iterator[CommitCutter]:
    """Its socket is in `folder`."""
    cutter = CommitCutter(server, folder)
    cutter.start()
    try:
        yield cutter
    finally:
        cutter.stop()
