"""Calls to Cyclr, each a method: it takes the permit of the one call that it makes and ends as a value or an error. And how a reading
goes on through what passes: waiting, throttling, a lost answer, a revoked token."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from worker.clock import Clock
from worker.cyclr import shapes
from worker.cyclr.answers import Answer, Page, Unexpected, read_answer, read_page, secrets_of
from worker.cyclr.errors import (
    Busy,
    CredentialsRefused,
    CyclrError,
    GateClosed,
    LimiterAway,
    NameInUse,
    NeverSent,
    NotFound,
    NotStarted,
    OutcomeUnknown,
    Refused,
    Throttled,
    Unauthorised,
)
from worker.cyclr.exchange import Credentials, Exchange, NextPermit, Permit, Token, Tokens, require_account_id
from worker.cyclr.limiter import Limiter
from worker.cyclr.transport import MAX_LIST_BYTES, MAX_ONE_BYTES, MAX_TOKEN_BYTES
from worker.domain.accounts import ListedAccount
from worker.domain.connectors import AccountConnector, Connector, ConnectorRef, InstalledProperty
from worker.domain.rows import NewAccount
from worker.domain.targets import fold

T = TypeVar("T")

_OWN_TOKEN_CALL = ""  # stands for the token's id where the call is the one that fetches it
_READ_AT_ONCE_BYTES = 16 * 1024  # a larger body is read in a thread, while the loop sees to the others
_ACCEPTING_STATUSES = frozenset({200, 400, 404})


class Blame(StrEnum):
    """What a 401 was about: its status alone does not tell. Source: reference section 4."""

    TOKEN = "token"  # noqa: S105 - it was refused, and there is a new one
    ACCOUNT_UNKNOWN = "account_unknown"
    ACCOUNT_REFUSED = "account_refused"  # though the token is good and the account exists


class CyclrClient:
    """One Cyclr instance, as one process calls it. `http`: from `open_http`; closed by `aclose`.

    `timeout_s`: the whole deadline of one call. Every method that takes a permit may raise any `CyclrError`.
    """

    def __init__(
        self,
        http: httpx.AsyncBaseTransport,
        api_url: str,
        credentials: Credentials,
        *,
        timeout_s: float,
        clock: Clock,
        limiter: Limiter,
    ) -> None:
        self._exchange = Exchange(http, api_url, timeout_s=timeout_s, clock=clock, limiter=limiter)
        self._credentials = credentials
        self._clock = clock
        self._limiter = limiter
        self._tokens = Tokens(self._fetch_token, clock)
        self._token_calls = 0
        # One, so that one large answer is in memory in full at a time.
        self._reader = ThreadPoolExecutor(1, "cyclr-answers")

    async def aclose(self) -> None:
        await self._tokens.aclose()
        await self._exchange.aclose()
        self._reader.shutdown(wait=False, cancel_futures=True)

    async def install(
        self, permit: Permit, account_id: str, release_id: int, body: Mapping[str, Any]
    ) -> AccountConnector:
        """The account connector that this call made. Never safe to repeat without a look.

        `body`: Name and whatever else of the reference's section 7. A 200 proves nothing without an integer Id and
        this Name: OutcomeUnknown.
        """

        def installed(data: Any) -> AccountConnector:
            found = shapes.account_connector(data)
            if fold(found.name) != fold(body["Name"]):
                raise Unexpected("the account connector has another Name than the one sent")
            if found.id <= 0:  # what a server makes of a thing before it has one
                raise Unexpected("the account connector has an Id that none has")
            return found

        path = f"/v1.0/connectors/{release_id}/install"
        request = self._exchange.request("POST", path, account_id=account_id, body=body)
        return await self._call(permit, request, installed, account_id, body)

    async def list_account_connectors(
        self, permit: Permit, account_id: str, page: int, page_size: int = 100
    ) -> Page[AccountConnector]:
        params = {"page": page, "pageSize": page_size}
        request = self._exchange.request(
            "GET", "/v1.0/account/connectors", account_id=account_id, params=params
        )
        return await self._call_page(permit, request, shapes.account_connector, account_id)

    async def get_account_connector(
        self, permit: Permit, account_id: str, account_connector_id: int
    ) -> AccountConnector:
        """The account connector as it stands. Raises: NotFound where the account has none of this id."""
        path = f"/v1.0/account/connectors/{account_connector_id}"
        request = self._exchange.request("GET", path, account_id=account_id)
        return await self._call(permit, request, shapes.account_connector, account_id)

    async def change_account_connector(
        self, permit: Permit, account_id: str, account_connector_id: int, body: Mapping[str, str]
    ) -> AccountConnector:
        """The account connector as it is once AuthValue, Description or both are set. What `body` does not name stays.

        Safe to repeat. A 200 proves nothing without this Id: OutcomeUnknown. Source: reference section 7.
        """

        def changed(data: Any) -> AccountConnector:
            found = shapes.account_connector(data)
            if found.id != account_connector_id:
                raise Unexpected("the account connector has another Id than the one asked for")
            return found

        path = f"/v1.0/account/connectors/{account_connector_id}"
        request = self._exchange.request("PUT", path, account_id=account_id, body=body)
        return await self._call(permit, request, changed, account_id, body)

    async def set_property(
        self,
        permit: Permit,
        account_id: str,
        account_connector_id: int,
        property_id: int,
        name: str,
        value: str,
    ) -> InstalledProperty:
        """The property that is there, as it is once it has this value. Safe to repeat. Source: reference section 7."""
        path = f"/v1.0/account/connectors/{account_connector_id}/properties/{property_id}"
        return await self._set(permit, "PUT", path, account_id, name, value, property_id)

    async def add_property(
        self, permit: Permit, account_id: str, account_connector_id: int, name: str, value: str
    ) -> InstalledProperty:
        """The property that this call has added. Never safe to repeat without a look. Source: reference section 7."""
        path = f"/v1.0/account/connectors/{account_connector_id}/properties"
        return await self._set(permit, "POST", path, account_id, name, value, None)

    async def _set(
        self,
        permit: Permit,
        method: str,
        path: str,
        account_id: str,
        name: str,
        value: str,
        property_id: int | None,
    ) -> InstalledProperty:
        def set_so(data: Any) -> InstalledProperty:
            found = shapes.account_property(data)
            if found.name != name or property_id not in (None, found.id):
                raise Unexpected("the property is another one than the one sent")
            return found

        body = {"Name": name, "Value": value}
        request = self._exchange.request(method, path, account_id=account_id, body=body)
        return await self._call(permit, request, set_so, account_id, {"Properties": [body]})

    async def mint_sign_in(self, permit: Permit, account_id: str, username: str) -> shapes.SignIn:
        """A token that signs a browser in to this account, once. Cyclr adds the user to the account if it is new.

        Safe to repeat: a token that nobody uses ends by itself, after 5 minutes. Source: reference section 5.
        """
        path = f"/v1.0/accounts/{_segment(account_id)}/signintoken"
        request = self._exchange.request("POST", path, body={"Username": username})
        return await self._call(permit, request, shapes.sign_in, account_id, most_bytes=MAX_TOKEN_BYTES)

    async def find_account(self, permit: Permit, account_id: str) -> bool:
        """Whether Cyclr has this account."""
        try:
            request = self._exchange.request("GET", f"/v1.0/accounts/{_segment(account_id)}")
            await self._call(permit, request, shapes.account_id, account_id)
        except NotFound:
            return False
        return True

    async def create_account(self, permit: Permit, account_id: str, account: NewAccount) -> bool:
        """Whether this call made the account: False where its id was in use already. Safe to repeat.

        Raises: Refused for an id that no later call could name, before anything is sent.
        """
        require_account_id(account_id)
        body = {"Id": account_id, "Name": account.name}
        if account.description is not None:
            body["Description"] = account.description
        if account.timezone is not None:
            body["Timezone"] = account.timezone

        def created(data: Any) -> bool:
            if fold(shapes.account_id(data)) != fold(account_id):
                raise Unexpected("the account has another Id than the one sent")
            return True

        request = self._exchange.request("POST", "/v1.0/accounts", body=body)
        try:
            return await self._call(permit, request, created, account_id)
        except Refused as refused:
            # Source: reference section 5.
            if fold(refused.message).rstrip(".") == "id already in use":
                return False
            raise

    async def list_accounts(self, permit: Permit, page: int, page_size: int = 1000) -> Page[ListedAccount]:
        """A page of the partner's accounts. Sub-accounts may be missing from it."""
        params: dict[str, str | int] = {"page": page, "pageSize": page_size, "sortOrderAsc": "true"}
        request = self._exchange.request("GET", "/v1.0/accounts", params=params)
        return await self._call_page(permit, request, shapes.listed_account, "")

    async def list_sub_accounts(
        self, permit: Permit, account_id: str, page: int, page_size: int = 1000
    ) -> Page[ListedAccount]:
        """A page of the account's sub-accounts. Raises: NotFound where there is no such account."""
        params: dict[str, str | int] = {"page": page, "pageSize": page_size, "sortOrderAsc": "true"}
        path = f"/v1.0/accounts/{_segment(account_id)}/subaccounts"
        request = self._exchange.request("GET", path, params=params)
        return await self._call_page(permit, request, shapes.listed_account, account_id)

    async def list_connectors(
        self, permit: Permit, account_id: str, page: int, query: str | None = None, page_size: int = 100
    ) -> Page[Connector]:
        """A page of the catalogue as this account sees it. `query`: Cyclr's own match on names, not an exact one."""
        params: dict[str, str | int] = {"page": page, "pageSize": page_size}
        params |= {"orderBy": "Name", "sortOrderAsc": "true"}
        if query is not None:
            params["query"] = query
        request = self._exchange.request("GET", "/v1.0/connectors", account_id=account_id, params=params)
        return await self._call_page(permit, request, shapes.connector, account_id)

    async def get_connectors(
        self, permit: Permit, account_id: str, ref: ConnectorRef
    ) -> tuple[Connector, ...]:
        """The releases that Cyclr gives for an id or a name, with a version perhaps; () where it knows none."""
        try:
            path = f"/v1.0/connectors/{_segment(ref.name_or_id)}"
            if ref.version is not None and ref.release_id is None:
                path += f"/{_segment(ref.version)}"
            request = self._exchange.request("GET", path, account_id=account_id)
            return await self._call(permit, request, shapes.connectors, account_id, most_bytes=MAX_LIST_BYTES)
        except NotFound:
            return ()

    async def have_a_token(self) -> None:
        """Fetch the token where there is none yet. A failure is left to the call that needs one."""
        with suppress(CyclrError):
            await self._tokens.current()

    async def renew_token(self, refused_token_id: str) -> None:
        """Fetches a new token if that one is still in use. Many may ask at once; the fetch has a permit of its own."""
        await self._tokens.renew(refused_token_id)

    async def blame(self, permit: Permit, account_id: str, refused: Unauthorised) -> Blame:
        """What a 401 of an account's call was about, as `GET /accounts/{id}` shows.

        With TOKEN there is a new token when this returns. Raises: CredentialsRefused where none is to be had.
        """
        if not self._tokens.is_current(refused.token_id):
            return Blame.TOKEN
        try:
            exists = await self.find_account(permit, account_id)
        except Unauthorised as same:
            await self.renew_token(same.token_id)
            return Blame.TOKEN
        return Blame.ACCOUNT_REFUSED if exists else Blame.ACCOUNT_UNKNOWN

    async def _call(
        self,
        permit: Permit,
        request: httpx.Request,
        expected: Callable[[Any], T],
        account_id: str,
        body: Mapping[str, Any] | None = None,
        most_bytes: int = MAX_ONE_BYTES,
    ) -> T:
        token, answer = await self._authorised(permit, request, account_id, most_bytes)
        # A 200 has no message that they could stand in.
        secrets = () if answer.status == 200 else (token.value, *secrets_of(body or {}))
        return await self._read(
            answer,
            lambda: read_answer(answer, expected, token_id=token.id, now=self._clock.now(), secrets=secrets),
        )

    async def _call_page(
        self, permit: Permit, request: httpx.Request, item: Callable[[Any], T], account_id: str
    ) -> Page[T]:
        token, answer = await self._authorised(permit, request, account_id, MAX_LIST_BYTES)
        secrets = (token.value,)
        return await self._read(
            answer,
            lambda: read_page(answer, item, token_id=token.id, now=self._clock.now(), secrets=secrets),
        )

    async def _read(self, answer: Answer, read: Callable[[], T]) -> T:
        if len(answer.body) <= _READ_AT_ONCE_BYTES:
            return read()
        return await asyncio.get_running_loop().run_in_executor(self._reader, read)

    async def _authorised(
        self, permit: Permit, request: httpx.Request, account_id: str, most_bytes: int
    ) -> tuple[Token, Answer]:
        token = await self._tokens.current()
        request.headers["Authorization"] = f"Bearer {token.value}"
        answer = await self._exchange.answer(permit, request, account_id, most_bytes=most_bytes)
        if answer.status in _ACCEPTING_STATUSES:
            self._tokens.note_accepted(token.id)
        return token, answer

    async def _fetch_token(self) -> shapes.Grant:
        """Raises: never OutcomeUnknown or Busy, since whoever waits for the token has sent nothing."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self._credentials.client_id,
            "client_secret": self._credentials.client_secret,
        }
        request = self._exchange.request("POST", "/oauth/token", form=form)
        permit = await self._limiter.one()
        # A token that is not to be had stops every account, so to the outage rule each failure is one of another.
        self._token_calls += 1
        try:
            whose = f"token call {self._token_calls}"
            answer = await self._exchange.answer(permit, request, whose, most_bytes=MAX_TOKEN_BYTES)
            return await self._read(
                answer,
                lambda: read_answer(
                    answer,
                    shapes.grant,
                    token_id=_OWN_TOKEN_CALL,
                    now=self._clock.now(),
                    secrets=(self._credentials.client_secret,),
                ),
            )
        except (Unauthorised, NotFound, Refused, NameInUse):
            raise CredentialsRefused(answer.status) from None
        except Busy as busy:
            raise Throttled(busy.retry_after_s, 503) from None
        except OutcomeUnknown as unknown:
            raise NeverSent(f"no token: {unknown.reason}") from None


def _segment(text: str) -> str:
    """The text as one segment of a path. Raises: NotFound for what no path can name."""
    if text in ("", ".", ".."):
        raise NotFound(f"there is no such name as {text!r}")
    return quote(text, safe="", errors="replace")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on. `pauses_s`: before each further try of a call that failed; then its error is raised.

    `throttled_tries`: how often one call may be turned away by 429 or 503 (the gate holds the next permit back).
    `away_tries`: how often, `away_pause_s` apart, the limiter may be found away.
    """

    pauses_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    throttled_tries: int = 20
    away_tries: int = 60
    away_pause_s: float = 0.5
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


