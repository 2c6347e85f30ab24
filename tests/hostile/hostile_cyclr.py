"""A Cyclr that sends whatever bytes a test likes, in a thread of its own, so that its work is not taken for the client's."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.raw_server import Handler, RawServer, Reply


@contextmanager
def hostile_cyclr(handler: Handler) -> Iterator[RawServer]:
    """The server, running until the context ends."""
    started, loop = threading.Event(), asyncio.new_event_loop()
    server = RawServer(handler)
    ends = asyncio.Event()

    async def serve() -> None:
        async with server:
            started.set()
            await ends.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(30)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(ends.set)
        thread.join(30)
        loop.close()


def bare(status: int, *headers: bytes, body: bytes = b"", length: int | None = None) -> Reply:
    """An answer with these lines as its head, and a Content-Length unless `length` is below zero."""
    said = len(body) if length is None else length
    lines = [b"HTTP/1.1 %d Any" % status, *headers]
    if said >= 0:
        lines.append(b"Content-Length: %d" % said)
    return pieces(b"\r\n".join([*lines, b"", b""]) + body)


def pieces(data: bytes, *, times: int = 1, then_close: bool = False) -> Reply:
    """These bytes so often, as fast as they are taken."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        for _ in range(times):
            for at in range(0, len(data), 1 << 18):
                writer.write(data[at : at + (1 << 18)])
                await writer.drain()
        if then_close:
            writer.close()

    return reply


def dripping(head: bytes, drop: bytes, every_s: float) -> Reply:
    """The head, and then a drop now and again, for ever."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(every_s)

    return reply
