"""What a claim costs: read from the plans that the databases make for it, with 50,000 items and more."""

from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import event, select, text

from tests.integration.store.databases import (
    Loads,
    Stores,
    change_items,
    change_job,
    end,
    only_postgres,
    take,
)
from worker.domain.states import Code, Outcome
from worker.domain.verdicts import GiveUp, Installed
from worker.store.accounts import find_account_ids, list_account_rows
from worker.store.claiming import count_due
from worker.store.job_states import cancel_job
from worker.store.listing import Beginnings, ItemFilter, search_items
from worker.store.session import Engine, reading
from worker.store.steering import retry_job
from worker.store.tables import jobs
from worker.store.tallies import list_failures
from worker.store.upkeep import rescue, wipe_old_secrets

CREATED = Installed(Outcome.CREATED, 7, True)
MANY_ROWS = text(
    "WITH RECURSIVE n(i) AS (SELECT CAST(:first AS INTEGER) UNION ALL SELECT i + 1 FROM n WHERE i < :last)"
    " INSERT INTO items (job_id, row_number, account_id, name, target, connector_id, cells, state, due_at)"
    " SELECT job_id, i, 'a' || i, name, job_id || i, connector_id, cells, state,"
    " CASE WHEN i < :held_from THEN due_at ELSE '9999-01-01 00:00:00.000000' END"
    " FROM items, n WHERE job_id = :job_id AND row_number = :copied"
)


def grow(engine: Engine, job_id: str, *, first: int, last: int, held_from: int = 10**6) -> None:
    """Add the rows `first` to `last` to a job of one row; those from `held_from` on are held back."""
    held = max(0, last - held_from + 1)
    with engine.begin() as connection:
        values = {"first": first, "last": last, "held_from": held_from, "job_id": job_id, "copied": first - 1}
        connection.execute(MANY_ROWS, values)
    change_job(engine, job_id, total=last - first + 2, held=held)


