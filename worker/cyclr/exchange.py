"""One request and its whole answer: never without a permit, never past the deadline, always told to the limiter; and its token.

The partner's token: one per process, good for every account, fetched when it is needed.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Protocol

import httpx

from worker.clock import Clock, Moment
from worker.cyclr.answers import Answer, find_wait
from worker.cyclr.errors import CredentialsRefused, CyclrError, NeverSent, NotStarted, OutcomeUnknown, Refused
from worker.cyclr.limiter import Limiter
from worker.cyclr.shapes import Grant
from worker.cyclr.transport import (
    MAX_ERROR_BYTES,
    MAX_ONE_BYTES,
    failure_of,
    receive,
)
from worker.domain.server_faults import Server, ServerFault
from worker.domain.targets import why_no_account_id
from worker.telemetry import ALARMS

CALLING = "calling Cyclr"
ALARMING_IN_A_ROW = 5  # calls that failed, with none answered between them
_CONNECT_S = 10.0
_KEPT_URLS = 256  # an install's URL is the same for all items of a connector


class Permit(Protocol):
    """The right to make one call. `ready` waits for its time and makes the last checks; it raises `NotStarted`.

    `ended` is told how a call that began went: its status, `never_sent` or `unknown`.
    """

    async def ready(self) -> None: ...

    def ended(self, outcome: str, took_s: float) -> None: ...


NextPermit = Callable[[], Awaitable[Permit]]  # waits until there is one


class Exchange:
    """Sends requests to one Cyclr. `timeout_s`: the whole deadline of one call, to the last byte of its answer."""

    def __init__(
        self,
        http: httpx.AsyncBaseTransport,
        api_url: str,
        *,
        timeout_s: float,
        clock: Clock,
        limiter: Limiter,
    ) -> None:
        self._http = http
        self._api_url = api_url.rstrip("/")
        self._url = lru_cache(_KEPT_URLS)(self._make_url)
        self._headers = {
            b"Accept": b"application/json",
            b"Accept-Encoding": b"gzip",
            b"User-Agent": f"cyclr-bulk/{version('cyclr-bulk')}".encode(),
        }
        self._timeout_s = timeout_s
        # Connecting and waiting for a connection end before the deadline does, so that they are told as never sent.
        connect_s = min(_CONNECT_S, self._timeout_s / 2)
        self._extensions = {"timeout": httpx.Timeout(None, connect=connect_s, pool=connect_s).as_dict()}
        self._clock = clock
        self._limiter = limiter

    async def aclose(self) -> None:
        await self._http.aclose()

    def request(
        self,
        method: str,
        path: str,
        *,
        account_id: str | None = None,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> httpx.Request:
        """A request, not sent yet. Raises: Refused for an account id that no header can carry."""
        headers = dict(self._headers)
        if account_id is not None:
            require_account_id(account_id)  # whatever else stands in an id: it must not end the header
            # UTF-8: for ASCII that is what every server reads. How Cyclr reads other letters in this header is not known.
            headers[b"X-Cyclr-Account"] = account_id.encode()
        content = None
        if body is not None:
            headers[b"Content-Type"] = b"application/json"
            content = json.dumps(dict(body)).encode()
        url = self._make_url(path, params) if params else self._url(path)
        request = httpx.Request(
            method, url, headers=headers, content=content, data=form, extensions=self._extensions
        )
        request.headers.encoding = "utf-8"  # said, so that httpx need not try each header to find it
        return request

    def _make_url(self, path: str, params: Mapping[str, str | int] | None = None) -> httpx.URL:
        return httpx.URL(f"{self._api_url}{path}", params=params)

    async def answer(
        self, permit: Permit, request: httpx.Request, account_id: str, *, most_bytes: int = MAX_ONE_BYTES
    ) -> Answer:
        """The answer, whatever its status. `account_id`: for the outage rule; "" where there is none.

        `most_bytes`: of a 200; a larger one is an unknown outcome.
        Raises: NotStarted, NeverSent, OutcomeUnknown.
        """
        # Nothing may come between these two: what `ready` has checked holds for a request that starts at once.
        await permit.ready()
        began = self._clock.moment()
        outcome = await self._send(request, most_bytes)
        match outcome:
            case Answer(status=status):
                word = str(status)
            case NeverSent():
                word = "never_sent"
            case OutcomeUnknown():
                word = "unknown"
        permit.ended(word, self._clock.since(began))
        await self._report(outcome, account_id, began)
        if isinstance(outcome, CyclrError):
            raise outcome
        return outcome

    async def _send(self, request: httpx.Request, most_bytes: int) -> Answer | NeverSent | OutcomeUnknown:
        """The whole answer, or what it means that there is none.

        Failures are values here, since the transport's exceptions hold the request with its secrets: ours are raised
        away from them.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._http.handle_async_request(request)
                async with contextlib.aclosing(response):
                    is_good = response.status_code == 200
                    answer = await receive(response, most_bytes if is_good else MAX_ERROR_BYTES)
                    if not (is_good and answer.fault):
                        return answer
                    failure = OutcomeUnknown(f"the answer cannot be read: {answer.fault}")
                    kind = "answer_too_large" if answer.is_cut else "answer_unreadable"
                    failure.server_fault = ServerFault(Server.CYCLR, kind, failure.reason)
                    return failure
        except TimeoutError:
            return OutcomeUnknown(f"no answer within {self._timeout_s:g} s")
        except Exception as error:  # noqa: BLE001 - once a call has begun, whatever goes wrong leaves it unknown
            return failure_of(error)

    async def _report(self, outcome: Answer | CyclrError, account_id: str, began: Moment) -> None:
        _note(outcome)
        # The limiter being away must not hide what became of a call that was made.
        with contextlib.suppress(NotStarted):
            if isinstance(outcome, CyclrError):
                await self._limiter.note_failure(account_id, began)
            elif wait := find_wait(outcome, self._clock.now()):
                await self._limiter.throttled(wait.retry_after_s, began)
            elif outcome.status >= 500:
                await self._limiter.note_failure(account_id, began)
            else:
                await self._limiter.note_success(began)


