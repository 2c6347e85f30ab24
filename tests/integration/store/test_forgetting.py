"""Jobs that ended long ago are deleted, piece by piece, and what they sent is remembered; on both databases."""

import sys
import threading
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import event, func, insert, inspect, select
from sqlalchemy.exc import DBAPIError

from tests.end_to_end.processes.commands import eventually
from tests.integration.store.databases import (
    INSTANCE,
    SEALER,
    Loads,
    ago,
    change_items,
    change_job,
    end,
    planned,
    rows_of,
    set_state,
    take,
    url_of,
)
from tests.started import start_process
from worker.domain.rows import Problem, RefusedRow, SkippedRow, Warning_
from worker.domain.states import Code, JobState, Outcome
from worker.domain.targets import KnownTarget
from worker.domain.verdicts import GiveUp, Installed
from worker.store import upkeep
from worker.store.instances import read_totals
from worker.store.job_states import cancel_job
from worker.store.jobs import get_job, list_unfinished_jobs
from worker.store.listing import find_job, list_job_page, list_jobs
from worker.store.memory import DatabaseMemory
from worker.store.session import Engine, reading, writing
from worker.store.steering import Retried, forget_old_jobs, retry_job
from worker.store.tables import desks, items, jobs, links, metadata, remembered_targets
from worker.store.upkeep import Deleted, cancel_queued, delete_abandoned_loads, delete_forgotten, finish_jobs
from worker.sweeping import SweepRules, sweep

INSTALLED = Installed(Outcome.CREATED, 77, True)
REFUSED = GiveUp(Code.REFUSED, "suspended", 403)
NEVER = SweepRules(rescue_due_in_s=90, secret_retention_h=72, pause_above_percent=20)
AFTER_30_DAYS = SweepRules(rescue_due_in_s=90, secret_retention_h=72, pause_above_percent=20, keep_jobs_d=30)


def ended(engine: Engine, loads: Loads, *, start: int, rows: int = 4, days_ago: float = 31) -> str:
    """A job of which the first row failed and the others are installed."""
    job_id = loads.job(rows, start=start)
    taken = take(engine, rows)
    end(engine, (taken[0], REFUSED), *((item, INSTALLED) for item in taken[1:]))
    change_job(engine, job_id, finished_at=ago(days=days_ago))
    return job_id


def of_jobs(engine: Engine, job_id: str) -> dict[str, int]:
    """Table -> how many rows of it hang on this job."""
    with reading(engine) as connection:
        return {
            table.name: count
            for table in metadata.sorted_tables
            if "job_id" in table.c
            and (
                count := connection.execute(
                    select(func.count()).select_from(table).where(table.c.job_id == job_id)
                ).scalar_one()
            )
        }


def count(engine: Engine, table: Any) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def swept(engine: Engine, rules: SweepRules = AFTER_30_DAYS) -> None:
    sweep(engine, INSTANCE, rules, lambda: None)


def test_jobs_that_ended_long_ago_are_deleted_and_others_kept(engine: Engine, loads: Loads):
    old, cancelled = ended(engine, loads, start=2), loads.job(2, start=12)
    cancel_job(engine, cancelled)
    cancel_queued(engine)
    finish_jobs(engine, pause_above_percent=100)
    change_job(engine, cancelled, finished_at=ago(days=31))
    kept = [ended(engine, loads, start=22, days_ago=29), loads.job(1, start=32), loads.job(1, start=42)]
    set_state(engine, kept[2], JobState.PAUSED)
    for job_id in kept[1:]:
        change_job(engine, job_id, created_at=ago(days=400), started_at=ago(days=400))
    swept(engine)
    assert [find_job(engine, job_id) for job_id in (old, cancelled)] == [None, None]
    assert [get_job(engine, job_id).total for job_id in kept] == [4, 1, 1]


def test_unless_it_is_set_no_job_is_ever_deleted(engine: Engine, loads: Loads):
    job_id = ended(engine, loads, start=2, days_ago=10_000)
    swept(engine, NEVER)
    assert len(rows_of(engine, job_id)) == 4


def test_all_that_hangs_on_a_job_goes_with_it(engine: Engine, loads: Loads):
    loader = loads.loader()
    loader.add(planned(2), account_exists=True)
    loader.add(planned(3), account_exists=True)
    loader.add(RefusedRow(4, ("a4", ""), (Problem(4, "account_id", "is nobody's"),)), account_exists=True)
    loader.add(SkippedRow(5, ("a5",), "251101-bcdfgh", 9), account_exists=True)
    loader.finish([Warning_(2, "colour", "is odd")], 1)
    job_id = loader.job_id
    first, second = take(engine)
    end(engine, (first, REFUSED), (second, INSTALLED))
    made = {"made_at": ago(days=40), "expires_at": ago(days=10)}
    link = {"item_id": second.id, "job_id": job_id, "row_number": 3}
    writing(engine, lambda connection: connection.execute(insert(desks).values(job_id=job_id, **made)))
    writing(engine, lambda connection: connection.execute(insert(links).values(link)))
    assert of_jobs(engine, job_id) == {
        "desks": 1,
        "failure_tallies": 1,
        "items": 2,
        "job_connectors": 1,
        "job_warnings": 1,
        "links": 1,
        "outcome_tallies": 1,
        "pace_points": 1,
        "unloaded_rows": 2,
    }
    change_job(engine, job_id, finished_at=ago(days=31))
    swept(engine)
    assert of_jobs(engine, job_id) == {}
    assert count(engine, metadata.tables["attempts"]) == 0
    assert count(engine, jobs) == 0


