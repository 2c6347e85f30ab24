"""httpx's requests on aiohttp's connections: what the errors say about a request (was it never sent?), and its answer's body.

httpx's own pool walks all of its connections on every request, so it is never used. Its client is left out too: the
cookies, redirects, sign-ins and hooks that it looks after are not wanted here, and cost a fifth of each call.
What aiohttp and `httpx-aiohttp` do that a bulk install must not inherit is undone here, in one place.

A body is read and unpacked piece by piece, and never past its bound: whatever an answer says about itself, a process spends
no more on it than these numbers. A gzip of 60 kB can hold 60 MB, and one in another one as much as anybody likes.
"""

import asyncio
import ipaddress
import select
import ssl
import zlib
from collections.abc import Iterator
from functools import cache, partial
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

from worker.cyclr.answers import Answer
from worker.cyclr.errors import NeverSent, OutcomeUnknown
from worker.domain.server_faults import Server, ServerFault, sentence

_IDLE_CONNECTION_S = (
    15  # less than any usual server keeps an idle connection, so that few POSTs meet a dying one
)
_READ_AT_ONCE_BYTES = 4 * 1024


def open_http(api_url: str, *, max_connections: int) -> httpx.AsyncBaseTransport:
    """What sends requests to this API URL, each once and by itself. Close it with `aclose()`.

    It belongs to the running event loop and to this process: call it inside the loop, and again after a fork.
    A proxy named by the environment is used, except for a loopback address.
    """
    proxy = find_proxy(httpx.URL(api_url))
    tls = _tls_context() if proxy or not api_url.startswith("http://") else _NO_ROOTS
    session = aiohttp.ClientSession(
        connector=_Connector(limit=max_connections, keepalive_timeout=_IDLE_CONNECTION_S, ssl=tls),
        # Cookies would be shared by all accounts.
        cookie_jar=aiohttp.DummyCookieJar(),
        # The proxy is settled once, here. With `trust_env=True` aiohttp asks the environment in a thread for every
        # request, and reads ~/.netrc, where an entry for the host makes every request fail.
        proxy=proxy,
        trust_env=False,
        auto_decompress=False,
    )
    # aiohttp repeats GET, PUT and DELETE by itself when a kept connection is cut, past the limiter.
    session._retry_connection = False
    # What is read at once costs by the number of its chunks, and they may be of a byte each.
    AiohttpResponseStream.CHUNK_SIZE = _READ_AT_ONCE_BYTES
    return AiohttpTransport(verify=tls, client=session)


class _Connector(aiohttp.TCPConnector):
    """Never uses a kept connection on which something has come since its last answer.

    aiohttp takes it for the answer to the next request: an empty list, sent twice by a proxy that lost count, would say of
    another account that nothing is installed there. Most often it is the other side's goodbye.
    """

    async def _get(self, key: "ConnectionKey", traces: "list[Trace]") -> "Connection | None":
        while (connection := await super()._get(key, traces)) is not None:
            protocol = connection.protocol
            if protocol is not None and not protocol.should_close and not _has_news(connection.transport):
                return connection
            connection.close()
        return None


def _has_news(transport: asyncio.Transport | None) -> bool:
    """Whether there is something to read that the loop has not come to yet."""
    descriptor = -1 if transport is None else transport.get_extra_info("socket").fileno()
    if descriptor < 0:
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def find_proxy(url: httpx.URL) -> str | None:
    """The proxy that the environment (or the system's settings) names for this URL; None: call directly."""
    if _is_loopback(url.host) or proxy_bypass(url.host):
        return None
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy and "://" not in proxy:
        return f"http://{proxy}"
    return proxy


def failure_of(error: Exception) -> NeverSent | OutcomeUnknown:
    """What it means that a request failed so: in words for people, its class, and what TLS says of the certificate.

    Never the error's own text, which may hold a proxy's password. `httpx-aiohttp` names errors wrongly: a connection that is
    cut after the server has read the request is a `ConnectTimeout`, as is a refused connection. So the cause counts.
    """
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) and error.__cause__ else error
    kind, reason = _told(cause)
    failure = NeverSent(reason) if _was_never_sent(cause) else OutcomeUnknown(reason)
    of_tls = ""
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        of_tls = getattr(cause.certificate_error, "verify_message", "")
    said = sentence(f"{reason}: {of_tls}" if of_tls else reason)
    failure.server_fault = ServerFault(Server.CYCLR, kind, said)
    return failure