def analyse(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def statements_of(engine: Engine, work) -> list[tuple[str, object]]:
    statements: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    work()
    event.remove(engine, "before_cursor_execute", note)
    return statements


def plans_of(engine: Engine, work) -> list[str]:
    """The lines of the plans of all that `work` asks of items."""
    explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
    lines: list[str] = []
    statements = statements_of(engine, work)
    with reading(engine) as connection:
        for statement, parameters in statements:
            if statement.startswith(("SELECT", "UPDATE")) and "items" in statement:
                explained = connection.exec_driver_sql(explain + statement, parameters)
                lines += [row[-1].strip() for row in explained]
    return lines


def assert_only_indexes_are_used(plans: list[str]) -> None:
    assert any("ix_items" in line for line in plans), plans
    # What is in hand is few, whatever the size of the jobs.
    others = [line for line in plans if line != "SCAN items USING INDEX ix_items_claims"]
    whole = [line for line in others if line.startswith("SCAN items") or "Seq Scan on items" in line]
    assert whole == [], plans


# Made once and copied: databases that know nothing yet of how many rows of what kind their tables hold.


@pytest.fixture(scope="module")
def one_large_job(stores: Stores) -> Iterator[Engine]:
    made = stores.new()
    job_id = Loads(made).job(1, first=1)
    grow(made, job_id, first=3, last=50_001, held_from=12)
    yield made
    stores.drop(made)


@pytest.fixture(scope="module")
def one_large_due_job(stores: Stores) -> Iterator[Engine]:
    made = stores.new()
    grow(made, Loads(made).job(1), first=3, last=50_001)
    yield made
    stores.drop(made)


@pytest.fixture(scope="module")
def many_large_jobs(stores: Stores) -> Iterator[Engine]:
    made = stores.new()
    for n in range(1, 40):
        job_id = Loads(made).job(1, start=10_000 * n)
        grow(made, job_id, first=10_000 * n + 1, last=10_000 * n + 1_299)
    yield made
    stores.drop(made)


@pytest.fixture
def large(stores: Stores, one_large_job: Engine) -> Iterator[Engine]:
    """50,000 queued items of one job, all but 10 of them held back by `--first`."""
    copied = stores.copy(one_large_job)
    yield copied
    stores.drop(copied)


@pytest.fixture
def large_due(stores: Stores, one_large_due_job: Engine) -> Iterator[Engine]:
    """50,000 due items of one job."""
    copied = stores.copy(one_large_due_job)
    yield copied
    stores.drop(copied)


@pytest.fixture
def many(stores: Stores, many_large_jobs: Engine) -> Iterator[Engine]:
    """39 jobs with 1,300 due items each."""
    copied = stores.copy(many_large_jobs)
    yield copied
    stores.drop(copied)


def the_job(engine: Engine) -> str:
    with reading(engine) as connection:
        return connection.execute(select(jobs.c.id)).scalar_one()


@pytest.mark.parametrize("is_analysed", [False, True])
def test_a_claim_and_a_count_cost_the_same_however_many_items_are_held_back(large: Engine, is_analysed: bool):
    if is_analysed:
        analyse(large)
    plans = plans_of(large, lambda: (count_due(large, "instance-a", limit=250), take(large, 5, is_idle=True)))
    assert_only_indexes_are_used(plans)
    assert any("ix_items_due" in line for line in plans)
    assert len(take(large, 100, is_idle=True)) == 5


@pytest.mark.parametrize("is_analysed", [False, True])
def test_a_settle_finds_its_items_by_their_ids(large_due: Engine, is_analysed: bool):
    if is_analysed:
        analyse(large_due)
    taken = take(large_due, 250)
    plans = plans_of(large_due, lambda: end(large_due, *((item, CREATED) for item in taken)))
    by_id = "INTEGER PRIMARY KEY" if large_due.dialect.name == "sqlite" else "pk_items"
    assert any(by_id in line for line in plans), plans
    assert [line for line in plans if line.startswith("SCAN items") or "Seq Scan on items" in line] == []


@pytest.mark.parametrize("is_analysed", [False, True])
def test_items_that_are_claimed_alone_are_looked_for_among_themselves(large_due: Engine, is_analysed: bool):
    change_items(large_due, the_job(large_due), 7, deaths=2)
    if is_analysed:
        analyse(large_due)
    # What is due is thousands of items; those that workers died with are few.
    plans = plans_of(large_due, lambda: take(large_due, 1, is_idle=True))
    [found] = [line for line in plans if "ix_items_" in line]
    assert "ix_items_alone" in found, plans


def test_the_items_of_a_claim_are_found_in_order_and_not_sorted(large_due: Engine):
    analyse(large_due)
    plans = plans_of(large_due, lambda: take(large_due, 50))
    # The one sort is that of the jobs, by chance.
    assert sum("TEMP B-TREE" in line or line.startswith("Sort Key") for line in plans) == 1, plans
    assert_only_indexes_are_used(plans)


def test_a_cancelled_job_of_many_items_costs_a_claim_nothing(large: Engine):
    change_items(large, the_job(large), 2, must_look=True)
    cancel_job(large, the_job(large))
    plans = plans_of(large, lambda: take(large, 5))
    assert any("ix_items_looks" in line for line in plans), plans
    assert_only_indexes_are_used(plans)


@pytest.mark.parametrize("is_analysed", [False, True])
def test_many_large_jobs_are_served_by_the_index_and_fairly(many: Engine, is_analysed: bool):
    if is_analysed:
        analyse(many)
    plans = plans_of(many, lambda: (count_due(many, "instance-a", limit=250), take(many, 100)))
    assert_only_indexes_are_used(plans)
    shares = Counter(item.job_id for item in take(many, 100))
    assert len(shares) == 39
    assert set(shares.values()) <= {2, 3}


@only_postgres
def test_a_claim_over_many_jobs_takes_few_ways_to_the_server(many: Engine):
    # The beginning, the time, the jobs, and twice (for the shares, and for what is left of them) a lock and a hold.
    assert len(statements_of(many, lambda: take(many, 100))) == 7


@only_postgres
def test_the_clocks_work_is_found_by_indexes_too(large: Engine):
    take(large, 5, claim_s=-1)
    analyse(large)
    plans = plans_of(large, lambda: (rescue(large, due_in_s=0), wipe_old_secrets(large, retention_h=72)))
    assert any("ix_items_claims" in line for line in plans), plans
    assert any("ix_items_kept_secrets" in line for line in plans), plans
    assert any("ix_items_kept_undo" in line for line in plans), plans
    assert_only_indexes_are_used(plans)


@pytest.mark.parametrize("is_analysed", [False, True])
def test_failed_rows_are_found_by_indexes_of_their_own(large_due: Engine, is_analysed: bool):
    job_id = the_job(large_due)
    taken = take(large_due, 20)
    end(large_due, *((item, GiveUp(Code.REFUSED, "no", 400)) for item in taken))
    if is_analysed:
        analyse(large_due)
    [group] = list_failures(large_due, job_id)

    def searched(**wanted: str) -> list[int]:
        found = search_items(large_due, job_id, ItemFilter(**wanted), Beginnings(), limit=25)
        assert found.searched_to is None
        return [row.row for row in found.rows]

    for wanted, index in (
        ({"state": "failed"}, "ix_items_failed"),
        ({"reason": group.reason}, "ix_items_reason"),
    ):
        plans = plans_of(large_due, lambda wanted=wanted: searched(**wanted))
        assert any(index in line for line in plans), plans
        assert_only_indexes_are_used(plans)
        assert len(searched(**wanted)) == 20
    plans = plans_of(large_due, lambda: retry_job(large_due, job_id, reason=group.reason))
    assert any("ix_items_reason" in line for line in plans), plans
    assert_only_indexes_are_used(plans)


@pytest.mark.parametrize("is_analysed", [False, True])
def test_rows_of_a_rare_outcome_are_found_by_an_index_of_their_own(large_due: Engine, is_analysed: bool):
    job_id = the_job(large_due)
    end(large_due, *((item, Installed(Outcome.UPDATED, 7, True)) for item in take(large_due, 20)))
    if is_analysed:
        analyse(large_due)
    updated = ItemFilter(outcome="updated")
    plans = plans_of(
        large_due, lambda: search_items(large_due, job_id, updated, Beginnings(), limit=25, most_searched=1)
    )
    assert any("ix_items_outcome" in line for line in plans), plans
    assert_only_indexes_are_used(plans)
    found = search_items(large_due, job_id, updated, Beginnings(), limit=25)
    assert (len(found.rows), found.searched_to) == (20, None)


def test_a_search_for_what_few_rows_have_ends_after_a_part_of_the_job(large_due: Engine):
    job_id = the_job(large_due)
    begins = Beginnings(account_id="a49999")
    first = search_items(large_due, job_id, ItemFilter(), begins, limit=25, most_searched=40_000)
    assert (list(first.rows), first.searched_to) == ([], 40_000)
    rest = search_items(large_due, job_id, ItemFilter(), begins, after=40_000, limit=25)
    assert ([row.row for row in rest.rows], rest.searched_to) == ([49_999], None)


@pytest.mark.parametrize("begins", ["acme-1", "", "zeppelin"])
def test_accounts_are_found_without_reading_all_rows(one_large_due_job: Engine, begins: str):
    analyse(one_large_due_job)
    plans = plans_of(one_large_due_job, lambda: find_account_ids(one_large_due_job, begins, limit=5))
    assert any("ix_items_account_id" in line for line in plans), plans
    # In the order of the index, so that it stops when it has enough.
    assert not [line for line in plans if "Sort" in line or "B-TREE" in line], plans
    assert_only_indexes_are_used(plans)


def test_the_rows_of_an_account_are_found_without_reading_all_rows(one_large_due_job: Engine):
    analyse(one_large_due_job)

    def ask() -> None:
        list_account_rows(one_large_due_job, "acme-1", limit=26)
        list_account_rows(one_large_due_job, "nobody", before=1_000_000, limit=26)

    plans = plans_of(one_large_due_job, ask)
    assert any("ix_items_account_id" in line for line in plans), plans
    # In the order of the index, so that it stops when it has enough.
    assert not [line for line in plans if "Sort" in line or "B-TREE" in line], plans
    assert_only_indexes_are_used(plans)
