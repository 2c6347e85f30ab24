from dataclasses import replace

import pytest

from tests.integration.store.databases import (
    Loads,
    ago,
    change_items,
    change_job,
    end,
    planned,
    settlement,
    take,
)
from worker.domain.states import Code, ItemState, JobState, Outcome
from worker.domain.verdicts import GiveUp, Installed, RetryAt
from worker.store.listing import (
    Beginnings,
    ItemFilter,
    SearchedItems,
    list_attempts,
    list_items,
    list_job_page,
    search_items,
)
from worker.store.session import Engine
from worker.store.settling import settle
from worker.store.tallies import OutcomeCount, list_outcomes

CREATED = Installed(Outcome.CREATED, 6508, True)
REFUSED = GiveUp(Code.REFUSED, "no such thing", 400)
RETRY = RetryAt(60, Code.UNREACHABLE, "refused", 503)


@pytest.fixture
def three_jobs(engine: Engine, loads: Loads) -> list[str]:
    """The newest first; two of them began in the same moment."""
    ids = [loads.job(1, start=10 * number) for number in range(1, 4)]
    same = ago(minutes=5)
    change_job(engine, ids[0], created_at=ago(minutes=1), source_name="Spring_100%.csv")
    change_job(engine, ids[1], created_at=same, state=JobState.PAUSED)
    change_job(engine, ids[2], created_at=same, state=JobState.COMPLETED)
    return [ids[0], *sorted(ids[1:], reverse=True)]


def test_jobs_come_page_by_page_the_newest_first(engine: Engine, three_jobs: list[str]):
    pages, before = [], None
    while page := list_job_page(engine, before=before, limit=1):
        before = page[-1].id
        pages.append(before)
    assert pages == three_jobs


def test_jobs_are_found_by_state_file_name_and_id(engine: Engine, three_jobs: list[str]):
    def found(**wanted) -> set[str]:
        return {job.id for job in list_job_page(engine, limit=10, **wanted)}

    newest, *others = three_jobs
    assert found(states=[JobState.PAUSED, JobState.COMPLETED]) == set(others)
    assert found(text="spring") == {newest}
    assert found(text="0%.C") == {newest}
    assert found(text="%") == {newest}
    assert found(text=others[0].upper()) == {others[0]}
    assert found(text="none of them") == set()


def test_a_page_of_items_goes_on_after_the_last_row_of_the_one_before(engine: Engine, loads: Loads):
    job_id = loads.job(5)
    first = list_items(engine, job_id, ItemFilter(), limit=3)
    assert [item.row for item in first] == [2, 3, 4]
    rest = list_items(engine, job_id, ItemFilter(), after=4, limit=3)
    assert [item.row for item in rest] == [5, 6]


def test_items_tell_their_reference_where_it_is_asked_for(engine: Engine, loads: Loads):
    cells = [("a2", 'it\'s "2"'), ("a3", ""), ("a4", "ü")]
    rows = [planned(number, cells=row) for number, row in enumerate(cells, start=2)]
    job_id = loads.job(rows)
    found = list_items(engine, job_id, ItemFilter(), reference_at=1)
    assert [item.reference for item in found] == ['it\'s "2"', None, "ü"]
    # A file without the column, and whoever does not ask.
    assert [item.reference for item in list_items(engine, job_id, ItemFilter(), reference_at=7)] == [None] * 3
    assert [item.reference for item in list_items(engine, job_id, ItemFilter())] == [None] * 3


def test_items_are_found_by_what_became_of_them_and_by_account(engine: Engine, loads: Loads):
    job_id = loads.job(4)
    first, second, third, _ = take(engine, 4)
    end(engine, (first, CREATED), (second, REFUSED), (third, RETRY))

    def found(**wanted) -> list[int]:
        return [item.row for item in list_items(engine, job_id, ItemFilter(**wanted))]

    rows = {item.id: item.row_number for item in (first, second, third)}
    assert found(state=ItemState.INSTALLED) == [rows[first.id]]
    assert found(codes=[Code.REFUSED]) == [rows[second.id]]
    assert found(state=ItemState.QUEUED, tried=True) == [rows[third.id]]
    assert found(state=ItemState.QUEUED, tried=False) == []
    assert found(account_id="a3") == [3]
    assert found(reason="6f53031f") == [rows[second.id]]
    assert found(reason="00000000") == []


