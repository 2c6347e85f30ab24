import pytest

from tests.integration.store.databases import Loads, ago, change_items, change_job, end, planned, take
from worker.domain.states import Code, ItemState, JobState, Outcome
from worker.domain.verdicts import GiveUp, Installed, RetryAt
from worker.store.listing import ItemFilter, list_attempts, list_items, list_job_page
from worker.store.session import Engine

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
    assert [item.row_number for item in first] == [2, 3, 4]
    rest = list_items(engine, job_id, ItemFilter(), after=4, limit=3)
    assert [item.row_number for item in rest] == [5, 6]


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
        return [item.row_number for item in list_items(engine, job_id, ItemFilter(**wanted))]

    rows = {item.id: item.row_number for item in (first, second, third)}
    assert found(state=ItemState.INSTALLED) == [rows[first.id]]
    assert found(codes=[Code.REFUSED]) == [rows[second.id]]
    assert found(state=ItemState.QUEUED, tried=True) == [rows[third.id]]
    assert found(state=ItemState.QUEUED, tried=False) == []
    assert found(account_id="a3") == [3]
    assert found(account_begins="A") == [2, 3, 4, 5]
    assert found(account_begins="_") == []


def test_accounts_are_found_by_their_beginning_only(engine: Engine, loads: Loads):
    job_id = loads.job([planned(2), planned(22), planned(12)])
    found = list_items(engine, job_id, ItemFilter(account_begins="a2"))
    assert [item.account_id for item in found] == ["a2", "a22"]


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
    found = list_items(engine, job_id, ItemFilter(account_begins="SÜ"))
    assert [item.account_id for item in found] == ["Süd-1"]
