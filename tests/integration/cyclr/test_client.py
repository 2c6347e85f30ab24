"""Calls over a real socket: what is sent, and what every ending means."""

import asyncio
import json
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

from tests.integration.cyclr.clients import (
    CLIENT_SECRET,
    TOKEN,
    FreePermit,
    NotingLimits,
    open_client,
    with_token,
)
from tests.raw_server import RawRequest, RawServer, Reply, answer, close, cut, hang, in_turn, raw, reset
from worker.cyclr import shapes
from worker.cyclr.client import Blame, CyclrClient
from worker.cyclr.errors import (
    Busy,
    CredentialsRefused,
    CyclrError,
    GateClosed,
    LimiterAway,
    NameInUse,
    NeverSent,
    NotFound,
    OutcomeUnknown,
    Redirected,
    Refused,
    SlotMissed,
    Throttled,
    Unauthorised,
)
from worker.domain.accounts import ListedAccount
from worker.domain.connectors import AccountConnector, ConnectorRef, InstalledProperty
from worker.domain.rows import NewAccount

AUTH_VALUE = "k3y-that-must-not-show"
PROPERTY = "pr0perty-that-must-not-show"
BODY = {"Name": "Mail", "AuthValue": AUTH_VALUE, "Properties": [{"Name": "Domain", "Value": PROPERTY}]}
INSTALLED = {
    "Id": 9,
    "Name": "Mail",
    "AuthValue": AUTH_VALUE,
    "Authenticated": True,
    "Connector": {"Id": 7, "Name": "MailChimp", "Icon": "data:image/png;base64,AAAA"},
    "Properties": [{"Name": "Domain", "Value": PROPERTY}],
}


async def install(client: CyclrClient, permit: FreePermit | None = None) -> AccountConnector:
    return await client.install(permit or FreePermit(), "acme", 7, BODY)


def error_of_install(
    reply: Reply, limits: NotingLimits | None = None, *, timeout_s: float = 5.0, token: Reply | None = None
) -> CyclrError:
    async def scenario() -> CyclrError:
        async with (
            RawServer(with_token(in_turn(reply), token)) as server,
            open_client(server.url, limits, timeout_s=timeout_s) as client,
        ):
            with pytest.raises(CyclrError) as raised:
                await install(client)
            assert len(server.called("/v1.0/connectors/7/install")) == (0 if token else 1)
            return raised.value

    return asyncio.run(scenario())


