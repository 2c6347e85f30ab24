"""Stands before a Valkey: with TLS, which the wheel's Valkey does not speak, or with error replies that it does not give by itself."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.relay import PassedOn, Relay

# What only readies a connection. A server that says LOADING or BUSY refuses most of it too.
OF_A_CONNECTION = frozenset({"HELLO", "AUTH", "PING", "CLIENT", "SELECT", "QUIT"})


class RedisProxy(Relay):
    """`answer`: from now on every command that `concerns` gets this error reply. `heal`: they go through again.

    `commands`: how often each has come, by its name; `received`: how many bytes of them, behind TLS.
    """

    def __init__(self, socket: str, tls: ssl.SSLContext | None) -> None:
        super().__init__(socket, lambda client: _Commands(self, client), tls=tls)
        self._reply: bytes | None = None
        self._concerns: Callable[[str], bool] = lambda _: True
        self.commands: Counter[str] = Counter()
        self.received = 0
        self.refused = 0

    def answer(self, error: str, *, concerns: Callable[[str], bool] = lambda _: True) -> None:
        def change() -> None:
            self._reply, self._concerns = f"-{error}\r\n".encode(), concerns
            self.refused = 0

        self.do(change)

    def heal(self) -> None:
        self.do(lambda: setattr(self, "_reply", None))

    def find_reply(self, name: str, raw: bytes) -> bytes | None:
        """What this command gets here; None: it goes through."""
        self.commands[name] += 1
        self.received += len(raw)
        if self._reply is None or not self._concerns(name):
            return None
        self.refused += 1
        return self._reply


class _Commands(PassedOn):
    def __init__(self, proxy: RedisProxy, client: asyncio.StreamWriter) -> None:
        self._proxy, self._client = proxy, client

    async def up(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        while True:
            name, raw = await _command(reads)
            reply = self._proxy.find_reply(name, raw)
            to, text = (writes, raw) if reply is None else (self._client, reply)
            to.write(text)
            await to.drain()


async def _command(reads: asyncio.StreamReader) -> tuple[str, bytes]:
    """As clients write it: an array of strings. Raises: IncompleteReadError where there is no more."""
    line = await reads.readuntil(b"\r\n")
    raw, words = line, []
    for _ in range(int(line[1:])):
        head = await reads.readuntil(b"\r\n")
        word = await reads.readexactly(int(head[1:]) + 2)
        raw += head + word
        words.append(word[:-2])
    return words[0].decode().upper(), raw


@contextmanager
def redis_proxy(server_url: str, tls: ssl.SSLContext | None = None) -> Iterator[RedisProxy]:
    """Before the server on this socket, on a port of its own of 127.0.0.1."""
    with RedisProxy(server_url.removeprefix("unix://"), tls) as proxy:
        yield proxy
