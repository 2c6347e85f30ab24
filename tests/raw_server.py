"""An HTTP server made of a bare socket: it reads a whole request and then does what no HTTP library would do."""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any


@dataclass(frozen=True, slots=True)
class RawRequest:
    method: str
    target: str
    headers: dict[str, str]  # lower-case names
    body: bytes
    connection: int  # counts the connections of the server, from 0


Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]
Handler = Callable[[RawRequest], Reply]


class RawServer:
    """Answers as `handler` says, on a free loopback port. `requests`: all that was read, in order.

    `tls`: speak it. `before_request`: done to a connection instead of reading from it.
    """

    def __init__(
        self, handler: Handler, *, tls: ssl.SSLContext | None = None, before_request: Reply | None = None
    ) -> None:
        self._handler = handler
        self._tls = tls
        self._before_request = before_request
        self.requests: list[RawRequest] = []
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "RawServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def called(self, target: str) -> list[RawRequest]:
        return [request for request in self.requests if request.target == target]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        number = self.connections
        self.connections += 1
        # The caller may leave at any time, and the server ends by cancelling.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if self._before_request is not None:
                await self._before_request(writer)
                return
            while not writer.is_closing():
                request = await _read(reader, number)
                self.requests.append(request)
                await self._handler(request)(writer)


async def _read(reader: asyncio.StreamReader, connection: int) -> RawRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return RawRequest(method, target, headers, body, connection)


def in_turn(*replies: Reply) -> Handler:
    """The first reply to the first request, and so on; the last one goes on."""
    remaining: Sequence[Reply] = replies

    def handle(request: RawRequest) -> Reply:
        nonlocal remaining
        reply = remaining[0]
        remaining = remaining[1:] or remaining
        return reply

    return handle


def raw(data: bytes) -> Reply:
    """These bytes, and the connection stays open."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return reply


def answer(status: int, body: Any = b"", **headers: str) -> Reply:
    """A whole answer. `body`: bytes, or what JSON is made of. Underscores in header names are dashes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Any", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return raw("\r\n".join([*lines, "", ""]).encode("latin-1") + content)


def cut(status: int, body: Any) -> Reply:
    """Announces more than it sends, then closes."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        content = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} Any\r\nContent-Length: {len(content) + 10}\r\n\r\n"
        writer.write(head.encode() + content)
        await close(writer)

    return reply


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


async def reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN: what was sent may be lost too."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()
