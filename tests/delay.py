"""A distance: every answer of a PostgreSQL comes so much later, however many are under way."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.relay import PIECE, Relay


class DelayingProxy(Relay):
    """`delay_s`: of each answer from now on."""

    def __init__(self, server: Path, folder: Path) -> None:
        super().__init__(server, folder, lambda: _Way(lambda: self.delay_s))
        self.delay_s = 0.0


class _Way:
    def __init__(self, find_delay_s: Callable[[], float]) -> None:
        self._find_delay_s = find_delay_s

    async def up(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        while piece := await reads.read(PIECE):
            writes.write(piece)
            await writes.drain()

    async def down(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        while piece := await reads.read(PIECE):
            await asyncio.sleep(self._find_delay_s())
            writes.write(piece)
            await writes.drain()


@contextmanager
def delaying_proxy(server: Path, folder: Path) -> Iterator[DelayingProxy]:
    proxy = DelayingProxy(server, folder)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
