"""Stands before a Valkey: with TLS, which the wheel's Valkey does not speak, or with error replies that it does not give by itself."""

import asyncio
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

PIECE = 65_536
# What only readies a connection. A server that says LOADING or BUSY refuses most of it too.
OF_A_CONNECTION = frozenset({"HELLO", "AUTH", "PING", "CLIENT", "SELECT", "QUIT"})


class RedisProxy:
    """`answer`: from now on every command that `concerns` gets this error reply. `heal`: they go through again.

    `handshakes`: how many clients have come, `connections`: of those, the ones that went on. `commands`: how often each has come,
    by its name; `received`: how many bytes of them, behind TLS.
    """

    def __init__(self, socket: str, tls: ssl.SSLContext | None) -> None:
        self._socket, self._tls = socket, tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="redis proxy", daemon=True)
        self._links: set[asyncio.Task[None]] = set()
        self._reply: bytes | None = None
        self._concerns: Callable[[str], bool] = lambda _: True
        self.commands: Counter[str] = Counter()
        self.received = 0
        self.handshakes = 0
        self.connections = 0
        self.refused = 0

    def answer(self, error: str, *, concerns: Callable[[str], bool] = lambda _: True) -> None:
        def change() -> None:
            self._reply, self._concerns = f"-{error}\r\n".encode(), concerns
            self.refused = 0

        self._do(change)

    def heal(self) -> None:
        self._do(lambda: setattr(self, "_reply", None))

    def cut(self) -> None:
        """All connections; new ones are taken."""

        async def cut() -> None:
            for link in list(self._links):
                link.cancel()

        asyncio.run_coroutine_threadsafe(cut(), self._loop).result(10)

    def change_certificate(self, tls: ssl.SSLContext) -> None:
        """For connections to come; those that stand are cut."""

        async def change() -> None:
            self._tls = tls
            port = self.port
            await self._stop_listening()
            await self._listen(port)

        asyncio.run_coroutine_threadsafe(change(), self._loop).result(10)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(0), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop_listening(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, change: Callable[[], None]) -> None:
        async def now() -> None:
            change()

        asyncio.run_coroutine_threadsafe(now(), self._loop).result(10)

    async def _listen(self, port: int) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.port: int = self._listener.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        self._listener.close()
        for link in list(self._links):
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _accept(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        self.handshakes += 1
        try:
            if self._tls is not None:
                await writes.start_tls(self._tls)
            self.connections += 1
            await self._serve(reads, writes)
        except (OSError, asyncio.CancelledError):
            pass  # the client does not believe us, the server is away, or the test is over: for the client the connection ends
        finally:
            self._links.discard(task)
            with suppress(OSError, RuntimeError):
                writes.transport.abort()

    async def _serve(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        server_reads, server = await asyncio.open_unix_connection(self._socket)
        ways = [
            asyncio.create_task(self._up(reads, server, writes)),
            asyncio.create_task(_copy(server_reads, writes)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            with suppress(OSError, RuntimeError):
                server.transport.abort()

    async def _up(
        self, reads: asyncio.StreamReader, server: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        while True:
            name, raw = await self._command(reads)
            self.commands[name] += 1
            if self._reply is not None and self._concerns(name):
                self.refused += 1
                client.write(self._reply)
                await client.drain()
            else:
                server.write(raw)
                await server.drain()

    async def _command(self, reads: asyncio.StreamReader) -> tuple[str, bytes]:
        """As clients write it: an array of strings. Raises: IncompleteReadError where there is no more."""
        line = await reads.readuntil(b"\r\n")
        raw, words = line, []
        for _ in range(int(line[1:])):
            head = await reads.readuntil(b"\r\n")
            word = await reads.readexactly(int(head[1:]) + 2)
            raw += head + word
            words.append(word[:-2])
        self.received += len(raw)
        return words[0].decode().upper(), raw


async def _copy(reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
    while data := await reads.read(PIECE):
        writes.write(data)
        await writes.drain()


@contextmanager
def redis_proxy(server_url: str, tls: ssl.SSLContext | None = None) -> Iterator[RedisProxy]:
    """Before the server on this socket, on a port of its own of 127.0.0.1."""
    proxy = RedisProxy(server_url.removeprefix("unix://"), tls)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
