"""A caller that keeps no rule of HTTP."""

import re
import select
import socket
import time
from contextlib import suppress


class RawClient:
    """A connection. `address`: of a server, as `http://host:port`."""

    def __init__(self, address: str, *, receives: int | None = None) -> None:
        host, _, port = address.removeprefix("http://").rpartition(":")
        self._socket = socket.socket()
        if receives is not None:  # before the connection is made: it tells the other end
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        self._socket.settimeout(30)
        self._socket.connect((host, int(port)))
        self.began = time.monotonic()

    def send(self, text: str | bytes) -> bool:
        """Whether it could be sent."""
        try:
            self._socket.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))
        except OSError:
            return False
        return True

    def read_some(self, within_s: float = 0.0) -> bytes | None:
        """What has come; empty where nothing has; None: the server has hung up."""
        readable, _, _ = select.select([self._socket], [], [], within_s)
        if not readable:
            return b""
        try:
            return self._socket.recv(65_536) or None
        except OSError:
            return None

    def read_to_end(self, within_s: float = 30.0) -> bytes:
        """All that comes until the server hangs up."""
        deadline, found = time.monotonic() + within_s, b""
        while (piece := self.read_some(max(0.0, deadline - time.monotonic()))) is not None:
            found += piece
            assert time.monotonic() < deadline, (
                f"the server has not hung up within {within_s} s: {found[:200]!r}"
            )
        return found

    def read_answer(self, within_s: float = 30.0) -> bytes:
        """A whole answer that says how long it is."""
        deadline, found = time.monotonic() + within_s, b""
        while not _is_whole(found):
            piece = self.read_some(max(0.0, deadline - time.monotonic()))
            assert piece is not None, f"the server has hung up: {found!r}"
            assert time.monotonic() < deadline, f"no answer within {within_s} s"
            found += piece
        return found

    def close(self) -> None:
        with suppress(OSError):
            self._socket.close()

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)
