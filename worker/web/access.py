"""Who calls: an API key in a header, or a session that was begun with one. Whoever tries wrong keys waits longer for each answer."""

import asyncio
import base64
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from fastapi.concurrency import run_in_threadpool

from worker.clock import Clock, Moment
from worker.settings import CyclrSettings, parse_sealing_keys
from worker.store.api_keys import (
    SESSION_LASTS,
    ApiKey,
    Scope,
    WebSession,
    begin_session,
    end_session,
    find_any_key,
    find_key,
    find_key_of_text,
    find_session,
    hash_of,
)
from worker.store.sealing import Signer
from worker.store.session import Engine
from worker.web.http_errors import HttpError
from worker.web.serving import caller_group

MOST_KNOWN_KEYS = 1_000


@dataclass(frozen=True, slots=True)
class Caller:
    """The API key that a request comes with. `name`: for people; nothing here is secret.

    `session_hash`: of the session that it came by; None: by the key itself.
    """

    key_id: str
    name: str
    scope: Scope
    session_hash: str | None = field(default=None, compare=False)

    @property
    def can_write(self) -> bool:
        return self.scope.can_write


class Brake:
    """Counts wrong keys by the address that they come from, and by the id that stands in a key: from wherever it comes."""

    FIRST_S = 0.1
    LONGEST_S = 3.0
    FORGIVEN_AFTER_S = 60.0
    SIDE_BY_SIDE = 3  # looked at, or waiting for their answer, of one address or id
    MOST_OF_ONE = 50  # waiting for their turn too
    MOST_WAITING = 200  # of all
    MOST_MARKS = 10_000

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tries: OrderedDict[str, tuple[int, Moment]] = OrderedDict()
        self._turns: dict[str, _Turns] = {}
        self._waiting = 0

    @asynccontextmanager
    async def turn(self, address: str, key_text: str) -> AsyncIterator[None]:
        """Holds one of the few places that an address has, and an id, while the context lasts. Raises: HttpError (429)."""
        if self._waiting >= self.MOST_WAITING:
            raise _too_many()
        self._waiting += 1
        try:
            async with AsyncExitStack() as stack:
                # In this order everywhere, so that no two wait for each other.
                for mark in self.marks(address, key_text):
                    await stack.enter_async_context(self._turn_of(mark))
                yield
        finally:
            self._waiting -= 1

    async def slow_down(self, address: str, key_text: str) -> None:
        """To be called for every wrong key, in its turn, before it is answered."""
        await asyncio.sleep(max(self._wait_s(mark) for mark in self.marks(address, key_text)))

    @staticmethod
    def marks(address: str, key_text: str) -> Iterator[str]:
        """What a try is counted by."""
        yield caller_group(address)
        key_id = key_text.partition("_")[2].partition("_")[0]
        if key_id:
            yield f"key {key_id[:40]}"

    @asynccontextmanager
    async def _turn_of(self, mark: str) -> AsyncIterator[None]:
        turns = self._turns.setdefault(mark, _Turns(self.SIDE_BY_SIDE))
        if turns.count >= self.MOST_OF_ONE:
            raise _too_many()
        turns.count += 1
        try:
            async with turns.places:
                yield
        finally:
            turns.count -= 1
            if not turns.count:
                self._turns.pop(mark, None)

    def _wait_s(self, mark: str) -> float:
        tries, last = self._tries.pop(mark, (0, self._clock.moment()))
        if self._clock.since(last) > self.FORGIVEN_AFTER_S:
            tries = 0
        self._tries[mark] = (tries + 1, self._clock.moment())
        if len(self._tries) > self.MOST_MARKS:
            self._tries.popitem(last=False)
        return min(self.LONGEST_S, self.FIRST_S * 2.0 ** min(tries, 10))


def _too_many() -> HttpError:
    """More keys wait for their turn than this process lets wait."""
    detail = "Too many wrong API keys at once."
    return HttpError(429, "too_many_wrong_keys", detail, headers={"Retry-After": "5"})


class _Turns:
    def __init__(self, side_by_side: int) -> None:
        self.places = asyncio.Semaphore(side_by_side)
        self.count = 0