PATIENCE = Patience()


async def read_patiently(
    client: CyclrClient,
    next_permit: NextPermit,
    call: Callable[[Permit], Awaitable[T]],
    *,
    account_id: str | None,
    patience: Patience = PATIENCE,
) -> T:
    """What a call that changes nothing answers, tried again as long as that makes sense.

    `account_id`: in whose name the call is; None for a call of the partner's own.
    Raises: NotFound where Cyclr does not know the account; Refused where it exists and is refused all the same;
    CredentialsRefused; LimiterAway; the last error of a call that goes on failing.
    """
    tries = _Tries(client, next_permit, account_id, patience)
    refused: Unauthorised | None = None
    while True:
        try:
            if refused is not None:
                await tries.clear_up(refused)
                refused = None
            return await call(await next_permit())
        except Unauthorised as error:
            refused = error
        except (NotStarted, NeverSent, Throttled, Busy, OutcomeUnknown) as error:
            pause_s = tries.pause_after(error)
            if pause_s is None:
                raise
            await patience.sleep(pause_s)


@dataclass(slots=True)
class _Tries:
    client: CyclrClient
    next_permit: NextPermit
    account_id: str | None
    patience: Patience
    failed: int = 0
    throttled: int = 0
    away: int = 0
    unauthorised: int = 0
    account_refused: int = 0

    def pause_after(self, error: CyclrError) -> float | None:
        """Seconds until the next try; None: enough."""
        match error:
            case LimiterAway():
                self.away += 1
                return self.patience.away_pause_s if self.away <= self.patience.away_tries else None
            case GateClosed():
                return error.reopens_in_s
            case NotStarted():
                return 0.0
            case Throttled() | Busy():
                self.throttled += 1
                return 0.0 if self.throttled <= self.patience.throttled_tries else None
        self.failed += 1
        pauses_s = self.patience.pauses_s
        return pauses_s[self.failed - 1] if self.failed <= len(pauses_s) else None

    async def clear_up(self, refused: Unauthorised) -> None:
        """Find out what a 401 is about. Returns where the call is worth another try."""
        self.unauthorised += 1
        if self.unauthorised > 3:
            raise CredentialsRefused(401)
        if self.account_id is None:
            await self.client.renew_token(refused.token_id)
            return
        blame = await self.client.blame(await self.next_permit(), self.account_id, refused)
        if blame is Blame.ACCOUNT_UNKNOWN:
            raise NotFound(f"there is no account {self.account_id}")
        if blame is Blame.ACCOUNT_REFUSED:
            self.account_refused += 1
            if self.account_refused > 1:
                raise Refused(401, f"account {self.account_id} exists, but calls for it are refused")
