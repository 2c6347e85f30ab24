"""Which hosts are ours, and that what changes anything on a page was sent by a page of ours."""

import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from worker.settings import LOOPBACK_HOSTS, CyclrSettings
from worker.web.addresses import read_address
from worker.web.http_errors import FOR_PROGRAMS, HttpError, answer_error

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Whoever looks after processes asks these by whatever name the machine has; they tell nothing.
FOR_ANY_HOST = ("/healthz", "/readyz")
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


class KnownHosts:
    """ASGI middleware: a request that names another host is refused."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in FOR_ANY_HOST:
            host = Headers(scope=scope).get("host", "")
            if not scope["app"].state.hosts.knows(host):
                answer = await answer_error(Request(scope, receive), _other_host())
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


class OwnPages:
    """ASGI middleware: what changes anything, outside the addresses of programs, must come from a page of ours.

    A browser says so, in Sec-Fetch-Site or in Origin; whoever says nothing is refused too. Programs have the API, which
    takes a key in a header that no other site can send.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_free(scope):
            headers = Headers(scope=scope)
            if not _comes_from_own_page(headers, scope["app"].state.hosts):
                answer = await answer_error(Request(scope, receive), _other_site())
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_free(scope: Scope) -> bool:
    return scope["method"] in SAFE_METHODS or scope["path"].startswith(FOR_PROGRAMS)


def _comes_from_own_page(headers: Headers, hosts: Hosts) -> bool:
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    is_told_by_site = site in ("same-origin", "none")
    if site is not None and not is_told_by_site:
        return False
    # `null`: a browser hides the origin, of our own pages too where it is set up so. Then only the other header tells.
    if origin is None or origin == "null":
        return is_told_by_site
    return hosts.is_own(origin, headers.get("host", ""))


def _other_host() -> HttpError:
    detail = (
        "This server is not known by the name that the request came to. Add the name to CYCLR_BULK_HOSTS, or set"
        " CYCLR_BULK_PUBLIC_URL to the address that people use."
    )
    return HttpError(421, "unknown_host", detail)


def _other_site() -> HttpError:
    detail = (
        "Nothing shows that a page of this server has sent this: another site may have. Load the page again and send it"
        " from there; programs use the API, with a key."
    )
    return HttpError(403, "other_site", detail)
