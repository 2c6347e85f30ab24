"""A distance: every answer of a server comes so much later, however many are under way."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy.engine import make_url

SOCKET = ".s.PGSQL.5432"
PIECE = 65_536


class DelayingProxy:
    """Before a PostgreSQL on a Unix socket in `server`; listens on one in `folder`. `delay_s`: of each answer from now on."""

    def __init__(self, server: Path, folder: Path) -> None:
        self._folder = folder
        self._server = str(server / SOCKET)
        self._socket = str(folder / SOCKET)
        self.delay_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="distance", daemon=True)
        self._relays: set[asyncio.Task[None]] = set()

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
        try:
            server_reads, server = await asyncio.open_unix_connection(self._server)
            up = asyncio.create_task(_pass_on(client_reads, server, lambda: 0.0))
            down = asyncio.create_task(_pass_on(server_reads, client, lambda: self.delay_s))
            try:
                with suppress(asyncio.CancelledError):  # the test is over
                    await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in (up, down):
                    one.cancel()
                server.close()
                client.close()
        finally:
            self._relays.discard(task)


async def _pass_on(
    reads: asyncio.StreamReader, writer: asyncio.StreamWriter, find_delay_s: Callable[[], float]
) -> None:
    with suppress(ConnectionError):
        while piece := await reads.read(PIECE):
            await asyncio.sleep(find_delay_s())
            writer.write(piece)
            await writer.drain()


@contextmanager
def delaying_proxy(server: Path, folder: Path) -> Iterator[DelayingProxy]:
    proxy = DelayingProxy(server, folder)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