def test_an_install_is_sent_as_the_reference_says_and_gives_what_was_made() -> None:
    async def scenario() -> None:
        limits = NotingLimits()
        async with (
            RawServer(with_token(in_turn(answer(200, INSTALLED)))) as server,
            open_client(server.url, limits) as client,
        ):
            permit = FreePermit()
            made = await install(client, permit)
            assert (made.id, made.name, made.connector_name) == (9, "Mail", "MailChimp")
            token, call = server.requests
            assert (token.method, token.target) == ("POST", "/oauth/token")
            assert parse_qs(token.body.decode()) == {
                "grant_type": ["client_credentials"],
                "client_id": ["the-client-id"],
                "client_secret": [CLIENT_SECRET],
            }
            assert token.headers["content-type"] == "application/x-www-form-urlencoded"
            assert (call.method, call.target) == ("POST", "/v1.0/connectors/7/install")
            assert call.headers["authorization"] == f"Bearer {TOKEN}"
            assert call.headers["x-cyclr-account"] == "acme"
            assert call.headers["content-type"] == "application/json"
            assert json.loads(call.body) == BODY
            assert permit.times_asked == 1
            assert [p.times_asked for p in limits.permits] == [1]
            assert limits.noted == ["success", "success"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("reply", "kind", "noted"),
    [
        (reset, OutcomeUnknown, ("failure", "acme")),
        (close, OutcomeUnknown, ("failure", "acme")),
        (cut(200, INSTALLED), OutcomeUnknown, ("failure", "acme")),
        (raw(b"\x00\x01\x02\r\n\r\n"), OutcomeUnknown, ("failure", "acme")),
        (answer(200, b"not gzip", Content_Encoding="gzip"), OutcomeUnknown, ("failure", "acme")),
        (answer(200, b"<html>"), OutcomeUnknown, "success"),
        (answer(200, {}), OutcomeUnknown, "success"),
        (answer(200, INSTALLED | {"Id": "9"}), OutcomeUnknown, "success"),
        (answer(200, INSTALLED | {"Name": "Other"}), OutcomeUnknown, "success"),
        (answer(201, INSTALLED), OutcomeUnknown, "success"),
        (answer(302, Location="/login"), Redirected, "success"),
        (answer(400, {"Message": "Connector 7 is a draft and cannot be installed."}), Refused, "success"),
        (answer(400, {"Message": "Account connector name 'Mail' is in use."}), NameInUse, "success"),
        (answer(401), Unauthorised, "success"),
        (answer(403), Refused, "success"),
        (answer(404), NotFound, "success"),
        (answer(408), OutcomeUnknown, "success"),
        (answer(409), OutcomeUnknown, "success"),
        (answer(429), Throttled, ("throttled", None)),
        (answer(429, Retry_After="7"), Throttled, ("throttled", 7.0)),
        (answer(500), OutcomeUnknown, ("failure", "acme")),
        (answer(502, b"<html>Bad Gateway"), OutcomeUnknown, ("failure", "acme")),
        (answer(503), OutcomeUnknown, ("failure", "acme")),
        (answer(503, Retry_After="9"), Busy, ("throttled", 9.0)),
    ],
)
def test_each_ending_of_an_install_is_one_error_and_one_report(reply, kind, noted) -> None:
    limits = NotingLimits()
    assert type(error_of_install(reply, limits)) is kind
    assert limits.noted == ["success", noted]


def test_the_same_name_in_another_spelling_is_ours() -> None:
    async def scenario() -> None:
        async with (
            RawServer(with_token(in_turn(answer(200, INSTALLED | {"Name": " MAIL "})))) as server,
            open_client(server.url) as client,
        ):
            assert (await install(client)).id == 9

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "reply",
    [hang, raw(b"HTTP/1.1 200 OK\r\nContent-Le"), raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")],
)
def test_silence_ends_at_the_deadline_wherever_it_begins(reply) -> None:
    error = error_of_install(reply, timeout_s=0.3)
    assert isinstance(error, OutcomeUnknown)
    assert error.reason == "no answer within 0.3 s"


def test_an_answer_without_end_is_not_read_whole() -> None:
    error = error_of_install(answer(200, b"x" * (5 * 1024 * 1024)))
    assert isinstance(error, OutcomeUnknown)
    assert error.reason == "the answer cannot be read: it is larger than 4 MB"


def test_a_refused_connection_is_never_sent() -> None:
    async def scenario() -> None:
        limits = NotingLimits()
        async with RawServer(in_turn(hang)) as server:
            url = server.url
        async with open_client(url, limits) as client:
            for _ in range(2):
                with pytest.raises(NeverSent):
                    await install(client)
        # Each counts as an account of its own, or no token would never count as an outage.
        assert limits.noted == [("failure", "token call 1"), ("failure", "token call 2")]

    asyncio.run(scenario())


@pytest.mark.parametrize("refusal", [SlotMissed(), GateClosed(3.0), LimiterAway()])
def test_nothing_is_sent_without_a_permit(refusal) -> None:
    async def scenario() -> None:
        limits = NotingLimits()
        async with RawServer(with_token(in_turn(hang))) as server, open_client(server.url, limits) as client:
            with pytest.raises(type(refusal)):
                await install(client, FreePermit(refusal))
            assert [r.target for r in server.requests] == ["/oauth/token"]
            assert limits.noted == ["success"]

    asyncio.run(scenario())


