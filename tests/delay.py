"""A distance: every answer of a PostgreSQL comes so much later, however many are under way."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.relay import PIECE, PassedOn, PostgresRelay


class DelayingProxy(PostgresRelay):
    """`delay_s`: of each answer from now on."""

    def __init__(self, server: Path, folder: Path) -> None:
        super().__init__(server, folder, lambda _: _Way(self))
        self.delay_s = 0.0


class _Way(PassedOn):
    def __init__(self, proxy: DelayingProxy) -> None:
        self._proxy = proxy

    async def down(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        while piece := await reads.read(PIECE):
            await asyncio.sleep(self._proxy.delay_s)
            writes.write(piece)
            await writes.drain()


@contextmanager
def delaying_proxy(server: Path, folder: Path) -> Iterator[DelayingProxy]:
    with DelayingProxy(server, folder) as proxy:
        yield proxy
