"""The client, with the real limiter, against the stand-in for Cyclr, which shares no code with it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.plain_http import async_http_client
from worker.clock import Clock
from worker.cyclr.catalogue import CatalogueReader
from worker.cyclr.client import Blame, CyclrClient
from worker.cyclr.errors import NameInUse, NotFound, OutcomeUnknown, Unauthorised
from worker.cyclr.exchange import Credentials
from worker.cyclr.limiter import InProcessLimiter
from worker.cyclr.limiter_rule import Limit, Rule
from worker.cyclr.looks import look
from worker.cyclr.transport import open_http
from worker.domain.connectors import Connector, ConnectorRef
from worker.domain.rows import NewAccount
from worker.simulator.catalogue import method
from worker.simulator.faults import cut_body
from worker.simulator.server import Simulator


@asynccontextmanager
async def setting() -> AsyncIterator[tuple[CyclrClient, InProcessLimiter, Simulator]]:
    simulator = Simulator()
    simulator.world.add_account("acme", "Acme")
    simulator.world.add_connector("Northwind Mail", "v1")
    await simulator.start()
    limiter = InProcessLimiter(Rule(), limit=Limit(500, 50), gates=None, clock=Clock())
    client = CyclrClient(
        open_http(simulator.base_url, max_connections=10),
        simulator.base_url,
        Credentials("any", "pair"),
        timeout_s=5,
        clock=Clock(),
        limiter=limiter,
    )
    try:
        # The in-process limiter makes a new process wait for the reservations of an earlier one: there was none.
        await limiter.declare_idle()
        yield client, limiter, simulator
    finally:
        await client.aclose()
        await limiter.aclose()
        await simulator.stop()


async def _release_of(client: CyclrClient, limiter: InProcessLimiter) -> int:
    found = await CatalogueReader(client, limiter.one).resolve("acme", ConnectorRef("northwind mail"))
    assert isinstance(found, Connector)
    return found.release_id


def test_an_install_whose_answer_is_cut_is_found_by_a_look() -> None:
    async def scenario() -> None:
        async with setting() as (client, limiter, simulator):
            release_id = await _release_of(client, limiter)
            names = {"name": "Mail", "connector_name": "Northwind Mail", "is_strict": True}
            assert (await look(client, limiter.one, "acme", **names)).found is None
            simulator.faults.add(cut_body(), call="install", count=1)
            with pytest.raises(OutcomeUnknown):
                await client.install(await limiter.one(), "acme", release_id, {"Name": "Mail"})
            found = (await look(client, limiter.one, "acme", **names)).found
            assert found is not None
            assert found.connector_name == "Northwind Mail"
            with pytest.raises(NameInUse):
                await client.install(await limiter.one(), "acme", release_id, {"Name": "MAIL"})
            assert simulator.world.count_doubles() == 0

    asyncio.run(scenario())


def test_a_revoked_token_is_replaced_and_an_unknown_account_is_told() -> None:
    async def scenario() -> None:
        async with setting() as (client, limiter, simulator):
            release_id = await _release_of(client, limiter)
            simulator.world.tokens.revoke_all()
            for account_id, blame in (("acme", Blame.TOKEN), ("nobody", Blame.ACCOUNT_UNKNOWN)):
                with pytest.raises(Unauthorised) as raised:
                    await client.install(await limiter.one(), account_id, release_id, {"Name": "Mail"})
                assert await client.blame(await limiter.one(), account_id, raised.value) is blame
            assert (await client.install(await limiter.one(), "acme", release_id, {"Name": "Mail"})).id > 0

    asyncio.run(scenario())


def test_an_account_is_missing_until_it_is_created() -> None:
    async def scenario() -> None:
        async with setting() as (client, limiter, _):
            assert await CatalogueReader(client, limiter.one).missing_accounts({"acme", "new"}) == {"new"}
            assert await client.create_account(await limiter.one(), "new", NewAccount("New Ltd"))
            assert not await client.create_account(await limiter.one(), "new", NewAccount("New Ltd"))
            assert await CatalogueReader(client, limiter.one).missing_accounts({"acme", "new"}) == frozenset()

    asyncio.run(scenario())


def test_a_customer_who_used_a_minted_token_is_seen_as_authenticated() -> None:
    async def scenario() -> None:
        async with setting() as (client, limiter, simulator):
            oauth = method("OAuth2", seed="tests", oauth2_type="AuthorisationCode")
            release = simulator.world.add_connector("Harbour CRM", methods=[oauth])
            made = await client.install(await limiter.one(), "acme", release.id, {"Name": "CRM"})
            minted = await client.mint_sign_in(await limiter.one(), "acme", "jo@example.com")
            waiting = await client.get_account_connector(await limiter.one(), "acme", made.id)
            assert not waiting.is_authenticated
            async with async_http_client(base_url=simulator.base_url) as browser:
                asked = {"id": str(made.id), "token": minted.token, "targetOrigin": "http://127.0.0.1:1/done"}
                page = "/connectorauth/updateaccountconnectoroauth"
                answer = await browser.get(page, params=asked, follow_redirects=False)
                assert answer.headers["location"] == "http://127.0.0.1:1/done"
                assert (await browser.get(page, params=asked)).status_code == 403
            after = await client.get_account_connector(await limiter.one(), "acme", made.id)
            assert after.is_authenticated

    asyncio.run(scenario())


def test_an_account_or_account_connector_that_is_not_there_is_not_found() -> None:
    async def scenario() -> None:
        async with setting() as (client, limiter, _):
            with pytest.raises(NotFound):
                await client.mint_sign_in(await limiter.one(), "nobody", "jo@example.com")
            with pytest.raises(NotFound):
                await client.get_account_connector(await limiter.one(), "acme", 999)

    asyncio.run(scenario())