def test_the_permit_is_asked_after_the_token_is_there() -> None:
    class Witness(FreePermit):
        async def ready(self) -> None:
            seen.extend(r.target for r in server.requests)

    seen: list[str] = []

    async def scenario() -> None:
        nonlocal server
        async with server, open_client(server.url) as client:
            await install(client, Witness())

    server = RawServer(with_token(in_turn(answer(200, INSTALLED))))
    asyncio.run(scenario())
    assert seen == ["/oauth/token"]


def test_a_limiter_that_is_away_does_not_hide_what_became_of_a_call() -> None:
    async def scenario() -> None:
        limits = NotingLimits(away=LimiterAway())
        async with (
            RawServer(with_token(in_turn(answer(200, INSTALLED), answer(500), answer(429)))) as server,
            open_client(server.url, limits) as client,
        ):
            assert (await install(client)).id == 9
            with pytest.raises(OutcomeUnknown):
                await install(client)
            with pytest.raises(Throttled):
                await install(client)

    asyncio.run(scenario())


def test_a_call_that_is_cancelled_ends_as_cancelled_and_its_connection_is_not_used_again() -> None:
    async def scenario() -> None:
        async with (
            RawServer(with_token(in_turn(hang, answer(200, INSTALLED)))) as server,
            open_client(server.url) as client,
        ):
            call = asyncio.create_task(install(client))
            while len(server.requests) < 2:
                await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert (await install(client)).id == 9
            assert server.requests[2].connection != server.requests[1].connection

    asyncio.run(scenario())


def test_no_secret_is_in_an_error_a_traceback_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echoes = [
        answer(status, body)
        for status in (200, 201, 400, 403, 404, 409, 500)
        for body in (
            INSTALLED | {"Name": "Other"},
            {"Message": f"bad {AUTH_VALUE} and {PROPERTY} and {TOKEN[:0]}"},
            f"<title>bad {AUTH_VALUE}</title>".encode(),
            f"plain {AUTH_VALUE} and {PROPERTY}".encode(),
        )
    ]
    for reply in [*echoes, reset, close, cut(200, INSTALLED), raw(AUTH_VALUE.encode() + b"\r\n\r\n")]:
        error = error_of_install(reply)
        shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
        linked: BaseException | None = error
        while linked is not None:
            assert not hasattr(linked, "request")
            linked = linked.__cause__ or linked.__context__
        for secret in (AUTH_VALUE, PROPERTY, TOKEN, CLIENT_SECRET):
            assert secret not in shown
            assert secret not in caplog.text


def test_what_was_made_shows_no_secret() -> None:
    async def scenario() -> str:
        async with (
            RawServer(with_token(in_turn(answer(200, INSTALLED)))) as server,
            open_client(server.url) as client,
        ):
            return repr(await install(client))

    assert asyncio.run(scenario()) == "AccountConnector(id=9)"


@pytest.mark.parametrize(
    ("token", "kind", "status"),
    [
        (answer(400, {"error": "invalid_client"}), CredentialsRefused, 400),
        (answer(401), CredentialsRefused, 401),
        (answer(403), CredentialsRefused, 403),
        (answer(404), CredentialsRefused, 404),
        (answer(301, Location="https://elsewhere/"), Redirected, 301),
        (answer(429, Retry_After="5"), Throttled, 429),
        (answer(503, Retry_After="5"), Throttled, 503),
        (answer(500), NeverSent, None),
        (answer(408), NeverSent, None),
        (answer(200, b"<html>"), NeverSent, None),
        (answer(200, {"token_type": "bearer"}), NeverSent, None),
        (reset, NeverSent, None),
        (cut(200, {"access_token": TOKEN}), NeverSent, None),
    ],
)
def test_without_a_token_the_call_was_never_sent(token, kind, status) -> None:
    error = error_of_install(hang, token=token)
    assert type(error) is kind
    assert error.status == status