def test_it_goes_in_pieces_and_from_the_first_on_nobody_sees_it(
    engine: Engine, loads: Loads, monkeypatch: pytest.MonkeyPatch
):
    job_id, kept = ended(engine, loads, start=2, rows=7), ended(engine, loads, start=12, days_ago=1)
    monkeypatch.setattr(upkeep, "PIECE", 2)
    assert forget_old_jobs(engine, keep_d=30) == [job_id]
    assert delete_forgotten(engine, most_pieces=1) == Deleted(jobs=0, rows=2)
    assert [row.row_number for row in rows_of(engine, job_id)] == [4, 5, 6, 7, 8]
    assert find_job(engine, job_id) is None
    assert list_unfinished_jobs(engine) == []
    assert [job.id for job in list_jobs(engine, ended=10)] == [kept]
    assert [job.id for job in list_job_page(engine, limit=10)] == [kept]
    assert read_totals(engine, INSTANCE).jobs == {"completed": 1}
    # A load does not wait for it.
    assert delete_abandoned_loads(engine, older_than_s=0) == 0
    assert delete_forgotten(engine, most_pieces=2) == Deleted(jobs=0, rows=4)
    assert delete_forgotten(engine, most_pieces=2) == Deleted(jobs=1, rows=1)
    assert delete_forgotten(engine, most_pieces=2) == Deleted(jobs=0, rows=0)


def test_a_later_file_looks_for_what_a_deleted_job_may_have_sent(engine: Engine, loads: Loads):
    job_id = ended(engine, loads, start=2, rows=2)
    untouched = loads.job(1, start=4)
    cancel_job(engine, untouched)
    cancel_queued(engine)
    finish_jobs(engine, pause_above_percent=100)
    change_job(engine, untouched, finished_at=ago(days=31))
    sought = ["target-2", "target-3", "target-4"]
    assert {key: record.state for key, record in DatabaseMemory(engine, SEALER).targets(sought).items()} == {
        "target-2": "tried",
        "target-3": "installed",
    }
    forgotten = {key: KnownTarget("tried", "", 0) for key in ("target-2", "target-3")}
    assert sorted(forget_old_jobs(engine, keep_d=30)) == sorted([job_id, untouched])
    # While it is being deleted as well.
    assert DatabaseMemory(engine, SEALER).targets(sought) == forgotten
    swept(engine)
    assert DatabaseMemory(engine, SEALER).targets(sought) == forgotten
    again = ended(engine, loads, start=2, rows=2)
    assert DatabaseMemory(engine, SEALER).targets(["target-3"]) == {
        "target-3": KnownTarget("installed", again, 3)
    }
    swept(engine)
    assert count(engine, remembered_targets) == 2


def test_a_job_that_is_retried_at_that_moment_is_not_deleted(engine: Engine, loads: Loads):
    job_id = ended(engine, loads, start=2)
    retried: list[Retried] = []

    def retry_once(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        """After the old jobs were found, and before they are given up."""
        if "finished_at <=" in statement and "LIMIT" in statement and not retried:
            retried.append(Retried(0, 0, 0))
            retried[0] = retry_job(engine, job_id)

    event.listen(engine, "after_cursor_execute", retry_once)
    try:
        assert forget_old_jobs(engine, keep_d=30) == []
    finally:
        event.remove(engine, "after_cursor_execute", retry_once)
    assert retried == [Retried(queued=1, wiped=0, live=0)]
    swept(engine)
    job = find_job(engine, job_id)
    assert job is not None
    assert (job.state, job.total, len(rows_of(engine, job_id))) == (JobState.RUNNING, 4, 4)


def test_two_sweeps_at_once_delete_every_row_once(
    engine: Engine, loads: Loads, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(upkeep, "PIECE", 7)
    for number in range(3):
        ended(engine, loads, start=100 * number + 2, rows=60)
    kept = ended(engine, loads, start=1_000, days_ago=1)
    given_up: list[str] = []
    done: list[Deleted] = []
    begin = threading.Barrier(2)

    def work() -> None:
        begin.wait(30)
        given_up.extend(forget_old_jobs(engine, keep_d=30))
        for _ in range(200):
            done.append(delete_forgotten(engine, most_pieces=3))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sum(each.rows for each in done) == 180
    assert sum(each.jobs for each in done) == 3
    assert len(rows_of(engine, kept)) == count(engine, items) == 4


def test_a_sweep_that_is_killed_in_the_middle_is_gone_on_with(engine: Engine, loads: Loads):
    job_id = loads.job(20_000)
    over = {"state": "installed", "tried": True, "outcome": "created", "settled_at": ago(days=31)}
    change_items(engine, job_id, **over)
    change_job(
        engine,
        job_id,
        state=JobState.COMPLETED,
        installed=20_000,
        tried=20_000,
        finished_at=ago(days=31),
        working_since=None,
    )
    words = [sys.executable, "-m", "tests.integration.store.forgetter", url_of(engine)]
    with start_process(words) as sweeping:
        eventually(lambda: 0 < items_left(engine) < 20_000, "some rows are gone", every_s=0.001)
        sweeping.kill()
    assert 0 < items_left(engine) < 20_000
    assert find_job(engine, job_id) is None
    eventually(lambda: swept(engine) or count(engine, jobs) == 0, "all of it is gone")
    assert (count(engine, items), count(engine, remembered_targets)) == (0, 20_000)


def items_left(engine: Engine) -> int:
    with suppress(DBAPIError):
        return count(engine, items)
    return 0


def test_to_find_old_jobs_and_to_delete_one_goes_through_no_other_jobs_rows(engine: Engine, loads: Loads):
    indexes = {
        table: {tuple(index["column_names"]) for index in inspect(engine).get_indexes(table)}
        for table in ("jobs", "items")
    }
    assert ("finished_at",) in indexes["jobs"]
    # A foreign key leads from each item to its connector.
    assert ("connector_id",) in indexes["items"]
