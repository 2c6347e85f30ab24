"""The partner's token: one per process, good for every account, fetched when it is needed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from worker.clock import Clock, Moment
from worker.cyclr.errors import CredentialsRefused
from worker.cyclr.shapes import Grant

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
