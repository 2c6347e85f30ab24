"""The credentials of the rows, each with a mark inside, so that a part of one is found too, in whatever wrapping."""

import base64
import binascii
import random
import re

BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")


class Secrets:
    """`new`: one more. `is_in`: whether any stands in a text, in clear, in base64 or in hex."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(f"secrets {seed}")
        self._mark = f"{self._dice.getrandbits(64):016x}"

    def new(self) -> str:
        return f"sk-{self._dice.getrandbits(32):08x}-{self._mark}-{self._dice.getrandbits(64):016x}"

    def is_in(self, content: bytes) -> bool:
        mark = self._mark.encode()
        if mark in content or binascii.hexlify(mark) in content:
            return True
        return any(mark in _decoded(found) for found in BASE64.findall(content))


def _decoded(text: bytes) -> bytes:
    """Wherever in it the base64 begins: its letters come in fours."""
    plain = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    starts = [plain[skip:] for skip in range(4)]
    return b" ".join(base64.b64decode(part[: len(part) // 4 * 4]) for part in starts)
