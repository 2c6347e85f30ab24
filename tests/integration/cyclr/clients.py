"""A client of a stub, with limits that only take notes."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.raw_server import Handler, RawRequest, Reply, answer
from worker.clock import Clock, Moment
from worker.cyclr.client import CyclrClient
from worker.cyclr.errors import NotStarted
from worker.cyclr.exchange import Credentials
from worker.cyclr.transport import open_http

CLIENT_SECRET = "the-client-secret"
TOKEN = "a1b2c3d4" * 8


class FreePermit:
    """`refusal`: what `ready` raises."""

    def __init__(self, refusal: NotStarted | None = None) -> None:
        self._refusal = refusal
        self.times_asked = 0
        self.outcomes: list[str] = []

    def ended(self, outcome: str, took_s: float) -> None:
        self.outcomes.append(outcome)

    async def ready(self) -> None:
        self.times_asked += 1
        if self._refusal is not None:
            raise self._refusal


@dataclass
class NotingLimits:
    """`away`: what every report raises."""

    noted: list[object] = field(default_factory=list)
    permits: list[FreePermit] = field(default_factory=list)
    away: NotStarted | None = None

    async def one(self) -> FreePermit:
        self.permits.append(FreePermit())
        return self.permits[-1]

    async def throttled(self, retry_after_s: float | None, began: Moment | None = None) -> None:
        self._note(("throttled", retry_after_s))

    async def note_success(self, began: Moment) -> None:
        self._note("success")

    async def note_failure(self, account_id: str, began: Moment) -> None:
        self._note(("failure", account_id))

    def _note(self, what: object) -> None:
        if self.away is not None:
            raise self.away
        self.noted.append(what)


def with_token(handler: Handler, token: Reply | None = None) -> Handler:
    """Gives out a token (or what `token` does) and leaves the rest to `handler`."""
    grant = token or answer(200, {"access_token": TOKEN, "token_type": "bearer", "expires_in": 1209599})

    def handle(request: RawRequest) -> Reply:
        return grant if request.target == "/oauth/token" else handler(request)

    return handle


@asynccontextmanager
async def open_client(
    api_url: str, limits: NotingLimits | None = None, *, timeout_s: float = 5.0, max_connections: int = 100
) -> AsyncIterator[CyclrClient]:
    client = CyclrClient(
        open_http(api_url, max_connections=max_connections),
        api_url,
        Credentials("the-client-id", CLIENT_SECRET),
        timeout_s=timeout_s,
        clock=Clock(),
        limiter=limits or NotingLimits(),
    )
    try:
        yield client
    finally:
        await client.aclose()


async def next_permit() -> FreePermit:
    return FreePermit()


def page_of(request: RawRequest) -> int:
    """The number of the page that a list is asked for."""
    return int(parse_qs(urlsplit(request.target).query)["page"][0])


def paged(items: Sequence[object], page: int, page_size: int, *, says_total: bool = True) -> Reply:
    """One page of a list, as a server that caps pages at `page_size`."""
    part = items[(page - 1) * page_size : page * page_size]
    total = {"Total_Pages": str(max(1, -(-len(items) // page_size)))} if says_total else {}
    return answer(200, list(part), **total)
