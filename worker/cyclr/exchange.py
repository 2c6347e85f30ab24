"""One request and its whole answer: never without a permit, never past the deadline, always told to the limiter."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Protocol

import httpx

from worker.clock import Clock, Moment
from worker.cyclr.answers import Answer, find_wait
from worker.cyclr.bodies import MAX_ERROR_BYTES, MAX_ONE_BYTES, read_body
from worker.cyclr.errors import CyclrError, NeverSent, NotStarted, OutcomeUnknown, Refused
from worker.cyclr.transport import reason_of, was_never_sent
from worker.domain.accounts import why_no_account_id

_CONNECT_S = 10.0
_KEPT_URLS = 256  # an install's URL is the same for all items of a connector


class Permit(Protocol):
    """The right to make one call. `ready` waits for its time and makes the last checks; it raises `NotStarted`.

    `ended` is told how a call that began went: its status, `never_sent` or `unknown`.
    """

    async def ready(self) -> None: ...

    def ended(self, outcome: str, took_s: float) -> None: ...


NextPermit = Callable[[], Awaitable[Permit]]  # waits until there is one


class Limits(Protocol):
    """What is asked of the limiter, and what it is told. `began`: `Clock.moment()` from when the call started."""

    async def one(self) -> Permit: ...

    async def throttled(self, retry_after_s: float | None, began: Moment | None = None) -> None: ...

    async def note_success(self, began: Moment) -> None: ...

    async def note_failure(self, account_id: str, began: Moment) -> None: ...


class Exchange:
    """Sends requests to one Cyclr. `timeout_s`: the whole deadline of one call, to the last byte of its answer."""

    def __init__(
        self,
        http: httpx.AsyncBaseTransport,
        api_url: str,
        *,
        timeout_s: float,
        clock: Clock,
        limiter: Limits,
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
            headers[b"X-Cyclr-Account"] = _header_value(account_id)
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
        permit.ended(_in_a_word(outcome), self._clock.since(began))
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
                    body = await read_body(response, most_bytes if is_good else MAX_ERROR_BYTES)
                    if is_good and body.fault:
                        return OutcomeUnknown(f"the answer cannot be read: {body.fault}")
                    # How a long text begins is all that is shown of it.
                    fault = "" if body.is_cut else body.fault
                    return Answer(response.status_code, response.headers, body.content, fault)
        except TimeoutError:
            return OutcomeUnknown(f"no answer within {self._timeout_s:g} s")
        except Exception as error:  # noqa: BLE001 - once a call has begun, whatever goes wrong leaves it unknown
            return NeverSent(reason_of(error)) if was_never_sent(error) else OutcomeUnknown(reason_of(error))

    async def _report(self, outcome: Answer | CyclrError, account_id: str, began: Moment) -> None:
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


def _in_a_word(outcome: Answer | NeverSent | OutcomeUnknown) -> str:
    match outcome:
        case Answer():
            return str(outcome.status)
        case NeverSent():
            return "never_sent"
        case OutcomeUnknown():
            return "unknown"


def _header_value(account_id: str) -> bytes:
    """UTF-8: for ASCII that is what every server reads. How Cyclr reads other letters in this header is not known."""
    require_account_id(account_id)  # whatever else stands in an id: it must not end the header
    return account_id.encode()


def require_account_id(account_id: str) -> None:
    """Raises: Refused for an id that no call can name."""
    if reason := why_no_account_id(account_id):
        raise Refused(None, reason)
