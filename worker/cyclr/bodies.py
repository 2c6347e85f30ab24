"""The body of an answer, read and unpacked piece by piece, and never past its bound.

Whatever an answer says about itself, a process spends no more on it than these numbers: a gzip of 60 kB can hold 60 MB,
and one in another one as much as anybody likes.
"""

import asyncio
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

MAX_ERROR_BYTES = 1024 * 1024  # of any answer but a 200: what it says is a sentence
MAX_TOKEN_BYTES = 64 * 1024
MAX_ONE_BYTES = 4 * 1024 * 1024  # one thing; a connector has its icon in it
MAX_LIST_BYTES = 16 * 1024 * 1024  # a page of them
DAMAGED = "its gzip is damaged, or something stands behind it"
_UNPACKED_AT_ONCE = 64 * 1024
_REST_AFTER_BYTES = 256 * 1024
_REST_AFTER_PIECES = 4  # of the transport; each may be made of thousands of tiny ones


@dataclass(frozen=True, slots=True, repr=False)
class Body:
    """What could be read. `fault`: why that is not all that was sent, in words for people; "": it is.

    `is_cut`: since there was more of it than was asked for, and `content` is how it begins.
    """

    content: bytes
    fault: str = ""
    is_cut: bool = False


async def read_body(response: httpx.Response, most_bytes: int) -> Body:
    """The body, unpacked, at most `most_bytes` of it: packed or not, the rest is not read.

    Raises: what the connection raises.
    """
    # Several headers are one with commas here.
    packing = response.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in ("gzip", "identity"):
        return Body(b"", "it is packed in another way than asked for (expected gzip, once, or nothing)")
    unpack = _Gzip() if packing == "gzip" else None
    body = bytearray()
    came = pieces = rested_at = 0
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for piece in response.stream:
        came += len(piece)
        pieces += 1
        if pieces % _REST_AFTER_PIECES == 0:
            await asyncio.sleep(0)  # others have their turn, though the next one is here already
        for part in (piece,) if unpack is None else unpack.parts(piece):
            body += part
            if len(body) > most_bytes:
                break
            if len(body) - rested_at > _REST_AFTER_BYTES:
                rested_at = len(body)
                await asyncio.sleep(0)
        if came > most_bytes or len(body) > most_bytes:
            return Body(bytes(body[:most_bytes]), f"it is larger than {_in_words(most_bytes)}", is_cut=True)
        if unpack is not None and unpack.is_broken:
            return Body(b"", DAMAGED)
    if unpack is not None and not unpack.has_ended:
        return Body(b"", DAMAGED)
    return Body(bytes(body))


class _Gzip:
    """One gzip, unpacked in parts: no part is larger than what is unpacked at once."""

    def __init__(self) -> None:
        self._unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self.is_broken = False

    @property
    def has_ended(self) -> bool:
        return self._unpacker.eof

    def parts(self, piece: bytes) -> Iterator[bytes]:
        while not self.is_broken:
            try:
                part = self._unpacker.decompress(piece, _UNPACKED_AT_ONCE)
            except zlib.error:
                self.is_broken = True
                return
            yield part
            # Behind its end nothing may follow, another gzip neither.
            self.is_broken = bool(self._unpacker.unused_data)
            piece = self._unpacker.unconsumed_tail
            if self.has_ended or not (piece or len(part) == _UNPACKED_AT_ONCE):
                return


def _in_words(count: int) -> str:
    megabytes = count / 1024**2
    return f"{megabytes:.0f} MB" if megabytes >= 1 else f"{count // 1024} kB"
