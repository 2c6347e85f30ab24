"""Accounts over all jobs, on both databases."""

from tests.integration.store.databases import Loads, ago, change_items, change_job
from worker.domain.states import JobState
from worker.store.accounts import AccountRow, find_account_ids, list_account_rows
from worker.store.session import Engine


def name_accounts(engine: Engine, job_id: str, first: int, *account_ids: str) -> None:
    """The rows of the job, from this one on, are for these."""
    for number, account_id in enumerate(account_ids, start=first):
        change_items(engine, job_id, number, account_id=account_id)


def test_accounts_are_found_once_each_by_how_their_ids_begin(engine: Engine, loads: Loads):
    first, second = loads.job(4), loads.job(4, start=10)
    name_accounts(engine, first, 2, "acme", "acme-2", "ACME", "größe")
    name_accounts(engine, second, 10, "acme", "acmf", "a%me", "a_me")
    assert find_account_ids(engine, "acme", limit=10) == ["acme", "acme-2"]
    assert find_account_ids(engine, "a%", limit=10) == ["a%me"]
    assert find_account_ids(engine, "gr\u00f6", limit=10) == ["größe"]
    assert find_account_ids(engine, "zeppelin", limit=10) == []
    # By the numbers of letters, in every language of a database.
    all_ids = ["ACME", "a%me", "a_me", "acme", "acme-2", "acmf", "größe"]
    assert find_account_ids(engine, "", limit=10) == all_ids
    assert find_account_ids(engine, "", limit=3) == all_ids[:3]
    assert find_account_ids(engine, "", after="a_me", limit=10) == all_ids[3:]


def test_the_rows_of_an_account_come_from_all_jobs_the_newest_first(engine: Engine, loads: Loads):
    first, second = loads.job(3), loads.job(3, start=10)
    name_accounts(engine, first, 2, "acme", "globex", "acme")
    name_accounts(engine, second, 10, "globex", "acme", "acme-2")

    def rows(**page) -> list[tuple[str, int]]:
        return [(row.job_id, row.row_number) for row in list_account_rows(engine, "acme", **page)]

    assert rows(limit=10) == [(second, 11), (first, 4), (first, 2)]
    page: list[AccountRow] = list_account_rows(engine, "acme", limit=2)
    assert rows(before=page[-1].item_id, limit=2) == [(first, 2)]
    assert list_account_rows(engine, "nobody", limit=10) == []


def test_rows_of_a_job_that_is_being_forgotten_are_not_shown(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    change_items(engine, job_id, account_id="acme")
    change_job(engine, job_id, state=JobState.LOADING, finished_at=ago(minutes=1))
    assert list_account_rows(engine, "acme", limit=10) == []
