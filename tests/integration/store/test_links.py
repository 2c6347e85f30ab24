"""Authorisation links in both databases."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alembic import command
from sqlalchemy import select, update

from tests.integration.store.databases import (
    INSTANCE,
    OTHER_INSTANCE,
    Loads,
    change_items,
    end,
    item_row,
    planned,
    rows_of,
    take,
)
from tests.integration.store.test_cost import analyse, assert_only_indexes_are_used, grow, plans_of
from worker.domain.connectors import AuthMethod, Connector
from worker.domain.states import Outcome
from worker.domain.verdicts import Installed
from worker.domain.words import WAITS_FOR_CUSTOMER
from worker.store.asking import (
    ASK_AFTER_S,
    ask_again,
    ask_no_more,
    begin_round,
    is_anything_to_ask,
    put_back,
    take_after_clicks,
    take_of_round,
)
from worker.store.desks import (
    Desk,
    find_desk,
    iter_waiting,
    list_authorised,
    list_waiting,
    make_links,
    withdraw_links,
)
from worker.store.jobs import get_job
from worker.store.links import (
    MOST_CLICKS,
    Link,
    LinkState,
    find_link,
    note_authorised,
    note_opened,
    renew_link,
    take_click,
    withdraw_link,
)
from worker.store.listing import Beginnings, ItemFilter, list_items, list_job_page, search_items
from worker.store.readiness import alembic_config, upgrade
from worker.store.session import Engine, reading, writing
from worker.store.steering import forget_job
from worker.store.tables import desks, items, links

OAUTH = AuthMethod("m-oauth", "OAuth", "OAuth2", "AuthorisationCode")
KEY = AuthMethod("m-key", "Key", "ApiKey")
CRM = Connector(8, "Harbour CRM", None, "Live", (OAUTH,))
BOTH = Connector(9, "Both Ways", None, "Live", (OAUTH, KEY))
TWO_WEEKS = timedelta(days=14)


def installed(
    engine: Engine,
    loads: Loads,
    rows: int = 3,
    *,
    instance_id: str = INSTANCE,
    start: int = 2,
    **changes: Any,
) -> str:
    """The id of a job whose rows are installed and wait for their customers."""
    row = {"connector_key": "crm", "authentication_id": "m-oauth"} | changes
    loader = loads.loader(instance_id=instance_id)
    loader.add_connector("crm", CRM)
    loader.add_connector("both", BOTH)
    for number in range(start, start + rows):
        loader.add(planned(number, **row), account_exists=True)
    loader.finish()
    settle_all(engine, instance_id=instance_id)
    return loader.job_id


def settle_all(engine: Engine, *, instance_id: str = INSTANCE, is_authenticated: bool = False) -> None:
    verdicts = [
        (
            item,
            Installed(Outcome.CREATED, 700 + item.row_number, is_authenticated, message=WAITS_FOR_CUSTOMER),
        )
        for item in take(engine, instance_id=instance_id)
    ]
    end(engine, *verdicts)


def link_of(engine: Engine, desk: Desk, row_number: int) -> Link:
    [item] = [each for each in list_waiting(engine, desk.job_id) if each.row_number == row_number]
    assert desk.batch is not None
    return Link(desk.batch, item.item_id, item.generation, desk.expires_at)


def desk_of(engine: Engine, job_id: str) -> Desk:
    desk = find_desk(engine, job_id)
    assert desk is not None
    return desk


def change_link(engine: Engine, link: Link, **values: Any) -> None:
    mine = update(links).where(links.c.item_id == link.item_id).values(values)
    writing(engine, lambda connection: connection.execute(mine))


def end_rest(engine: Engine) -> None:
    over = update(desks).values(asking_until=datetime.now(UTC) - timedelta(seconds=1))
    writing(engine, lambda connection: connection.execute(over))


def rows_of_waiting(engine: Engine, job_id: str) -> list[int]:
    return [item.row_number for item in list_waiting(engine, job_id)]


# Who waits


def test_installed_oauth_rows_wait_and_others_do_not(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 3)
    loads.job(2, start=20)  # an API-key row that waits for its credential is none of a customer's business
    settle_all(engine)
    assert rows_of_waiting(engine, job_id) == [2, 3, 4]
    assert get_job(engine, job_id).to_authorise == 3
    [first, *_] = list_waiting(engine, job_id)
    assert (first.account_id, first.name, first.connector_name) == ("a2", "Acme", "Harbour CRM")


def test_rows_with_a_key_do_not_wait_for_a_customer(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 2, connector_key="acme", authentication_id="m1")
    assert rows_of_waiting(engine, job_id) == []
    assert get_job(engine, job_id).to_authorise == 0


@pytest.mark.parametrize(("method_id", "waits"), [("m-oauth", True), ("m-key", False), (None, True)])
def test_of_several_methods_the_rows_own_decides(
    engine: Engine, loads: Loads, method_id: str | None, *, waits: bool
):
    job_id = installed(engine, loads, 1, connector_key="both", authentication_id=method_id)
    assert rows_of_waiting(engine, job_id) == ([2] if waits else [])
    assert get_job(engine, job_id).to_authorise == (1 if waits else 0)
    [item] = list_items(engine, job_id, ItemFilter())
    assert item.to_authorise is waits
    found = list_items(engine, job_id, ItemFilter(to_authorise=True))
    assert [each.row for each in found] == ([2] if waits else [])


def test_whoever_has_authorised_is_counted_no_longer_and_only_once(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 3)
    first, *_ = list_waiting(engine, job_id)
    assert note_authorised(engine, first.item_id)
    assert not note_authorised(engine, first.item_id)
    assert get_job(engine, job_id).to_authorise == 2
    assert [each.row for each in list_items(engine, job_id, ItemFilter(to_authorise=True))] == [3, 4]


def test_whoever_has_authorised_is_said_to_wait_no_longer_and_the_rest_is_said_still(
    engine: Engine, loads: Loads
):
    job_id = installed(engine, loads, 2)
    first, second = list_waiting(engine, job_id)
    change_items(
        engine, job_id, first.row_number, message=f"description was not changed; {WAITS_FOR_CUSTOMER}"
    )
    for each in (first, second):
        note_authorised(engine, each.item_id)
    said = [each.message for each in list_items(engine, job_id, ItemFilter())]
    assert said == ["description was not changed", None]


def test_those_who_have_still_to_authorise_are_all_within_reach_of_a_search(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 5)
    for waiting in list_waiting(engine, job_id)[:4]:
        note_authorised(engine, waiting.item_id)
    found = search_items(
        engine, job_id, ItemFilter(to_authorise=True), Beginnings(), limit=3, most_searched=2
    )
    assert ([each.row for each in found.rows], found.searched_to) == ([6], None)


def test_a_credential_that_was_given_at_cyclr_takes_nobody_from_those_who_wait(engine: Engine, loads: Loads):
    waiting = installed(engine, loads, 2)
    job_id = installed(engine, loads, 1, connector_key="both", authentication_id="m-key", start=30)
    [item] = list_items(engine, job_id, ItemFilter())
    assert item.to_authorise is False
    with reading(engine) as connection:
        item_id = connection.execute(select(items.c.id).where(items.c.job_id == job_id)).scalar_one()
    assert get_job(engine, job_id).without_credential == 1
    assert note_authorised(engine, item_id)
    job, other = get_job(engine, job_id), get_job(engine, waiting)
    assert (job.to_authorise, job.without_credential) == (0, 0)
    assert (other.to_authorise, other.without_credential) == (2, 0)


def test_one_settle_of_several_jobs_counts_for_each_its_own(engine: Engine, loads: Loads):
    def load(key: str, method_id: str, start: int, rows: int) -> str:
        loader = loads.loader()
        loader.add_connector("crm", CRM)
        for number in range(start, start + rows):
            loader.add(planned(number, connector_key=key, authentication_id=method_id), account_exists=True)
        loader.finish()
        return loader.job_id

    ids = [load("crm", "m-oauth", 2, 3), load("crm", "m-oauth", 20, 1), load("acme", "m1", 40, 2)]
    settle_all(engine)
    assert [get_job(engine, job_id).to_authorise for job_id in ids] == [3, 1, 0]


def test_jobs_with_customers_who_have_still_to_authorise_are_found(engine: Engine, loads: Loads):
    waiting = installed(engine, loads, 1)
    installed(engine, loads, 1, connector_key="acme", authentication_id="m1", start=20)
    assert [job.id for job in list_job_page(engine, has="to_authorise", limit=10)] == [waiting]
    assert list_job_page(engine, has="failed", limit=10) == []


def test_pages_follow_each_other_and_an_account_is_found(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 5)
    assert [item.row_number for item in list_waiting(engine, job_id, limit=2)] == [2, 3]
    assert [item.row_number for item in list_waiting(engine, job_id, after=3, limit=2)] == [4, 5]
    assert [item.row_number for item in list_waiting(engine, job_id, account_id="a5")] == [5]
    assert [item.row_number for item in iter_waiting(engine, job_id)] == [2, 3, 4, 5, 6]


# Making and withdrawing


def test_a_job_has_no_desk_until_links_are_made(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 1)
    assert find_desk(engine, job_id) is None
    desk = make_links(engine, job_id, last=TWO_WEEKS)
    assert find_desk(engine, job_id) == desk
    assert timedelta(days=13, hours=23) < desk.expires_at - datetime.now(UTC) <= TWO_WEEKS
    assert find_link(engine, link_of(engine, desk, 2))[0] is LinkState.OPEN


def test_links_made_anew_leave_those_that_were_mailed_good(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 1)
    mailed = link_of(engine, make_links(engine, job_id, last=timedelta(days=2)), 2)
    again = link_of(engine, make_links(engine, job_id, last=TWO_WEEKS), 2)
    assert mailed.expires_at < again.expires_at
    assert [find_link(engine, link)[0] for link in (mailed, again)] == [LinkState.OPEN] * 2


def test_withdrawn_links_of_a_job_stay_dead_when_new_ones_are_made(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 1)
    mailed = link_of(engine, make_links(engine, job_id, last=TWO_WEEKS), 2)
    assert withdraw_links(engine, job_id)
    assert not withdraw_links(engine, job_id)
    assert desk_of(engine, job_id).batch is None
    assert find_link(engine, mailed)[0] is LinkState.WITHDRAWN
    assert not take_click(engine, mailed)
    new = link_of(engine, make_links(engine, job_id, last=TWO_WEEKS), 2)
    assert find_link(engine, mailed)[0] is LinkState.WITHDRAWN
    assert not take_click(engine, mailed)
    assert find_link(engine, new)[0] is LinkState.OPEN


def test_one_links_withdrawal_leaves_the_others_good(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 2)
    desk = make_links(engine, job_id, last=TWO_WEEKS)
    first, second = link_of(engine, desk, 2), link_of(engine, desk, 3)
    assert withdraw_link(engine, job_id, 2)
    assert find_link(engine, first)[0] is LinkState.WITHDRAWN
    assert not take_click(engine, first)
    assert find_link(engine, second)[0] is LinkState.OPEN
    assert [item.withdrawn_at is None for item in list_waiting(engine, job_id)] == [False, True]


def test_a_withdrawn_link_that_is_renewed_is_another_one(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 1)
    desk = make_links(engine, job_id, last=TWO_WEEKS)
    mailed = link_of(engine, desk, 2)
    for _ in range(2):
        withdraw_link(engine, job_id, 2)
    assert renew_link(engine, job_id, 2)
    new = link_of(engine, desk, 2)
    assert (mailed.generation, new.generation) == (0, 1)
    assert find_link(engine, mailed)[0] is LinkState.WITHDRAWN
    assert not take_click(engine, mailed)
    assert find_link(engine, new)[0] is LinkState.OPEN


def test_there_is_no_link_of_a_row_that_is_not_there(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 1)
    make_links(engine, job_id, last=TWO_WEEKS)
    assert not withdraw_link(engine, job_id, 99)
    assert not renew_link(engine, job_id, 99)


# A link's life


def test_a_link_ends_with_its_time(engine: Engine, loads: Loads):
    desk = make_links(engine, installed(engine, loads, 1), last=timedelta(seconds=-1))
    assert find_link(engine, link_of(engine, desk, 2))[0] is LinkState.EXPIRED


def test_a_link_of_a_forgotten_job_is_unknown(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 1)
    link = link_of(engine, make_links(engine, job_id, last=TWO_WEEKS), 2)
    note_opened(engine, link)
    forget_job(engine, job_id)
    assert find_link(engine, link) == (LinkState.UNKNOWN, None)
    note_opened(engine, link)
    assert not take_click(engine, link)
    with reading(engine) as connection:
        assert connection.execute(select(links.c.item_id)).all() == []
        assert connection.execute(select(desks.c.job_id)).all() == []


def test_opening_is_counted_once(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 2)
    desk = make_links(engine, job_id, last=TWO_WEEKS)
    for row_number in (2, 2, 3):
        note_opened(engine, link_of(engine, desk, row_number))
    found = desk_of(engine, job_id)
    assert (found.opened, found.clicked, found.authorised) == (2, 0, 0)
    assert all(item.opened_at and not item.clicked_at for item in list_waiting(engine, job_id))


def test_clicks_are_bounded_for_a_time(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 1)
    link = link_of(engine, make_links(engine, job_id, last=TWO_WEEKS), 2)
    assert [take_click(engine, link) for _ in range(MOST_CLICKS + 1)] == [True] * MOST_CLICKS + [False]
    assert desk_of(engine, job_id).clicked == 1
    change_link(engine, link, clicks_since=datetime.now(UTC) - timedelta(minutes=10, seconds=1))
    assert take_click(engine, link)


def test_clicks_at_once_are_bounded_as_well(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 1)
    link = link_of(engine, make_links(engine, job_id, last=TWO_WEEKS), 2)
    taken: list[bool] = []

    def click() -> None:
        for _ in range(4):
            taken.append(take_click(engine, link))

    threads = [threading.Thread(target=click) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(taken) == [False] * (16 - MOST_CLICKS) + [True] * MOST_CLICKS
    assert desk_of(engine, job_id).clicked == 1


def test_an_authorisation_is_written_on_the_row_and_counted_once(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 2)
    desk = make_links(engine, job_id, last=TWO_WEEKS)
    link = link_of(engine, desk, 2)
    assert note_authorised(engine, link.item_id)
    assert not note_authorised(engine, link.item_id)
    row = item_row(engine, link.item_id)
    assert (row.is_authenticated, row.message) == (True, None)
    assert desk_of(engine, job_id).authorised == 1
    assert find_link(engine, link)[0] is LinkState.AUTHORISED
    assert rows_of_waiting(engine, job_id) == [3]
    assert [item.row_number for item in list_authorised(engine, job_id)] == [2]
    assert list_authorised(engine, job_id, after=2) == []


# Asking Cyclr


def test_after_a_click_it_is_asked_ever_more_seldom_and_then_no_more(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 2)
    link = link_of(engine, make_links(engine, job_id, last=TWO_WEEKS), 2)
    assert not is_anything_to_ask(engine)
    assert take_click(engine, link)
    for _ in ASK_AFTER_S:
        assert take_after_clicks(engine, INSTANCE, 10) == []
        change_link(engine, link, ask_at=datetime.now(UTC) - timedelta(seconds=1))
        assert is_anything_to_ask(engine)
        assert take_after_clicks(engine, OTHER_INSTANCE, 10) == []
        [taken] = take_after_clicks(engine, INSTANCE, 10)
        assert (taken.item_id, taken.account_id, taken.account_connector_id) == (link.item_id, "a2", 702)
        ask_again(engine, link.item_id)
    with reading(engine) as connection:
        assert connection.execute(select(links.c.ask_at)).scalar_one() is None


def test_what_is_authorised_or_gone_is_not_asked_about(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 3)
    desk = make_links(engine, job_id, last=TWO_WEEKS)
    clicked = [link_of(engine, desk, row_number) for row_number in (2, 3, 4)]
    for link in clicked:
        take_click(engine, link)
        change_link(engine, link, ask_at=datetime.now(UTC) - timedelta(seconds=1))
    note_authorised(engine, clicked[0].item_id)
    ask_no_more(engine, clicked[1].item_id)
    ask_again(engine, clicked[1].item_id)
    withdraw_link(engine, job_id, 4)  # its customer may be on Cyclr's page by now
    assert [item.row_number for item in take_after_clicks(engine, INSTANCE, 10)] == [4]


def test_a_round_comes_to_every_row_once_and_ends(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 5)
    make_links(engine, job_id, last=TWO_WEEKS)
    assert begin_round(engine, job_id)
    assert not begin_round(engine, job_id)
    asked: list[int] = []
    while taken := take_of_round(engine, INSTANCE, 2):
        assert take_of_round(engine, INSTANCE, 2) is None  # somebody has it in hand
        asked += [item.row_number for item in taken.piece]
        put_back(engine, taken, taken.piece)
    assert asked == [2, 3, 4, 5, 6]
    found = desk_of(engine, job_id)
    assert found.asking_after is None
    assert found.asked_at is not None
    assert begin_round(engine, job_id)


def test_a_round_goes_on_where_it_was_when_cyclr_was_away(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 4)
    make_links(engine, job_id, last=TWO_WEEKS)
    begin_round(engine, job_id)
    taken = take_of_round(engine, INSTANCE, 3)
    assert taken is not None
    put_back(engine, taken, taken.piece[:1])
    assert take_of_round(engine, INSTANCE, 3) is None  # it rests a little
    end_rest(engine)
    again = take_of_round(engine, INSTANCE, 3)
    assert again is not None
    assert [item.row_number for item in again.piece] == [3, 4, 5]
    put_back(engine, again, ())
    assert desk_of(engine, job_id).asking_after == 2


def test_a_round_whose_process_is_gone_is_taken_by_another(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 2)
    make_links(engine, job_id, last=TWO_WEEKS)
    begin_round(engine, job_id)
    assert take_of_round(engine, INSTANCE, 1) is not None
    end_rest(engine)
    again = take_of_round(engine, INSTANCE, 1)
    assert again is not None
    assert [item.row_number for item in again.piece] == [2]


def test_rounds_of_two_jobs_take_turns_and_each_instance_has_its_own(engine: Engine, loads: Loads):
    mine = [installed(engine, loads, 2), installed(engine, loads, 2, start=20)]
    theirs = installed(engine, loads, 2, start=40, instance_id=OTHER_INSTANCE)
    for job_id in (*mine, theirs):
        make_links(engine, job_id, last=TWO_WEEKS)
        begin_round(engine, job_id)
    order = []
    for _ in range(4):
        taken = take_of_round(engine, INSTANCE, 1)
        assert taken is not None
        order.append(taken.job_id)
        put_back(engine, taken, taken.piece)
    assert sorted(order[:2]) == sorted(order[2:]) == sorted(mine)


def test_no_link_is_in_the_database(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 1)
    link = link_of(engine, make_links(engine, job_id, last=TWO_WEEKS), 2)
    note_opened(engine, link)
    take_click(engine, link)
    with reading(engine) as connection:
        [row] = connection.execute(select(links)).all()
    assert link.to_text() not in str(tuple(row))
    assert [each.sealed for each in rows_of(engine, job_id)] == [None]


def test_what_it_costs_to_see_who_waits_does_not_grow_with_the_job(engine: Engine, loads: Loads):
    job_id = installed(engine, loads, 1)
    grow(engine, job_id, first=3, last=30_000)
    change_items(engine, job_id, is_authenticated=True, account_connector_id=1)
    change_items(engine, job_id, 25_000, is_authenticated=False)
    analyse(engine)

    def look() -> None:
        assert rows_of_waiting(engine, job_id) == [25_000]

    plans = plans_of(engine, look)
    assert_only_indexes_are_used(plans)
    assert any("ix_items_unauthenticated" in line for line in plans), plans


def test_a_database_from_before_the_counter_knows_who_waits(engine: Engine, loads: Loads):
    waiting = installed(engine, loads, 3)
    installed(engine, loads, 2, connector_key="acme", authentication_id="m1", start=20)
    both = installed(engine, loads, 1, connector_key="both", authentication_id="m-key", start=30)
    first, *_ = list_waiting(engine, waiting)
    note_authorised(engine, first.item_id)
    command.downgrade(alembic_config(engine), "0007")
    upgrade(engine)
    assert (get_job(engine, waiting).to_authorise, get_job(engine, both).to_authorise) == (2, 0)


# Done without a credential


def test_done_rows_wait_for_customers_by_their_method_and_the_others_are_without_a_credential(
    engine: Engine, loads: Loads
):
    ours = installed(engine, loads, 2)
    by_key = installed(engine, loads, 3, start=10, connector_key="both", authentication_id="m-key")
    unchanged = installed(engine, loads, 0, start=20)
    loader = loads.loader()
    loader.add_connector("crm", CRM)
    loader.add(planned(30, connector_key="crm", authentication_id="m-oauth"), account_exists=True)
    loader.finish()
    [item] = take(engine)
    end(engine, (item, Installed(Outcome.UNCHANGED, 730, False)))

    def counted(job_id: str) -> tuple[int, int, int]:
        job = get_job(engine, job_id)
        return job.installed, job.to_authorise, job.without_credential

    assert counted(ours) == (2, 2, 0)
    assert counted(by_key) == (3, 0, 3)
    assert counted(unchanged) == (0, 0, 0)
    assert counted(loader.job_id) == (1, 1, 0)
    assert rows_of_waiting(engine, loader.job_id) == [30]  # it was there before, and the desk has its link