def test_a_hundred_calls_at_once_fetch_one_token() -> None:
    async def scenario() -> None:
        limits = NotingLimits()
        async with (
            RawServer(with_token(in_turn(answer(200, INSTALLED)))) as server,
            open_client(server.url, limits) as client,
        ):
            await asyncio.gather(*(install(client) for _ in range(100)))
            assert len(server.called("/oauth/token")) == 1
            assert len(server.requests) == 101
            assert len(limits.permits) == 1

    asyncio.run(scenario())


def _by_token(good: str, account: Reply) -> Any:
    """Gives out first "t1", then "t2" ...; a call with another token than `good` is a 401."""
    count = 0

    def handle(request: RawRequest) -> Reply:
        nonlocal count
        if request.target == "/oauth/token":
            count += 1
            return answer(200, {"access_token": f"t{count}", "expires_in": 1000})
        if request.headers["authorization"] != f"Bearer {good}":
            return answer(401)
        return account if request.target.startswith("/v1.0/accounts/") else answer(401)

    return handle


@pytest.mark.parametrize(
    ("good", "account", "blame", "tokens"),
    [
        ("t1", answer(404), Blame.ACCOUNT_UNKNOWN, 1),
        ("t1", answer(200, {"Id": "acme"}), Blame.ACCOUNT_REFUSED, 1),
        ("t2", answer(200, {"Id": "acme"}), Blame.TOKEN, 2),
    ],
)
def test_what_a_401_was_about(good: str, account: Reply, blame: Blame, tokens: int) -> None:
    async def scenario() -> None:
        async with RawServer(_by_token(good, account)) as server, open_client(server.url) as client:
            with pytest.raises(Unauthorised) as raised:
                await install(client)
            assert await client.blame(FreePermit(), "acme", raised.value) is blame
            assert len(server.called("/oauth/token")) == tokens

    asyncio.run(scenario())


def test_a_401_with_a_token_that_was_replaced_meanwhile_needs_no_call() -> None:
    async def scenario() -> None:
        async with RawServer(_by_token("t2", answer(404))) as server, open_client(server.url) as client:
            with pytest.raises(Unauthorised) as raised:
                await install(client)
            await client.renew_token(raised.value.token_id)
            calls = len(server.requests)
            assert await client.blame(FreePermit(), "acme", raised.value) is Blame.TOKEN
            assert len(server.requests) == calls

    asyncio.run(scenario())


def test_accounts_are_created_found_and_listed() -> None:
    def handle(request: RawRequest) -> Reply:
        if request.method == "POST":
            taken = json.loads(request.body)["Id"] == "taken"
            return answer(400, {"Message": "ID already in use"}) if taken else answer(200, {"Id": "acme"})
        if request.target.startswith("/v1.0/accounts?"):
            return answer(200, [{"Id": "acme", "Name": "Acme Ltd"}, {"Id": "taken"}], Total_Pages="3")
        return answer(200, {"Id": "acme"}) if request.target == "/v1.0/accounts/acme" else answer(404)

    async def scenario() -> None:
        async with RawServer(with_token(handle)) as server, open_client(server.url) as client:
            new = NewAccount("Acme Ltd", "A customer", "Europe/London")
            assert await client.create_account(FreePermit(), "acme", new)
            assert json.loads(server.requests[1].body) == {
                "Id": "acme",
                "Name": "Acme Ltd",
                "Description": "A customer",
                "Timezone": "Europe/London",
            }
            assert not await client.create_account(FreePermit(), "taken", NewAccount("Taken"))
            with pytest.raises(OutcomeUnknown):
                await client.create_account(FreePermit(), "other", NewAccount("Other"))
            assert await client.find_account(FreePermit(), "acme")
            assert not await client.find_account(FreePermit(), "nobody")
            page = await client.list_accounts(FreePermit(), 2)
            assert page.items == (ListedAccount("acme", "Acme Ltd"), ListedAccount("taken", ""))
            assert page.total_pages == 3
            assert server.requests[-1].target == "/v1.0/accounts?page=2&pageSize=1000&sortOrderAsc=true"

    asyncio.run(scenario())


