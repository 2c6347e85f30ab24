"""Who is at the other end: the connection's peer, or whom a proxy that we know speaks for."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from worker.settings import Networks

Address = IPv4Address | IPv6Address

SUBSCRIBER_BITS = 64  # of an IPv6 address: what follows is the caller's own choice
MOST_HOPS = 20


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
