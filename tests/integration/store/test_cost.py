"""What a claim costs: read from the plans that the databases make for it, with 50,000 items and more."""

from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import event, text

from tests.integration.store.databases import (
    Loads,
    Stores,
    change_items,
    change_job,
    only_postgres,
    take,
)
from worker.domain.states import JobState
from worker.store.claiming import count_due
from worker.store.jobs import cancel_job, resume_job
from worker.store.session import Engine, reading
from worker.store.upkeep import rescue, wipe_old_secrets


@pytest.fixture
def engine(stores: Stores) -> Iterator[Engine]:
    """A database that knows nothing yet of how many rows of what kind its tables hold."""
    opened = stores.untouched()
    yield opened
    stores.drop(opened)


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
    whole = [line for line in plans if line.startswith("SCAN items") or "Seq Scan on items" in line]
    assert whole == [], plans


@pytest.fixture
def large_job(engine: Engine, loads: Loads) -> str:
    """50,000 queued items, all but 10 of them held back by `--first`."""
    job_id = loads.job(1, first=1)
    grow(engine, job_id, first=3, last=50_001, held_from=12)
    return job_id


def resume_everything(engine: Engine, job_id: str) -> None:
    change_job(engine, job_id, state=JobState.PAUSED)
    assert resume_job(engine, job_id, first=None)
    assert count_due(engine, "instance-a", limit=60_000) == 50_000


@pytest.mark.parametrize("is_analysed", [False, True])
def test_a_claim_and_a_count_cost_the_same_however_many_items_are_held_back(
    engine: Engine, large_job: str, is_analysed: bool
):
    if is_analysed:
        analyse(engine)
    plans = plans_of(
        engine, lambda: (count_due(engine, "instance-a", limit=250), take(engine, 5, is_idle=True))
    )
    assert_only_indexes_are_used(plans)
    assert any("ix_items_due" in line for line in plans)
    assert len(take(engine, 100, is_idle=True)) == 5


@pytest.mark.parametrize("is_analysed", [False, True])
def test_items_that_are_claimed_alone_are_looked_for_among_themselves(
    engine: Engine, large_job: str, is_analysed: bool
):
    resume_everything(engine, large_job)
    change_items(engine, large_job, 7, deaths=2)
    if is_analysed:
        analyse(engine)
    # What is due is thousands of items; those that workers died with are few.
    plans = plans_of(engine, lambda: take(engine, 1, is_idle=True))
    [found] = [line for line in plans if "ix_items_" in line]
    assert "ix_items_alone" in found, plans


def test_the_items_of_a_claim_are_found_in_order_and_not_sorted(engine: Engine, large_job: str):
    resume_everything(engine, large_job)
    analyse(engine)
    plans = plans_of(engine, lambda: take(engine, 50))
    # The one sort is that of the jobs, by chance.
    assert sum("TEMP B-TREE" in line or line.startswith("Sort Key") for line in plans) == 1, plans
    assert_only_indexes_are_used(plans)


def test_a_cancelled_job_of_many_items_costs_a_claim_nothing(engine: Engine, large_job: str):
    change_items(engine, large_job, 2, must_look=True)
    cancel_job(engine, large_job)
    plans = plans_of(engine, lambda: take(engine, 5))
    assert any("ix_items_looks" in line for line in plans), plans
    assert_only_indexes_are_used(plans)


@pytest.fixture
def many_jobs(engine: Engine, loads: Loads) -> list[str]:
    """39 jobs with 1,300 due items each."""
    jobs = [loads.job(1, start=10_000 * n) for n in range(1, 40)]
    for n, job_id in enumerate(jobs, start=1):
        grow(engine, job_id, first=10_000 * n + 1, last=10_000 * n + 1_299)
    return jobs


@pytest.mark.parametrize("is_analysed", [False, True])
def test_many_large_jobs_are_served_by_the_index_and_fairly(
    engine: Engine, many_jobs: list[str], is_analysed: bool
):
    if is_analysed:
        analyse(engine)
    plans = plans_of(engine, lambda: (count_due(engine, "instance-a", limit=250), take(engine, 100)))
    assert_only_indexes_are_used(plans)
    shares = Counter(item.job_id for item in take(engine, 100))
    assert set(shares) == set(many_jobs)
    assert set(shares.values()) <= {2, 3}


@only_postgres
def test_a_claim_over_many_jobs_takes_few_ways_to_the_server(engine: Engine, many_jobs: list[str]):
    # The time, the jobs, and twice (for the shares, and for what is left of them) a lock and a hold.
    assert len(statements_of(engine, lambda: take(engine, 100))) == 6


@only_postgres
def test_the_clocks_work_is_found_by_indexes_too(engine: Engine, large_job: str):
    take(engine, 5, claim_s=-1)
    analyse(engine)
    plans = plans_of(engine, lambda: (rescue(engine, due_in_s=0), wipe_old_secrets(engine, retention_h=72)))
    assert any("ix_items_claims" in line for line in plans), plans
    assert any("ix_items_kept_secrets" in line for line in plans), plans
    assert_only_indexes_are_used(plans)
