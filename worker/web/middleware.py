"""What every request passes before a route sees it, and every answer on its way out: middleware of ASGI."""

import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.settings import LOOPBACK_HOSTS, CyclrSettings
from worker.web.http_errors import FOR_PROGRAMS, HttpError
from worker.web.serving import read_address

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Whoever looks after processes asks these by whatever name the machine has; they tell nothing.
FOR_ANY_HOST = ("/healthz", "/readyz")
MOST_BODY_BYTES = 1_000_000
# These take files: as a stream, with limits of their own, from those who may.
STREAMED = ("/v1/jobs", "/jobs/new")

# A page of ours may load what is ours alone.
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
EVERY_ANSWER = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # forms of our own pages say where they come from
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PUBLIC_PATHS = ("/static/",)

LEAST_COMPRESSED_BYTES = 1_000
COMPRESSION_LEVEL = 5
# Where a customer's link stands beside what an address asks for, its size would tell how much of a guess is right
# (BREACH). The token of a form is another one each time.
WITH_LINKS = "/authoris"

_PORTS = {"http": ":80", "https": ":443"}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")


class Hosts:
    """The hosts that requests may name: this machine, those of the settings, and any address.

    A name that is none of these may be a stranger's that leads here (DNS rebinding), and his page would be one of ours. An
    address leads nowhere else.
    """

    def __init__(self, settings: CyclrSettings) -> None:
        public = urlsplit(settings.cyclr_bulk_public_url or "")
        self._public_netloc = public.netloc
        named = {*LOOPBACK_HOSTS, *settings.host_names, public.hostname or ""}
        self._names = frozenset(named - {""})

    def knows(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].casefold().removesuffix(".")
        return name in self._names or read_address(name) is not None

    def is_own(self, origin: str, host: str) -> bool:
        """Whether a page of this origin is ours, as the browser says that it has come to `host`."""
        try:
            page = urlsplit(origin)
        except ValueError:
            return False
        # Browsers leave out the port that goes without saying; proxies and settings may name it.
        port = _PORTS.get(page.scheme, "")
        own = {each.casefold().removesuffix(port) for each in (host, self._public_netloc)}
        return page.netloc != "" and page.netloc.casefold().removesuffix(port) in own


class Admission:
    """A request that no route is to see ends here: one that names another host, whose body has two lengths or is too large,
    or that would change something and shows no page of ours as its sender. Nobody is asked for a key before."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers, hosts = Headers(scope=scope), scope["app"].state.hosts
            _require_known_host(scope, headers, hosts)
            _require_one_length(scope, headers)
            if scope["path"] not in STREAMED:
                receive = _limited(headers, receive)
            _require_own_page(scope, headers, hosts)
        await self._app(scope, receive, send)


def _require_known_host(scope: Scope, headers: Headers, hosts: Hosts) -> None:
    """Raises: HttpError (421)."""
    if scope["path"] not in FOR_ANY_HOST and not hosts.knows(headers.get("host", "")):
        detail = (
            "This server is not known by the name that the request came to. Add the name to CYCLR_BULK_HOSTS, or set"
            " CYCLR_BULK_PUBLIC_URL to the address that people use."
        )
        raise HttpError(421, "unknown_host", detail)


def _require_one_length(scope: Scope, headers: Headers) -> None:
    """A proxy may believe the other one, and take the end of this body for somebody's next request. Raises: HttpError (400)."""
    if "transfer-encoding" in headers and ("content-length" in headers or scope["http_version"] == "1.0"):
        detail = (
            "Expected one way to tell where the body ends: Content-Length, or Transfer-Encoding in HTTP/1.1."
        )
        raise HttpError(400, "bad_request", detail, headers={"Connection": "close"})


def _limited(headers: Headers, receive: Receive) -> Receive:
    """A body that says how long it is is refused unread; another one when it has become too long. Raises: HttpError (413)."""
    detail = f"Expected at most {MOST_BODY_BYTES:,} bytes, got more."
    too_large = HttpError(413, "too_large", detail, headers={"Connection": "close"})
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MOST_BODY_BYTES:
        raise too_large
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MOST_BODY_BYTES:
            raise too_large
        return message

    return receive_limited


def _require_own_page(scope: Scope, headers: Headers, hosts: Hosts) -> None:
    """What changes anything, outside the addresses of programs, must come from a page of ours. Raises: HttpError (403).

    A browser says so, in Sec-Fetch-Site or in Origin; whoever says nothing is refused too. Programs have the API, which
    takes a key in a header that no other site can send.
    """
    is_free = scope["method"] in SAFE_METHODS or scope["path"].startswith(FOR_PROGRAMS)
    if not is_free and not _comes_from_own_page(headers, hosts):
        detail = (
            "Nothing shows that a page of this server has sent this: another site may have. Load the page again and send it"
            " from there; programs use the API, with a key."
        )
        raise HttpError(403, "other_site", detail)


def _comes_from_own_page(headers: Headers, hosts: Hosts) -> bool:
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    is_told_by_site = site in ("same-origin", "none")
    if site is not None and not is_told_by_site:
        return False
    # `null`: a browser hides the origin, of our own pages too where it is set up so. Then only the other header tells.
    if origin is None or origin == "null":
        return is_told_by_site
    return hosts.is_own(origin, headers.get("host", ""))


class SecurityHeaders:
    """What a browser may do with an answer. A route that sets one of these headers itself is left alone; streams pass as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Public files are asked for again where nobody says better, and not sent again where they are the same.
        cache = "no-cache" if scope["path"].startswith(PUBLIC_PATHS) else "no-store"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in EVERY_ANSWER.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", cache)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class Compression:
    """Smaller answers for whoever takes gzip: all but what holds links of customers. Streams are compressed piece by piece, and
    events as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._plain = app
        self._compressing = GZipMiddleware(
            app, minimum_size=LEAST_COMPRESSED_BYTES, compresslevel=COMPRESSION_LEVEL
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_plain = scope["type"] != "http" or WITH_LINKS in scope["path"]
        await (self._plain if is_plain else self._compressing)(scope, receive, send)
