"""The server: uvicorn in a thread, so that the command's main thread keeps its signals and tends the home. And who is at the other
end: the connection's peer, or whom a proxy that we know speaks for.

A caller is waited for so long and no longer, and whoever keeps the server waiting gives way to others.
"""

import asyncio
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from types import TracebackType
from typing import Any, Self

import h11
import uvicorn
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from worker.settings import Networks
from worker.telemetry import get_logger

try:
    import resource
except ImportError:  # Windows has no such bound
    resource = None  # type: ignore[assignment]

Address = IPv4Address | IPv6Address

SUBSCRIBER_BITS = 64  # of an IPv6 address: what follows is the caller's own choice
MOST_HOPS = 20
MOST_CONNECTIONS = 1_000
LEAST_CONNECTIONS = 20
FILES_OF_OUR_OWN = (
    200  # of the descriptors that a process may have: databases, uploads, workers; and those just accepted
)
ACCEPTED_AT_ONCE = 100
CHECK_EVERY_S = 1.0
TELL_EVERY_S = 60.0
GRACE_S = 5  # for requests in flight; streams of events would last for ever
STARTS_WITHIN_S = 30.0
POLL_S = 0.02

log = get_logger()


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a caller is waited for."""

    head_s: float = 10.0
    idle_s: float = 5.0  # between two requests
    # A body comes at this pace at least: 200 MB take a day at most, and a megabyte eight minutes.
    body_window_s: float = 30.0
    body_window_bytes: int = 60_000
    answered_body_s: float = 10.0  # what is still sent of a body when it has been answered
    unread_s: float = 60.0  # an answer of which nothing more is taken
    closing_s: float = 10.0
    check_every_s: float = CHECK_EVERY_S


@dataclass
class Door:
    """Who is connected, how many may be, and of one address. `proxies`: they speak for many."""

    proxies: Networks = ()
    patience: Deadlines = field(default_factory=Deadlines)
    most: int = field(default_factory=lambda: connections_allowed())
    _open: dict[str, set["Connection"]] = field(default_factory=dict)
    _count: int = 0
    _is_checking: bool = False
    _told_at: float | None = None

    def admit(self, connection: "Connection") -> bool:
        """Whether there is room, or has been made: by ending the connection that has kept us waiting longest."""
        of_address = self._open.setdefault(connection.group, set())
        if len(of_address) >= self._most_of(connection) and not self._make_room(of_address):
            return False
        if self._count >= self.most and not self._make_room(self._all()):
            return False
        self._open.setdefault(connection.group, set()).add(connection)
        self._count += 1
        self._check_soon(connection.loop)
        return True

    def forget(self, connection: "Connection") -> None:
        """A second call is safe."""
        of_address = self._open.get(connection.group, set())
        if connection in of_address:
            of_address.discard(connection)
            self._count -= 1
        if not of_address:
            self._open.pop(connection.group, None)

    def _most_of(self, connection: "Connection") -> int:
        # A quarter for each address; more for this machine's own and for proxies, and never all: others get in too.
        return max(1, self.most * (3 if connection.is_of_many else 1) // 4)

    def _all(self) -> list["Connection"]:
        return [each for of_address in self._open.values() for each in of_address]

    def _make_room(self, among: Collection["Connection"]) -> bool:
        self._tell()
        waiting = [(rank, each) for each in among if (rank := each.rank()) is not None]
        if not waiting:
            return False
        _, victim = max(waiting, key=lambda pair: pair[0])
        victim.give_up()
        return True

    def _check_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_checking:
            self._is_checking = True
            loop.call_later(self.patience.check_every_s, self._check, loop)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_checking = False
        for each in self._all():
            each.check()
        if self._count:
            self._check_soon(loop)

    def _tell(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._told_at is None or now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            log.warning("connections_full", open=self._count, allowed=self.most)


class Connection(H11Protocol):
    """uvicorn's own, which knows no deadline but the one between two requests."""

    def __init__(self, door: Door, **given: Any) -> None:
        super().__init__(**given)
        self.door = door
        self.group = ""  # of the address: what is counted as one caller
        self.is_of_many = False
        self._patience = door.patience
        self._waits_since = 0.0  # for a request: since its first byte, or since the one before was answered
        self._has_begun = False  # a request's first byte is there
        self._window_at = 0.0
        self._window_bytes = 0
        self._answered_at: float | None = None
        self._unread_since: float | None = None
        self._closing_since: float | None = None

    # What uvicorn and asyncio call

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waits_since = self.loop.time()
        address = self.client[0] if self.client else ""
        self.group, self.is_of_many = caller_group(address), speaks_for_many(address, self.door.proxies)
        if not self.door.admit(self):
            self._say_and_close(503, "Too many connections. Try again in a moment.")

    def connection_lost(self, exc: Exception | None) -> None:
        self.door.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        was_in_body = self._is_in_body
        super().data_received(data)
        now = self.loop.time()
        if self._is_in_body:
            if not was_in_body:
                self._window_at, self._window_bytes = now, 0
            self._window_bytes += len(data)
        if self._is_awaiting_head:
            if not self._has_begun:
                self._has_begun, self._waits_since = True, now
        else:
            self._has_begun = False

    def send_400_response(self, msg: str) -> None:
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            # What cannot be read came behind the answer, or in the middle of it: nothing more can be said.
            self.transport.close()

    def on_response_complete(self) -> None:
        self._answered_at = self._waits_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since = None
        super().resume_writing()

    # What the door asks

    @property
    def _is_awaiting_head(self) -> bool:
        is_answering = self.cycle is not None and not self.cycle.response_complete
        return self.conn.their_state is h11.IDLE and not is_answering

    @property
    def _is_in_body(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY

    def rank(self) -> tuple[int, float] | None:
        """How soon this one gives way: the largest first. None: it waits for us."""
        now = self.loop.time()
        if self._is_awaiting_head or self.transport.is_closing():
            return 3, now - self._waits_since
        if self._unread_since is not None:
            return 2, now - self._unread_since
        if self._is_in_body and not self.flow.read_paused:
            # Whoever sends least: an upload goes on while there is one that only drips.
            return 1, -(self._window_bytes + 1) / (now - self._window_at + 1.0)
        return None

    def give_up(self) -> None:
        """The connection is closed at once, whatever of it is unsent."""
        self.door.forget(self)
        self.transport.abort()

    def check(self) -> None:
        """To be called now and then: whoever has been waited for long enough is not waited for any more."""
        now, patience = self.loop.time(), self._patience
        if self.transport.is_closing():
            self._closing_since = self._closing_since or now
            if now - self._closing_since >= patience.closing_s:
                self.give_up()
        elif self._unread_since is not None:
            if now - self._unread_since >= patience.unread_s:
                self.give_up()
        elif self._is_awaiting_head:
            # Between two requests uvicorn has a timer of its own.
            if (self._has_begun or self.cycle is None) and now - self._waits_since >= patience.head_s:
                self._end_wait("The request's head did not come in time.", has_begun=self._has_begun)
        elif self._is_in_body:
            self._check_body(now)

    def _check_body(self, now: float) -> None:
        patience = self._patience
        if self.cycle.response_complete:
            if self._answered_at is not None and now - self._answered_at >= patience.answered_body_s:
                self.give_up()
        elif self.flow.read_paused:  # it is us who are slow
            self._window_at, self._window_bytes = now, 0
        elif now - self._window_at >= patience.body_window_s:
            if self._window_bytes < patience.body_window_bytes:
                self._end_wait(
                    "The request's body came too slowly.", has_begun=not self.cycle.response_started
                )
            self._window_at, self._window_bytes = now, 0

    def _end_wait(self, words: str, *, has_begun: bool) -> None:
        if has_begun:
            self._say_and_close(408, words)
        else:
            self.give_up()

    def _say_and_close(self, status: int, words: str) -> None:
        phrase = {408: "Request Timeout", 503: "Service Unavailable"}[status]
        body = f"{words}\n".encode()
        head = (
            f"HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
            "Retry-After: 5\r\nConnection: close\r\n\r\n"
        )
        with suppress(OSError):
            self.transport.write(head.encode() + body)
        self.transport.close()


def connections_allowed() -> int:
    """As many as this process has descriptors for, beside what it needs itself."""
    if resource is None:
        return MOST_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(LEAST_CONNECTIONS, min(MOST_CONNECTIONS, files - FILES_OF_OUR_OWN))


class NotServing(Exception):
    """The server did not start, or ended by itself."""


class WebServer:
    """Serves `app` while the context lasts. Raises OSError where the address cannot be used."""

    def __init__(self, app: FastAPI, host: str, port: int, patience: Deadlines | None = None) -> None:
        self._app = app
        self.door = Door(app.state.proxies, patience or Deadlines())
        self._socket = _listen(host, port)
        config = uvicorn.Config(
            app,
            http=partial(Connection, self.door),  # type: ignore[arg-type]  # it is called as a class would be
            ws="none",
            proxy_headers=False,  # `Forwarded` knows better whom to believe
            backlog=ACCEPTED_AT_ONCE,
            timeout_keep_alive=self.door.patience.idle_s,  # type: ignore[arg-type]  # it is given to the loop as it is
            log_config=None,
            access_log=False,  # addresses hold account ids and links
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def __enter__(self) -> Self:
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(STARTS_WITHIN_S / POLL_S)):
            if self._server.started:
                return self
            if not self.is_alive:
                break
            waited.wait(POLL_S)
        self._stop()
        raise NotServing("the server did not start")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def _stop(self) -> None:
        self._app.state.is_ending = True  # streams of events end themselves
        self._server.should_exit = True
        self._thread.join(GRACE_S + 5)
        self._socket.close()


def _listen(host: str, port: int) -> socket.socket:
    [family, kind, protocol, _, address] = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError:
        listening.close()
        raise
    return listening


def read_address(text: str) -> Address | None:
    """The address in any of its spellings, with a port or without; None where it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def is_among(address: Address | None, networks: Networks) -> bool:
    return address is not None and any(address in network for network in networks)


def speaks_for_many(text: str, proxies: Networks) -> bool:
    """Whether this is a proxy, or this machine itself, where one may be."""
    address = read_address(text)
    return is_among(address, proxies) or (address is not None and address.is_loopback)


def caller_group(text: str) -> str:
    """What is counted as one caller: an IPv4 address, or the network of an IPv6 one."""
    address = read_address(text)
    if isinstance(address, IPv6Address) and not address.is_loopback:
        return str(ip_network((address, SUBSCRIBER_BITS), strict=False))
    return text[:100] if address is None else str(address)


class Forwarded:
    """ASGI middleware: what X-Forwarded-For and X-Forwarded-Proto say counts where a proxy that the settings name has sent it.

    X-Forwarded-Host is never believed: hosts are told by the settings.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            proxies: Networks = scope["app"].state.proxies
            peer = read_address((scope.get("client") or ("",))[0])
            if is_among(peer, proxies):
                scope = {**scope, **_told(Headers(scope=scope), peer, proxies)}
        await self._app(scope, receive, send)


def _told(headers: Headers, peer: Address | None, proxies: Networks) -> dict[str, object]:
    caller = peer
    for hop in _from_the_last(headers, "x-forwarded-for"):
        # Each proxy writes whom it was called by behind what came: what stands before a stranger's word is his own.
        found = read_address(hop) if is_among(caller, proxies) else None
        if found is None:
            break
        caller = found
    told: dict[str, object] = {"client": (str(caller), 0)}
    scheme = next(_from_the_last(headers, "x-forwarded-proto"), "").lower()
    return told | ({"scheme": scheme} if scheme in ("http", "https") else {})


def _from_the_last(headers: Headers, name: str) -> Iterator[str]:
    given = ",".join(headers.getlist(name)).rsplit(",", MOST_HOPS)
    return (each.strip() for each in reversed(given[-MOST_HOPS:]))
