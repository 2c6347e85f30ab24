"""What intake asks, through all that passes."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.integration.cyclr.clients import (
    FreePermit,
    NotingLimits,
    next_permit,
    open_client,
    page_of,
    paged,
    with_token,
)
from tests.raw_server import Handler, RawRequest, RawServer, Reply, answer, in_turn, reset
from worker.cyclr.catalogue import (
    CatalogueReader,
    DoubtedVersion,
)
from worker.cyclr.client import CyclrClient, Patience
from worker.cyclr.errors import (
    CredentialsRefused,
    GateClosed,
    LimiterAway,
    NotFound,
    NotStarted,
    OutcomeUnknown,
    Refused,
    SlotMissed,
    Throttled,
)
from worker.domain.accounts import ListedAccount
from worker.domain.connectors import Connector, ConnectorRef

T = TypeVar("T")


async def _at_once(seconds: float) -> None:
    await asyncio.sleep(0)


SOON = Patience(sleep=_at_once)


def ask(handler: Handler, question: Callable[[CyclrClient], Awaitable[T]], token: Reply | None = None) -> T:
    async def scenario() -> T:
        async with RawServer(with_token(handler, token)) as server, open_client(server.url) as client:
            return await question(client)

    return asyncio.run(scenario())


def connector(
    release_id: int, name: str, version: str | None = None, status: str = "Approved"
) -> dict[str, Any]:
    return {"Id": release_id, "Name": name, "Version": version, "Status": status}


class Catalogue:
    """Serves connectors by id, by name ("contains", as Cyclr may do it) and as a list of pages of two."""

    def __init__(self, *connectors: dict[str, Any], refuses_names: bool = False) -> None:
        self._connectors = connectors
        self._refuses_names = refuses_names

    def __call__(self, request: RawRequest) -> Reply:
        url = urlsplit(request.target)
        if url.path == "/v1.0/connectors":
            query = parse_qs(url.query).get("query", [""])[0]
            return paged(self._named(query), page_of(request), 2, says_total=False)
        asked = unquote(url.path.removeprefix("/v1.0/connectors/"))
        if asked.isdigit():
            found = [c for c in self._connectors if c["Id"] == int(asked)]
            return answer(200, found[0]) if found else answer(404)
        if self._refuses_names:
            return answer(400)
        name, _, version = asked.partition("/")
        return answer(200, [c for c in self._named(name) if not version or c["Version"] == version])

    def _named(self, text: str) -> Sequence[dict[str, Any]]:
        return [c for c in self._connectors if text.casefold() in c["Name"].casefold()]


def resolved(catalogue: Handler, name_or_id: str, version: str | None = None) -> Connector | str:
    ref = ConnectorRef(name_or_id, version)
    return ask(catalogue, lambda client: CatalogueReader(client, next_permit, SOON).resolve("acme", ref))


MAIL = Catalogue(
    connector(1, "Mail", "v1"),
    connector(2, "Mail", "v2"),
    connector(3, "Mail Pro"),
    connector(4, "Draft only", status="Draft"),
    connector(5, "Half", "v1"),
    connector(6, "Half", "v2", status="draft"),
    connector(8, "Twice", "v1"),
    connector(9, "Twice", "v1"),
)


@pytest.mark.parametrize(
    ("name_or_id", "version", "release_id"),
    [
        ("Mail", "v2", 2),
        ("mail", "V1", 1),
        ("2", None, 2),
        ("2", "v2", 2),
        ("Mail Pro", None, 3),
        ("Half", None, 5),
        ("Twice", None, 9),
    ],
)
def test_a_connector_is_found_by_its_exact_name_or_its_id(
    name_or_id: str, version: str | None, release_id: int
) -> None:
    found = resolved(MAIL, name_or_id, version)
    assert isinstance(found, Connector)
    assert found.release_id == release_id


@pytest.mark.parametrize(
    ("name_or_id", "version", "reason"),
    [
        ("Mai", None, "no connector Mai in Cyclr's catalogue: check its name there"),
        ("77", None, "no connector 77 in Cyclr's catalogue: check its name there"),
        ("Mail", None, "connector Mail has several versions: v1, v2; name one in column connector_version"),
        ("Mail", "v9", "connector Mail has no version v9; it has v1, v2"),
        ("Mail Pro", "v1", "connector Mail Pro has no version v1; it has none"),
        ("2", "v1", "connector 2 has no version v1; it has v2"),
        ("Draft only", None, "connector Draft only is a draft, which Cyclr does not install"),
        ("Half", "v2", "connector Half v2 is a draft, which Cyclr does not install"),
    ],
)
def test_why_a_connector_is_none(name_or_id: str, version: str | None, reason: str) -> None:
    assert resolved(MAIL, name_or_id, version) == reason


TWO_NUMBERS = Catalogue(connector(1, "Mail", "1.1"), connector(2, "Mail", "1.10"))
WHICH = (
    "connector Mail has versions that a spreadsheet takes for the same number, 1.1 (id 1), 1.10 (id 2): write the id of one"
    " into the column connector and leave connector_version empty"
)


def test_a_version_that_another_may_have_become_is_doubted_though_cyclr_has_it() -> None:
    found = resolved(TWO_NUMBERS, "Mail", "1.1")
    assert isinstance(found, DoubtedVersion)
    assert found == f"{WHICH}"


def test_a_version_that_no_spreadsheet_has_shortened_is_not_doubted() -> None:
    found = resolved(TWO_NUMBERS, "Mail", "1.10")
    assert isinstance(found, Connector)
    assert found.release_id == 2


def test_a_version_that_would_name_none_as_written_is_not_offered_so() -> None:
    found = resolved(TWO_NUMBERS, "Mail", "1,1")
    assert not isinstance(found, DoubtedVersion)
    assert found == WHICH


def test_a_name_that_no_path_can_carry_is_found_in_the_list() -> None:
    found = resolved(Catalogue(connector(1, "A/B: C*"), connector(2, "A/B"), refuses_names=True), "a/b: c*")
    assert isinstance(found, Connector)
    assert found.release_id == 1


def test_the_whole_catalogue_is_read_each_release_once() -> None:
    async def names(client: CyclrClient) -> list[int]:
        return [
            c.release_id async for c in CatalogueReader(client, next_permit, SOON).iter_connectors("acme")
        ]

    assert ask(MAIL, names) == [1, 2, 3, 4, 5, 6, 8, 9]
    repeating = answer(200, [connector(1, "Mail"), connector(2, "Forms")])
    assert ask(in_turn(repeating), names) == [1, 2]


def test_the_first_account() -> None:
    assert (
        ask(
            in_turn(answer(200, [{"Id": "a"}, {"Id": "b"}])),
            lambda c: CatalogueReader(c, next_permit).first_account(),
        )
        == "a"
    )
    assert ask(in_turn(answer(200, [])), lambda c: CatalogueReader(c, next_permit).first_account()) is None


def test_accounts_are_listed_each_once_over_all_pages_with_what_cyclr_says_of_them() -> None:
    page_1 = answer(200, [{"Id": "a", "Name": "Acme"}, {"Id": "b"}], Total_Pages="2")
    page_2 = answer(200, [{"Id": "b"}, {"Id": "c", "Name": None, "ParentAccountId": "a"}], Total_Pages="2")

    async def read(client: CyclrClient) -> list[ListedAccount]:
        return [account async for account in CatalogueReader(client, next_permit).iter_accounts()]

    assert ask(in_turn(page_1, page_2), read) == [
        ListedAccount("a", "Acme"),
        ListedAccount("b", ""),
        ListedAccount("c", "", "a"),
    ]


def test_sub_accounts_are_asked_of_their_parent_and_one_that_is_gone_has_none() -> None:
    targets: list[str] = []

    def handle(request: RawRequest) -> Reply:
        targets.append(request.target)
        gone = request.target.startswith("/v1.0/accounts/gone/")
        return answer(404) if gone else answer(200, [{"Id": "a-uk", "Name": "Acme UK"}])

    async def read(client: CyclrClient) -> list[ListedAccount]:
        reader = CatalogueReader(client, next_permit)
        parents = [ListedAccount("a/b", "Acme"), ListedAccount("gone", "Gone")]
        return [sub for parent in parents async for sub in reader.iter_sub_accounts(parent)]

    assert ask(handle, read) == [ListedAccount("a-uk", "Acme UK", "a/b")]
    assert targets == [
        "/v1.0/accounts/a%2Fb/subaccounts?page=1&pageSize=1000&sortOrderAsc=true",
        "/v1.0/accounts/a%2Fb/subaccounts?page=2&pageSize=1000&sortOrderAsc=true",
        "/v1.0/accounts/gone/subaccounts?page=1&pageSize=1000&sortOrderAsc=true",
    ]


def test_a_list_of_accounts_without_an_end_is_not_taken_for_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.cyclr.catalogue.MAX_PAGES", 2)

    def handle(request: RawRequest) -> Reply:
        return answer(200, [{"Id": f"a-{page_of(request)}"}])

    async def read(client: CyclrClient) -> list[ListedAccount]:
        return [account async for account in CatalogueReader(client, next_permit).iter_accounts()]

    with pytest.raises(OutcomeUnknown, match="the list of accounts has no end"):
        ask(handle, read)


class Accounts:
    """Lists `listed` in pages of two; knows `unlisted` (sub-accounts) by id only."""

    def __init__(
        self, listed: Sequence[str], unlisted: Sequence[str] = (), *, says_total: bool = True
    ) -> None:
        self._listed = [{"Id": id_} for id_ in listed]
        self._known = {*listed, *unlisted}
        self._says_total = says_total
        self.targets: list[str] = []

    def __call__(self, request: RawRequest) -> Reply:
        self.targets.append(request.target)
        if request.target.startswith("/v1.0/accounts?"):
            return paged(self._listed, page_of(request), 2, says_total=self._says_total)
        account_id = unquote(request.target.removeprefix("/v1.0/accounts/"))
        if account_id == "unreadable":
            return answer(400)
        return answer(200, {"Id": account_id}) if account_id in self._known else answer(404)


@pytest.mark.parametrize("says_total", [True, False])
def test_accounts_that_are_missing_are_missing_by_id_too(says_total: bool) -> None:
    accounts = Accounts(["a", "b", "c", "d", "e"], ["sub"], says_total=says_total)
    wanted = {"a", "e", "sub", "nobody", "unreadable"}
    seen: list[tuple[int, int | None]] = []

    def on_page(page: int, total_pages: int | None) -> None:
        seen.append((page, total_pages))

    missing = ask(accounts, lambda c: CatalogueReader(c, next_permit, SOON).missing_accounts(wanted, on_page))
    assert missing == {"nobody", "unreadable"}
    assert seen == ([(1, 3), (2, 3), (3, 3)] if says_total else [(1, None), (2, None), (3, None), (4, None)])
    assert {t for t in accounts.targets if "?" not in t} == {
        "/v1.0/accounts/sub",
        "/v1.0/accounts/nobody",
        "/v1.0/accounts/unreadable",
    }


def test_reading_accounts_stops_when_all_are_found() -> None:
    accounts = Accounts(["a", "b", "c", "d"])
    assert (
        ask(accounts, lambda c: CatalogueReader(c, next_permit).missing_accounts({"a", "b"})) == frozenset()
    )
    assert len(accounts.targets) == 1


def test_many_accounts_are_asked_for_by_id() -> None:
    wanted = {f"sub-{n}" for n in range(70)} | {"nobody"}
    accounts = Accounts([], [f"sub-{n}" for n in range(70)])
    assert ask(accounts, lambda c: CatalogueReader(c, next_permit).missing_accounts(wanted)) == {"nobody"}


def test_an_error_while_accounts_are_asked_for_ends_the_asking() -> None:
    def handle(request: RawRequest) -> Reply:
        return answer(200, []) if "?" in request.target else answer(403)

    with pytest.raises(Refused):
        ask(handle, lambda c: CatalogueReader(c, next_permit).missing_accounts({str(n) for n in range(50)}))


PAGE = answer(200, [{"Id": "a"}])


def test_a_reading_goes_on_through_what_passes() -> None:
    handler = in_turn(
        reset,
        answer(500),
        answer(429),
        answer(503, Retry_After="1"),
        answer(429),
        answer(200, b"<html>"),
        PAGE,
    )
    assert ask(handler, lambda c: CatalogueReader(c, next_permit, SOON).first_account()) == "a"


def test_a_reading_that_goes_on_failing_ends_with_the_last_error() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    patience = dataclasses.replace(SOON, sleep=sleep)
    with pytest.raises(OutcomeUnknown):
        ask(in_turn(answer(500)), lambda c: CatalogueReader(c, next_permit, patience).first_account())
    assert slept == [1.0, 2.0, 4.0, 8.0]


def test_a_reading_that_is_throttled_for_ever_ends() -> None:
    with pytest.raises(Throttled):
        ask(in_turn(answer(429)), lambda c: CatalogueReader(c, next_permit, SOON).first_account())


def _refusing(refusals: list[NotStarted]) -> Callable[[], Awaitable[FreePermit]]:
    async def permit() -> FreePermit:
        return FreePermit(refusals.pop(0) if refusals else None)

    return permit


def test_a_reading_waits_for_the_gate_and_the_limiter() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    permits = _refusing([SlotMissed(), GateClosed(30.0), LimiterAway()])
    patience = dataclasses.replace(SOON, sleep=sleep)
    assert ask(in_turn(PAGE), lambda c: CatalogueReader(c, permits, patience).first_account()) == "a"
    assert slept == [0.0, 30.0, 0.5]


def test_a_limiter_that_stays_away_ends_a_reading() -> None:
    permits = _refusing([LimiterAway() for _ in range(1_000)])
    with pytest.raises(LimiterAway):
        ask(in_turn(PAGE), lambda c: CatalogueReader(c, permits, SOON).first_account())


def _revoking(revoked: int) -> Handler:
    """Refuses the first `revoked` tokens that it gives out."""
    given = 0

    def handle(request: RawRequest) -> Reply:
        nonlocal given
        if request.target == "/oauth/token":
            given += 1
            return answer(200, {"access_token": f"t{given}", "expires_in": 1000})
        if int(request.headers["authorization"].removeprefix("Bearer t")) <= revoked:
            return answer(401)
        if request.target.startswith("/v1.0/connectors"):
            return answer(200, [connector(1, "Mail")])
        return PAGE if "?" in request.target else answer(200, {"Id": "acme"})

    return handle


def _ask_raw(handler: Handler, question: Callable[[CyclrClient], Awaitable[T]]) -> T:
    async def scenario() -> T:
        async with RawServer(handler) as server, open_client(server.url, NotingLimits()) as client:
            return await question(client)

    return asyncio.run(scenario())


def test_a_reading_goes_on_with_a_new_token() -> None:
    mail = ConnectorRef("Mail")
    assert _ask_raw(_revoking(1), lambda c: CatalogueReader(c, next_permit, SOON).first_account()) == "a"
    found = _ask_raw(_revoking(1), lambda c: CatalogueReader(c, next_permit, SOON).resolve("acme", mail))
    assert isinstance(found, Connector)


@pytest.mark.parametrize("question", ["first_account", "resolve"])
def test_tokens_that_are_always_refused_mean_the_credentials(question: str) -> None:
    async def asked(client: CyclrClient) -> object:
        if question == "first_account":
            return await CatalogueReader(client, next_permit, SOON).first_account()
        return await CatalogueReader(client, next_permit, SOON).resolve("acme", ConnectorRef("Mail"))

    with pytest.raises(CredentialsRefused):
        _ask_raw(_revoking(1_000), asked)


@pytest.mark.parametrize(
    ("account", "kind"), [(answer(404), NotFound), (answer(200, {"Id": "acme"}), Refused)]
)
def test_an_account_that_is_refused_is_told_from_one_that_is_not_there(account: Reply, kind: type) -> None:
    def handle(request: RawRequest) -> Reply:
        return account if request.target == "/v1.0/accounts/acme" else answer(401)

    with pytest.raises(kind):
        resolved(handle, "Mail")