class Access:
    """Knows callers. A session is a random text, of which the database has the hash: any web process may end it."""

    def __init__(self, engine: Engine, settings: CyclrSettings, clock: Clock) -> None:
        assert settings.cyclr_bulk_sealing_keys is not None
        keys = parse_sealing_keys(settings.cyclr_bulk_sealing_keys.get_secret_value())
        self._engine = engine
        self._forms = Signer(keys, "form")
        self._notices = Signer(keys, "notice")
        self.brake = Brake(clock)
        self._known: OrderedDict[bytes, None] = OrderedDict()

    async def caller_of_key(self, key_text: str, address: str, engine: Engine | None = None) -> Caller | None:
        """The caller with this API key, who calls from `address`; None, and late, where it is wrong. `engine`: where to look.

        A key that was right here before is looked at at once. Any other takes its turn behind those from the same address
        and those of the same id: so guesses side by side gain nothing, and nobody who works is shut out by them.
        Raises: HttpError (429).
        """
        digest = hashlib.sha256(key_text.encode("utf-8", "replace")).digest()
        if (caller := await self._find_known(digest, key_text, engine)) is not None:
            return caller
        async with self.brake.turn(address, key_text):
            caller = await run_in_threadpool(self.find_caller, key_text, engine)
            if caller is None:
                await self.brake.slow_down(address, key_text)
                return None
        self._known[digest] = None
        if len(self._known) > MOST_KNOWN_KEYS:
            self._known.popitem(last=False)
        return caller

    async def _find_known(self, digest: bytes, key_text: str, engine: Engine | None) -> Caller | None:
        if digest not in self._known:
            return None
        caller = await run_in_threadpool(self.find_caller, key_text, engine)
        if caller is None:
            self._known.pop(digest, None)
        elif digest in self._known:
            self._known.move_to_end(digest)
        return caller

    def find_caller(self, key_text: str, engine: Engine | None = None) -> Caller | None:
        """The caller with this API key; None where it is wrong, has expired or was revoked. `engine`: where to look."""
        return _caller(find_key_of_text(engine or self._engine, key_text))

    def begin_session(self, caller: Caller, *, instead_of: str = "") -> str:
        """The cookie's value: good for 12 hours, and for as long as the API key is.

        `instead_of`: the cookie that came with the key; its session is over.
        """
        return begin_session(self._engine, caller.key_id, instead_of=instead_of)

    def end_session(self, cookie: str) -> None:
        """Its person signs out. A second call is safe."""
        end_session(self._engine, cookie)

    def find_session_caller(self, cookie: str) -> Caller | None:
        """The caller whose session this is; None where it has ended, or its API key has."""
        session = find_session(self._engine, hash_of(cookie))
        if session is None or not session.is_valid:
            return None
        return _caller(session.key, session.hash)

    def why_over(self, cookie: str) -> str | None:
        """Why the session with this cookie has ended, for the person whose it was; None where none of ours is known."""
        session = find_session(self._engine, hash_of(cookie))
        return None if session is None else _why_session_is_over(session)

    def why_no_more(self, caller: Caller) -> str | None:
        """Why a request of this caller would be refused by now; None: it would not be."""
        if caller.session_hash is None:
            if find_key(self._engine, caller.key_id) is not None:
                return None
            key = find_any_key(self._engine, caller.key_id)
            was_revoked = key is not None and key.revoked_at is not None
            return f"The API key '{caller.name}' {'was revoked' if was_revoked else 'has expired'}."
        session = find_session(self._engine, caller.session_hash)
        if session is None:
            return "You have signed out. Sign in again."
        return None if session.is_valid else _why_session_is_over(session)

    def form_token(self, cookie: str) -> str:
        """What a form of this session carries, so that no other site can fill it in: another text each time."""
        return _masked(self._forms.sign(cookie).rpartition(".")[2])

    def is_form_token(self, token: str, cookie: str) -> bool:
        return self._forms.find(f"{self._forms.sign(cookie).partition('.')[0]}.{_unmasked(token)}") == cookie

    def sign_notice(self, text: str) -> str:
        """What a page is to say, as a cookie's value."""
        return self._notices.sign(text)

    def find_notice(self, cookie: str) -> str | None:
        """The text; None where it is not of ours."""
        return self._notices.find(cookie)


# A compressed page whose size somebody sees, and a part of which they choose, would give away a secret that stands in it
# as the same text each time (BREACH).
def _masked(text: str) -> str:
    mask = secrets.token_bytes(len(text))
    return base64.urlsafe_b64encode(mask + _xor(mask, text.encode())).decode()


def _unmasked(token: str) -> str:
    try:
        both = base64.urlsafe_b64decode(token)
        middle = len(both) // 2
        return _xor(both[:middle], both[middle:]).decode()
    except ValueError:
        return ""


def _xor(first: bytes, second: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(first, second, strict=False))


def _caller(key: ApiKey | None, session_hash: str | None = None) -> Caller | None:
    return None if key is None else Caller(key.id, key.name, key.scope, session_hash)


def _why_session_is_over(session: WebSession) -> str:
    key, now = session.key, session.looked_at
    if key.revoked_at is not None:
        return f"The API key '{key.name}' that you had signed in with was revoked. Sign in with another one."
    if not key.is_valid(now):
        return "The API key that you had signed in with has expired. Sign in with another one."
    hours = int(SESSION_LASTS.total_seconds()) // 3600
    return f"Your session has ended after {hours} hours. Sign in again."
