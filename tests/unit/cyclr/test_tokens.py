import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.clocks import HeldClock
from worker.cyclr.errors import CredentialsRefused, NeverSent
from worker.cyclr.exchange import Credentials, Tokens
from worker.cyclr.shapes import Grant


class Endpoint:
    """Gives out "secret-1", "secret-2", ...; waits for `open` first; fails while `fails` is set."""

    def __init__(self, lives_s: float | None = 1209599.0) -> None:
        self.lives_s = lives_s
        self.calls = 0
        self.fails: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> Grant:
        self.calls += 1
        await self.open.wait()
        if self.fails:
            raise self.fails
        return Grant(f"secret-{self.calls}", self.lives_s)


def run(scenario: Callable[[Tokens, Endpoint, HeldClock], Awaitable[None]], **endpoint: float | None) -> None:
    async def whole() -> None:
        clock, fetch = HeldClock(), Endpoint(**endpoint)
        tokens = Tokens(fetch, clock)
        await scenario(tokens, fetch, clock)
        await tokens.aclose()

    asyncio.run(whole())


def test_a_hundred_callers_share_one_fetch() -> None:
    async def scenario(tokens: Tokens, fetch: Endpoint, clock: HeldClock) -> None:
        got = await asyncio.gather(*(tokens.current() for _ in range(100)))
        assert {token.value for token in got} == {"secret-1"}
        assert fetch.calls == 1

    run(scenario)


def test_a_hundred_callers_share_one_failure_and_the_next_one_tries_again() -> None:
    async def scenario(tokens: Tokens, fetch: Endpoint, clock: HeldClock) -> None:
        fetch.fails = NeverSent("refused")
        got = await asyncio.gather(*(tokens.current() for _ in range(100)), return_exceptions=True)
        assert {type(error) for error in got} == {NeverSent}
        assert fetch.calls == 1
        fetch.fails = None
        assert (await tokens.current()).value == "secret-2"

    run(scenario)


def test_a_caller_that_is_cancelled_does_not_take_the_fetch_from_the_others() -> None:
    async def scenario(tokens: Tokens, fetch: Endpoint, clock: HeldClock) -> None:
        fetch.open.clear()
        first, second = (asyncio.create_task(tokens.current()) for _ in range(2))
        while not fetch.calls:
            await asyncio.sleep(0)
        first.cancel()
        fetch.open.set()
        assert (await second).value == "secret-1"
        assert fetch.calls == 1
        assert first.cancelled()

    run(scenario)


def test_a_token_is_replaced_five_minutes_before_its_end() -> None:
    async def scenario(tokens: Tokens, fetch: Endpoint, clock: HeldClock) -> None:
        await tokens.current()
        clock.go_on(1209299 - 1)
        assert (await tokens.current()).value == "secret-1"
        clock.go_on(1)
        assert (await tokens.current()).value == "secret-2"

    run(scenario)


@pytest.mark.parametrize(
    ("lives_s", "used_for_s"),
    [(None, 3600), (float("nan"), 3600), (0, 3600), (-1, 3600), (1, 60), (100, 90), (6000, 5700)],
)
def test_how_long_a_token_is_used(lives_s: float | None, used_for_s: int) -> None:
    async def scenario(tokens: Tokens, fetch: Endpoint, clock: HeldClock) -> None:
        await tokens.current()
        clock.go_on(used_for_s - 1)
        assert (await tokens.current()).value == "secret-1"
        clock.go_on(1)
        assert (await tokens.current()).value == "secret-2"

    run(scenario, lives_s=lives_s)


def test_a_refused_token_is_renewed_once_for_all_who_had_it() -> None:
    async def scenario(tokens: Tokens, fetch: Endpoint, clock: HeldClock) -> None:
        refused = await tokens.current()
        await asyncio.gather(*(tokens.renew(refused.id) for _ in range(100)))
        await tokens.renew(refused.id)
        assert (await tokens.current()).value == "secret-2"
        assert fetch.calls == 2

    run(scenario)


def test_tokens_that_are_never_accepted_mean_that_the_credentials_are_refused() -> None:
    async def scenario(tokens: Tokens, fetch: Endpoint, clock: HeldClock) -> None:
        await tokens.renew((await tokens.current()).id)
        with pytest.raises(CredentialsRefused):
            await tokens.renew((await tokens.current()).id)
        # Someone may set it right meanwhile: the next call asks for a token again.
        token = await tokens.current()
        assert token.value == "secret-3"
        tokens.note_accepted(token.id)
        await tokens.renew(token.id)
        assert (await tokens.current()).value == "secret-4"

    run(scenario)


def test_tokens_that_were_accepted_may_be_revoked_any_number_of_times() -> None:
    async def scenario(tokens: Tokens, fetch: Endpoint, clock: HeldClock) -> None:
        for _ in range(5):
            token = await tokens.current()
            tokens.note_accepted(token.id)
            await tokens.renew(token.id)
        assert fetch.calls == 6

    run(scenario)


def test_closing_ends_a_fetch_under_way() -> None:
    async def scenario(tokens: Tokens, fetch: Endpoint, clock: HeldClock) -> None:
        fetch.open.clear()
        waiting = asyncio.create_task(tokens.current())
        while not fetch.calls:
            await asyncio.sleep(0)
        await tokens.aclose()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(scenario)


def test_neither_token_nor_credentials_show_themselves() -> None:
    async def scenario(tokens: Tokens, fetch: Endpoint, clock: HeldClock) -> None:
        assert repr(await tokens.current()) == "Token(id=token-1)"

    run(scenario)
    assert repr(Credentials("id", "in-clear")) == "Credentials()"
