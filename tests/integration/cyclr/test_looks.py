"""When "absent" may be said: each account is a list of entries that a stub serves in pages of two."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from tests.integration.cyclr.clients import FreePermit, next_permit, open_client, page_of, paged, with_token
from tests.raw_server import RawRequest, RawServer, Reply, answer, reset
from worker.cyclr.errors import CyclrError, OutcomeUnknown, SlotMissed
from worker.cyclr.looks import Elsewhere, Finding, look

Entry = tuple[int, str, str]  # id, Name, the connector's name

OTHERS: list[Entry] = [(1, "Sales", "CRM"), (2, "Forms", "Forms"), (3, "Files", "Drive"), (4, "Chat", "Chat")]
OURS: Entry = (5, "Mail", "MailChimp")


def as_json(entries: Sequence[Entry]) -> list[dict[str, object]]:
    return [{"Id": id_, "Name": name, "Connector": {"Id": 70 + id_, "Name": c}} for id_, name, c in entries]


class Account:
    """`list_at(n)`: what the account holds when the nth page is read, from 0."""

    def __init__(self, list_at: Callable[[int], Sequence[Entry]], *, says_total: bool = True) -> None:
        self._list_at = list_at
        self._says_total = says_total
        self.pages: list[int] = []

    def __call__(self, request: RawRequest) -> Reply:
        entries = as_json(self._list_at(len(self.pages)))
        self.pages.append(page_of(request))
        return paged(entries, self.pages[-1], 2, says_total=self._says_total)


def look_at(
    account: Callable[[RawRequest], Reply],
    name: str = "Mail",
    connector: str = "MailChimp",
    *,
    is_strict: bool = True,
) -> Finding:
    async def scenario() -> Finding:
        async with RawServer(with_token(account)) as server, open_client(server.url) as client:
            return await look(
                client, next_permit, "acme", name=name, connector_name=connector, is_strict=is_strict
            )

    return asyncio.run(scenario())


def test_one_answer_that_holds_the_whole_list_proves_absence() -> None:
    account = Account(lambda n: OTHERS[:2])
    assert look_at(account) == Finding(highest_id=2)
    assert account.pages == [1]


def test_the_highest_id_is_that_of_all_pages() -> None:
    entries = [(9, "Sales", "CRM"), (2, "Forms", "Forms"), (31, "Files", "Drive"), (4, "Chat", "Chat")]
    assert look_at(Account(lambda n: entries)) == Finding(highest_id=31)
    assert look_at(Account(lambda n: [])) == Finding(highest_id=0)


def test_an_empty_account_proves_absence_without_a_total_too() -> None:
    account = Account(lambda n: [], says_total=False)
    assert look_at(account).found is None
    assert account.pages == [1]


def test_several_pages_prove_absence_when_they_read_the_same_twice() -> None:
    account = Account(lambda n: OTHERS)
    assert look_at(account).found is None
    assert account.pages == [1, 2, 1, 2]


def test_without_a_total_a_short_page_is_not_the_last() -> None:
    account = Account(lambda n: [*OTHERS, OURS], says_total=False)
    found = look_at(account).found
    assert found is not None
    assert found.id == 5
    assert account.pages == [1, 2, 3, 4]  # to the end: another one may match


def test_without_a_total_it_reads_on_until_a_page_brings_nothing_new() -> None:
    account = Account(lambda n: OTHERS[:3], says_total=False)
    assert look_at(account).found is None
    assert account.pages == [1, 2, 3, 1, 2, 3]


def test_a_server_that_repeats_its_last_page_is_read_to_an_end() -> None:
    pages: list[int] = []

    def account(request: RawRequest) -> Reply:
        pages.append(page_of(request))
        return answer(200, as_json(OTHERS[:2]))

    assert look_at(account).found is None
    assert pages == [1, 2, 1, 2]


def test_an_entry_that_slips_between_two_pages_is_found_by_the_next_reading() -> None:
    # The first entry goes after the first page was read, so ours moves from the second page to the first.
    before, after = [*OTHERS[:2], OURS, OTHERS[2]], [OTHERS[1], OURS, OTHERS[2]]
    account = Account(lambda n: before if n == 0 else after)
    found = look_at(account).found
    assert found is not None
    assert found.id == 5
    assert account.pages == [1, 2, 1, 2]


def test_a_list_that_moves_alike_in_two_readings_proves_nothing() -> None:
    # Between two pages the list moves on by a page, twice: both readings show the same two entries, on both pages.
    others, ours = OTHERS[:2], [OURS, OTHERS[2]]
    account = Account(lambda n: [*ours, *others] if n in (1, 3) else [*others, *ours])
    found = look_at(account).found
    assert found is not None
    assert found.id == 5
    assert account.pages == [1, 2, 1, 2, 1, 2]


@pytest.mark.parametrize("says_total", [True, False])
def test_an_entry_on_two_pages_tells_that_the_list_has_moved(*, says_total: bool) -> None:
    # Each reading shows 1, 2, 2, 3: what was between may be ours.
    moved, still = [OTHERS[0], OTHERS[1], OTHERS[1], OTHERS[2]], [*OTHERS[:2], OURS, OTHERS[2]]
    account = Account(lambda n: moved if len(account.pages) < 5 else still, says_total=says_total)
    found = look_at(account).found
    assert found is not None
    assert found.id == 5


def test_a_list_that_never_stands_still_proves_nothing() -> None:
    account = Account(lambda n: [(100 + n, "New", "CRM"), *OTHERS])
    with pytest.raises(OutcomeUnknown) as raised:
        look_at(account)
    assert raised.value.reason == "the account's connectors changed during each of 6 readings"


def test_a_presence_counts_after_one_reading_to_the_end() -> None:
    account = Account(lambda n: [OURS, *OTHERS])
    found = look_at(account).found
    assert found is not None
    assert found.id == 5
    assert account.pages == [1, 2, 3]


def test_where_nothing_was_sent_one_reading_is_enough() -> None:
    account = Account(lambda n: OTHERS)
    # Something may have moved between its two pages: of that nothing is proven to be new.
    assert look_at(account, is_strict=False) == Finding(highest_id=None)
    assert account.pages == [1, 2]


@pytest.mark.parametrize("name", ["mail", " MAIL ", "ｍａｉｌ"])
def test_names_are_compared_as_targets_are(name: str) -> None:
    found = look_at(Account(lambda n: [(5, name, "MAILCHIMP")])).found
    assert found is not None
    assert found.id == 5


def test_the_name_on_another_connector_is_found_as_that() -> None:
    seen = look_at(Account(lambda n: [(5, "Mail", "Postmark")]))
    assert seen == Finding(taken_by="Postmark", highest_id=5)


def test_of_two_with_the_name_the_one_of_the_connector_is_given() -> None:
    found = look_at(Account(lambda n: [(5, "Mail", "Postmark"), *OTHERS, (6, "mail", "MailChimp")])).found
    assert found is not None
    assert found.id == 6


def test_the_same_connector_under_other_names_is_told() -> None:
    seen = look_at(Account(lambda n: [(5, "Mail EU", "MailChimp"), (6, "Mail US", "mailchimp")]))
    elsewhere = (Elsewhere("Mail EU", 5), Elsewhere("Mail US", 6))
    assert seen == Finding(elsewhere=elsewhere, highest_id=6)


@pytest.mark.parametrize("is_strict", [True, False])
def test_two_that_match_are_told_though_they_stand_on_two_pages(*, is_strict: bool) -> None:
    account = Account(lambda n: [(5, "mail", "MailChimp"), *OTHERS, (6, "MAIL", "MailChimp")])
    assert look_at(account, is_strict=is_strict) == Finding(is_ambiguous=True)
    two_exact: list[Entry] = [(5, "Mail", "MailChimp"), (6, "Mail", "MailChimp")]
    assert look_at(Account(lambda n: two_exact), is_strict=is_strict).is_ambiguous


def test_an_exact_name_goes_before_one_in_another_spelling() -> None:
    found = look_at(Account(lambda n: [(5, "mail", "MailChimp"), *OTHERS, (6, "Mail", "MailChimp")])).found
    assert found is not None
    assert found.id == 6


@pytest.mark.parametrize(
    "reply",
    [
        reset,
        answer(200, b"[]", Content_Length="5"),
        answer(200, {"Items": []}),
        answer(200, [{"Id": 1}]),
        answer(200, [{"Id": 1, "name": "Mail", "connector": {"name": "MailChimp"}}]),
        answer(200, b"<html>"),
        answer(404),
        answer(500),
    ],
)
def test_an_answer_that_cannot_be_read_is_no_absence(reply) -> None:
    with pytest.raises(CyclrError):
        look_at(lambda request: reply)


def test_each_page_takes_a_permit_of_its_own() -> None:
    permits: list[FreePermit] = []

    async def counted() -> FreePermit:
        # The third one is missed: the look ends there and says nothing.
        permits.append(FreePermit(SlotMissed() if len(permits) == 2 else None))
        return permits[-1]

    account = Account(lambda n: OTHERS)

    async def scenario() -> None:
        async with RawServer(with_token(account)) as server, open_client(server.url) as client:
            with pytest.raises(SlotMissed):
                await look(client, counted, "acme", name="Mail", connector_name="MailChimp", is_strict=True)

    asyncio.run(scenario())
    assert [permit.times_asked for permit in permits] == [1, 1, 1]
    assert account.pages == [1, 2]


@pytest.mark.parametrize("totals", [("3", "1"), ("3", "2"), (None, "2")])
def test_a_list_that_says_of_itself_how_long_it_is_in_two_ways_proves_nothing(
    totals: tuple[str | None, str],
) -> None:
    def account(request: RawRequest) -> Reply:
        page = page_of(request)
        total = totals[0] if page == 1 else totals[1]
        entries = as_json([OTHERS[page - 1]] if page < 3 else [OURS])
        return answer(200, entries, **({} if total is None else {"Total_Pages": total}))

    with pytest.raises(OutcomeUnknown, match="changed during each of 6 readings"):
        look_at(account)