def test_the_catalogue_is_asked_by_id_name_version_and_query() -> None:
    mail = {"Id": 7, "Name": "Mail"}

    def handle(request: RawRequest) -> Reply:
        if request.target == "/v1.0/connectors/7":
            return answer(200, mail)
        return answer(404) if request.target == "/v1.0/connectors/8" else answer(200, [mail])

    async def scenario() -> None:
        async with RawServer(with_token(handle)) as server, open_client(server.url) as client:
            for ref in (ConnectorRef("7"), ConnectorRef("Access CRM"), ConnectorRef("Access CRM", "v3")):
                (found,) = await client.get_connectors(FreePermit(), "acme", ref)
                assert found.release_id == 7
            assert await client.get_connectors(FreePermit(), "acme", ConnectorRef("8")) == ()
            page = await client.list_connectors(FreePermit(), "acme", 1, "A & B")
            assert [c.name for c in page.items] == ["Mail"]
            assert [r.target for r in server.requests[1:]] == [
                "/v1.0/connectors/7",
                "/v1.0/connectors/Access%20CRM",
                "/v1.0/connectors/Access%20CRM/v3",
                "/v1.0/connectors/8",
                "/v1.0/connectors?page=1&pageSize=100&orderBy=Name&sortOrderAsc=true&query=A+%26+B",
            ]
            assert {r.headers["x-cyclr-account"] for r in server.requests[1:]} == {"acme"}

    asyncio.run(scenario())


ODD_IDS = [
    "a/b",
    "a%2Fb",
    "%41",
    "a b",
    "a+b",
    "a&b=c",
    "a?b",
    "a#b",
    "a;b",
    "a:b",
    "a\\b",
    "..a",
    "a..",
    "é",
    "日本",
    "~'()*!",
]


def test_an_odd_account_id_arrives_as_it_is_in_the_path() -> None:
    async def scenario() -> None:
        async with (
            RawServer(with_token(in_turn(answer(200, {"Id": "any"})))) as server,
            open_client(server.url) as client,
        ):
            for odd in ODD_IDS:
                await client.find_account(FreePermit(), odd)
                before, segment = server.requests[-1].target.rsplit("/", 1)
                assert before == "/v1.0/accounts"
                assert unquote(segment) == odd

    asyncio.run(scenario())


def test_an_odd_account_id_arrives_in_the_header_as_utf8() -> None:
    async def scenario() -> None:
        async with (
            RawServer(with_token(in_turn(answer(200, [])))) as server,
            open_client(server.url) as client,
        ):
            for odd in ODD_IDS:
                await client.list_account_connectors(FreePermit(), odd, 1)
                sent = server.requests[-1].headers["x-cyclr-account"]
                assert sent.encode("latin-1").decode() == odd

    asyncio.run(scenario())


@pytest.mark.parametrize("bad", ["ac\u00a0me", "ac\u200bme", "..", ""])
def test_no_account_is_created_that_no_later_call_could_name(bad: str) -> None:
    async def scenario() -> None:
        async with RawServer(with_token(in_turn(hang))) as server, open_client(server.url) as client:
            with pytest.raises(Refused) as raised:
                await client.create_account(FreePermit(), bad, NewAccount("Acme"))
            assert raised.value.status is None
            assert server.requests == []

    asyncio.run(scenario())


@pytest.mark.parametrize("bad", ["a\r\nX-Injected: 1", "a\nb", "a\x00b", "", "  ", "a\ud800"])
def test_an_account_id_that_no_header_can_carry_is_refused_unsent(bad: str) -> None:
    async def scenario() -> None:
        async with RawServer(with_token(in_turn(hang))) as server, open_client(server.url) as client:
            with pytest.raises(Refused) as raised:
                await client.install(FreePermit(), bad, 7, BODY)
            assert raised.value.status is None
            assert server.requests == []

    asyncio.run(scenario())