def _was_never_sent(cause: BaseException) -> bool:
    """Whether this is certain to have come before any byte of the request was written: only these three are."""
    # Refused, name not found, TLS, or the proxy itself not reached: aiohttp raises it before it has a connection.
    if isinstance(cause, aiohttp.ClientConnectorError):
        return True
    # No connection in time: neither a free one nor a new one. Raised only while one is waited for.
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return True
    # The proxy answered CONNECT with a refusal: the request would have followed through the tunnel.
    return isinstance(cause, aiohttp.ClientHttpProxyError)


def _told(cause: BaseException) -> tuple[str, str]:
    """The class, and the words."""
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return "proxy_refused", f"the proxy refused the connection (status {cause.status})"
    for of, kind, reason in _REASONS:
        if isinstance(cause, of):
            return kind, reason
    return "answer_unreadable", f"the answer could not be read ({type(cause).__name__})"


# The first that fits counts: the later ones are more general.
_REASONS: tuple[tuple[type[Exception], str, str], ...] = (
    (
        aiohttp.ClientConnectorDNSError,
        "host_name_not_found",
        "the name of the host was not found (DNS)",
    ),
    (
        aiohttp.ClientConnectorCertificateError,
        "certificate_verify_failed",
        "the host's TLS certificate is not trusted",
    ),
    (aiohttp.ClientConnectorSSLError, "tls_failed", "the TLS handshake failed"),
    (aiohttp.ClientProxyConnectionError, "proxy_not_reached", "the proxy was not reached"),
    (aiohttp.ClientConnectorError, "connection_refused", "no connection to the host, or it was refused"),
    (aiohttp.ConnectionTimeoutError, "timeout", "no connection in time"),
    (
        aiohttp.ServerDisconnectedError,
        "connection_closed",
        "the connection was closed before an answer came",
    ),
    (aiohttp.ClientOSError, "connection_closed", "the connection was reset before an answer came"),
    (
        aiohttp.ClientConnectionResetError,
        "connection_closed",
        "the connection was reset before an answer came",
    ),
    (aiohttp.ClientPayloadError, "answer_cut_off", "the answer was cut off"),
)


_NO_ROOTS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody: for where no TLS is spoken


@cache  # to read all roots takes 50 ms of CPU
def _tls_context() -> ssl.SSLContext:
    context = httpx.create_ssl_context()  # certifi's roots, or those of SSL_CERT_FILE
    context.load_default_certs()  # and the machine's own, where companies add theirs
    return context


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


MAX_ERROR_BYTES = 1024 * 1024  # of any answer but a 200: what it says is a sentence
MAX_TOKEN_BYTES = 64 * 1024
MAX_ONE_BYTES = 4 * 1024 * 1024  # one thing; a connector has its icon in it
MAX_LIST_BYTES = 16 * 1024 * 1024  # a page of them
DAMAGED = "its gzip is damaged, or something stands behind it"
_UNPACKED_AT_ONCE = 64 * 1024
_REST_AFTER_BYTES = 256 * 1024
_REST_AFTER_PIECES = 4  # of the transport; each may be made of thousands of tiny ones


async def receive(response: httpx.Response, most_bytes: int) -> Answer:
    """The answer with its body, unpacked, at most `most_bytes` of it: packed or not, the rest is not read.

    Raises: what the connection raises.
    """
    answer = partial(Answer, response.status_code, response.headers)
    # Several headers are one with commas here.
    packing = response.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in ("gzip", "identity"):
        return answer(b"", "it is packed in another way than asked for (expected gzip, once, or nothing)")
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
            return answer(bytes(body[:most_bytes]), f"it is larger than {_in_words(most_bytes)}", is_cut=True)
        if unpack is not None and unpack.is_broken:
            return answer(b"", DAMAGED)
    if unpack is not None and not unpack.has_ended:
        return answer(b"", DAMAGED)
    return answer(bytes(body))


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
