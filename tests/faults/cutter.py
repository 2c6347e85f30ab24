"""Stands between PostgreSQL and its clients, and cuts a connection at COMMIT: it is done, and nobody hears of it."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.relay import PIECE, PostgresRelay

COMMIT = b"COMMIT\0"
# What the server says of a statement that has changed rows; statements of a name are not seen on the way up.
CHANGED_ROWS = re.compile(rb"C\0\0\0.(?:UPDATE|INSERT 0) [1-9]", re.DOTALL)


class CommitCutter(PostgresRelay):
    """`arm`: cut so many connections, each after the COMMIT of a transaction that changed rows. `cuts`: how many were."""

    def __init__(self, server: Path, folder: Path) -> None:
        super().__init__(server, folder, lambda _: _Link(self))
        self._armed = 0
        self.cuts = 0

    def arm(self, count: int) -> None:
        self._loop.call_soon_threadsafe(setattr, self, "_armed", count)

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
    with CommitCutter(server, folder) as cutter:
        yield cutter