def test_items_are_found_by_how_they_came_to_be_done_and_say_what_they_changed(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    first, second, third = take(engine)
    settle(
        engine,
        [
            settlement(first, CREATED),
            settlement(
                second,
                replace(CREATED, outcome=Outcome.UPDATED, differs=("description",)),
                changed=("api_key",),
                undo=b"sealed",
            ),
            settlement(third, GiveUp(Code.DIFFERS, "left alone", differs=("api_key",))),
        ],
        pause_above_percent=1_000,
    )

    def found(outcome: str) -> list[int]:
        return [item.row for item in list_items(engine, job_id, ItemFilter(outcome=outcome))]

    assert (found("created"), found("updated"), found("unchanged")) == ([2], [3], [])
    assert [
        (item.outcome, item.changed, item.differs, item.undo_kept)
        for item in list_items(engine, job_id, ItemFilter())
    ] == [
        ("created", [], [], False),
        ("updated", ["api_key"], ["description"], True),
        (None, [], ["api_key"], False),
    ]
    assert list_outcomes(engine, job_id) == [
        OutcomeCount("created", 1, {}),
        OutcomeCount("updated", 1, {"api_key": 1}),
    ]


def numbers(found: SearchedItems) -> list[int]:
    return [row.row for row in found.rows]


def test_rows_are_found_by_how_account_and_reference_begin(engine: Engine, loads: Loads):
    rows = [
        planned(
            number,
            cells=(account_id, "[not exported]", reference),
            row=replace(planned(number).row, account_id=account_id),
        )
        for number, account_id, reference in (
            (2, "a2", "Order-1"),
            (3, "A22", "order-2"),
            (4, "ba2", "order_2"),
            (5, "a_2", ""),
        )
    ]
    job_id = loads.job(rows)

    def found(**typed) -> list[int]:
        return numbers(search_items(engine, job_id, ItemFilter(), Beginnings(**typed, cell_at=2), limit=10))

    assert found() == [2, 3, 4, 5]
    assert found(account_id="a2") == [2, 3]
    assert found(account_id="a_") == [5]
    assert found(cell="ORDER") == [2, 3, 4]
    assert found(cell="order_") == [4]
    assert found(account_id="A", cell="order-2") == [3]


def test_a_search_goes_on_and_back_page_by_page(engine: Engine, loads: Loads):
    job_id = loads.job(7)

    def page(**edge) -> tuple[list[int], int | None]:
        found = search_items(engine, job_id, ItemFilter(), Beginnings(), limit=3, **edge)
        return numbers(found), found.searched_to

    assert page() == ([2, 3, 4], 4)
    assert page(after=4) == ([5, 6, 7], 7)
    assert page(after=7) == ([8], None)
    assert page(before=8) == ([5, 6, 7], 5)
    assert page(before=5) == ([2, 3, 4], None)


def test_no_more_rows_are_searched_at_once_than_are_allowed(engine: Engine, loads: Loads):
    job_id = loads.job(9)

    def page(**edge) -> tuple[list[int], int | None]:
        begins = Beginnings(account_id="a1")
        found = search_items(engine, job_id, ItemFilter(), begins, limit=3, most_searched=4, **edge)
        return numbers(found), found.searched_to

    assert page() == ([], 4)
    assert page(after=4) == ([], 8)
    assert page(after=8) == ([10], None)
    assert page(before=10) == ([], 6)
    assert page(before=6) == ([], None)


def test_the_attempts_of_an_item_come_in_their_order(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    item, other = take(engine, 2)
    end(engine, (item, RETRY), (other, CREATED))
    change_items(engine, job_id, item.row_number, due_at=ago(seconds=1))
    [again] = take(engine)
    end(engine, (again, REFUSED))
    tries = list_attempts(engine, job_id, item.row_number)
    assert [(each.verdict, each.code, each.http_status) for each in tries] == [
        ("retry", "unreachable", 503),
        ("give_up", "refused", 400),
    ]
    assert list_attempts(engine, job_id, 999) == []


# PostgreSQL knows the letters of the language that its database was made with.
@pytest.mark.parametrize("stores", ["sqlite"], indirect=True, scope="session")
@pytest.mark.parametrize("text", ["SÜD", "süd", "Su\u0308d"])
def test_a_name_is_found_in_any_case_of_its_letters(engine: Engine, three_jobs: list[str], text: str):
    change_job(engine, three_jobs[0], source_name="Kunden Süd.csv")
    assert [job.id for job in list_job_page(engine, text=text, limit=10)] == [three_jobs[0]]


@pytest.mark.parametrize("stores", ["sqlite"], indirect=True, scope="session")
def test_an_account_is_found_in_any_case_of_its_letters(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    change_items(engine, job_id, 3, account_id="Süd-1")
    found = search_items(engine, job_id, ItemFilter(), Beginnings(account_id="SÜ"), limit=10).rows
    assert [item.account_id for item in found] == ["Süd-1"]