def _note(outcome: Answer | CyclrError) -> None:
    """For the log, and for whoever asks what ails Cyclr. One call that fails is no alarm; one that cannot be made is."""
    match outcome:
        case NeverSent(server_fault=ServerFault() as fault):
            ALARMS.failed(fault, CALLING)
        case OutcomeUnknown() as unknown:
            fault = unknown.server_fault or ServerFault(Server.CYCLR, "timeout", unknown.reason)
            ALARMS.failed(fault, CALLING, after=ALARMING_IN_A_ROW)
        case Answer(status=status) if status >= 500:
            ALARMS.failed(ServerFault(Server.CYCLR, f"status_{status}"), CALLING, after=ALARMING_IN_A_ROW)
        case Answer():
            ALARMS.went_well(Server.CYCLR, CALLING)


def require_account_id(account_id: str) -> None:
    """Raises: Refused for an id that no call can name."""
    if reason := why_no_account_id(account_id):
        raise Refused(None, reason)


_LIFE_WHERE_UNSAID_S = 3600.0
_SHORTEST_LIFE_S = 60.0  # a token that claims less is still used for this long, or every call would fetch one
_MARGIN_S = 300.0
_REFUSALS_THAT_COUNT = 2


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """The partner's client id and secret."""

    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return "Credentials()"


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """`id`: names the token in errors and logs; `value`: the secret."""

    id: str
    value: str
    fetched: Moment
    good_for_s: float

    def __repr__(self) -> str:
        return f"Token(id={self.id})"


class Tokens:
    """Keeps the token of this process. `fetch`: one call of the token endpoint."""

    def __init__(self, fetch: Callable[[], Awaitable[Grant]], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._token: Token | None = None
        self._fetching: asyncio.Task[Token] | None = None
        self._count = 0
        self._refused_in_a_row = 0

    async def current(self) -> Token:
        """The token to use now. Concurrent callers share one fetch, and its failure.

        Raises: what `fetch` raises.
        """
        if self._token and self._clock.since(self._token.fetched) < self._token.good_for_s:
            return self._token
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_one())
            self._fetching.add_done_callback(self._end_fetch)
        # A caller that is cancelled must not take the fetch away from the others.
        return await asyncio.shield(self._fetching)

    async def renew(self, refused_token_id: str) -> None:
        """Replaces the token if it is still the one that was refused; else another caller has done so.

        Raises: what `fetch` raises; CredentialsRefused where Cyclr grants tokens but accepts none of them.
        """
        if self.is_current(refused_token_id):
            self._token = None
            self._refused_in_a_row += 1
            if self._refused_in_a_row >= _REFUSALS_THAT_COUNT:
                raise CredentialsRefused(401)
        await self.current()

    def is_current(self, token_id: str) -> bool:
        return self._token is not None and self._token.id == token_id

    def note_accepted(self, token_id: str) -> None:
        """Cyclr has answered a call with this token by something that only a good token gets."""
        if self.is_current(token_id):
            self._refused_in_a_row = 0

    async def aclose(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})

    async def _fetch_one(self) -> Token:
        asked = self._clock.moment()
        grant = await self._fetch()
        self._count += 1
        self._token = Token(f"token-{self._count}", grant.access_token, asked, _good_for_s(grant.lives_s))
        return self._token

    def _end_fetch(self, task: asyncio.Task[Token]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # it may be that nobody waits any more


def _good_for_s(lives_s: float | None) -> float:
    if lives_s is None or not lives_s > 0:
        return _LIFE_WHERE_UNSAID_S
    return max(lives_s - min(_MARGIN_S, lives_s / 10), _SHORTEST_LIFE_S)