@pytest.mark.parametrize("bad", ["", ".", ".."])
def test_an_id_that_no_path_can_name_is_not_there(bad: str) -> None:
    async def scenario() -> None:
        async with RawServer(with_token(in_turn(hang))) as server, open_client(server.url) as client:
            assert not await client.find_account(FreePermit(), bad)
            assert await client.get_connectors(FreePermit(), "acme", ConnectorRef(bad)) == ()
            assert server.requests == []

    asyncio.run(scenario())


# What is there is changed: each body names what it sets, and nothing else.

SET_SO = {"Name": "Domain", "Value": PROPERTY, "Id": 41, "AccountConnectorId": 9}


def changed(
    reply: Reply, call: Callable[[CyclrClient, FreePermit], Awaitable[object]]
) -> tuple[object, RawRequest]:
    """What a call that changes something ended with, and what it sent."""

    async def scenario() -> tuple[object, RawRequest]:
        async with RawServer(with_token(in_turn(reply))) as server, open_client(server.url) as client:
            try:
                ended: object = await call(client, FreePermit())
            except CyclrError as error:
                ended = error
            return ended, server.requests[-1]

    return asyncio.run(scenario())


def set_credential(client: CyclrClient, permit: FreePermit) -> Awaitable[object]:
    return client.change_account_connector(permit, "acme", 9, {"AuthValue": AUTH_VALUE})


def set_property(client: CyclrClient, permit: FreePermit) -> Awaitable[object]:
    return client.set_property(permit, "acme", 9, 41, "Domain", PROPERTY)


def add_property(client: CyclrClient, permit: FreePermit) -> Awaitable[object]:
    return client.add_property(permit, "acme", 9, "Domain", PROPERTY)


@pytest.mark.parametrize(
    ("call", "answered", "method", "path", "body"),
    [
        (set_credential, INSTALLED, "PUT", "/v1.0/account/connectors/9", {"AuthValue": AUTH_VALUE}),
        (
            set_property,
            SET_SO,
            "PUT",
            "/v1.0/account/connectors/9/properties/41",
            {"Name": "Domain", "Value": PROPERTY},
        ),
        (
            add_property,
            SET_SO,
            "POST",
            "/v1.0/account/connectors/9/properties",
            {"Name": "Domain", "Value": PROPERTY},
        ),
    ],
)
def test_a_change_is_sent_as_the_reference_says(
    call: Any, answered: dict[str, Any], method: str, path: str, body: dict[str, str]
) -> None:
    ended, sent = changed(answer(200, answered), call)
    assert (sent.method, sent.target, sent.headers["x-cyclr-account"]) == (method, path, "acme")
    assert json.loads(sent.body) == body
    assert ended == (
        InstalledProperty("Domain", PROPERTY, 41)
        if answered is SET_SO
        else shapes.account_connector(INSTALLED)
    )


@pytest.mark.parametrize(
    ("call", "answered"),
    [
        (set_credential, {}),
        (set_credential, INSTALLED | {"Id": 8}),
        (set_property, {}),
        (set_property, SET_SO | {"Id": 42}),
        (set_property, SET_SO | {"Name": "Region"}),
        (add_property, SET_SO | {"Id": None}),
        (add_property, SET_SO | {"Name": "Region"}),
    ],
)
def test_a_200_about_another_thing_proves_no_change(call: Any, answered: dict[str, Any]) -> None:
    ended, _ = changed(answer(200, answered), call)
    assert isinstance(ended, OutcomeUnknown)


@pytest.mark.parametrize("call", [set_credential, set_property, add_property])
def test_no_secret_is_in_the_words_of_a_change_that_is_refused(call: Any) -> None:
    ended, _ = changed(answer(400, {"Message": f"Not {AUTH_VALUE}, nor {PROPERTY}."}), call)
    assert isinstance(ended, Refused)
    sent = AUTH_VALUE if call is set_credential else PROPERTY
    assert sent not in str(ended)
