import pytest
from sqlalchemy import update
from sqlalchemy.exc import NoResultFound

from tests.integration.store.databases import (
    OTHER_INSTANCE,
    Loads,
    ago,
    change_items,
    change_job,
    end,
    planned,
    rows_of,
    take,
)
from worker.domain.connectors import AuthMethod, Connector
from worker.domain.options import JobOptions
from worker.domain.rows import Problem, RefusedRow, SkippedRow
from worker.domain.states import Code, JobState, Outcome, PauseReason
from worker.domain.verdicts import GiveUp, Installed, RetryAt
from worker.store.connectors import get_connector, put_release
from worker.store.job_states import cancel_job, pause_job, resume_job
from worker.store.jobs import (
    find_stored_item,
    find_unfinished_jobs,
    get_job,
    iter_results,
    list_unfinished_jobs,
    read_in_hand,
)
from worker.store.session import Engine
from worker.store.steering import retry_job
from worker.store.tables import HELD_UNTIL, job_connectors

CREATED = Installed(Outcome.CREATED, 6508, True)
REFUSED = GiveUp(Code.REFUSED, "no such thing", 400)
RETRY = RetryAt(60, Code.UNREACHABLE, "refused")


def test_the_status_says_how_a_job_stands(engine: Engine, loads: Loads):
    job_id = loads.job(6)
    first, second, third, _ = take(engine, 4)
    end(engine, (first, CREATED), (second, REFUSED), (third, RETRY))
    job = get_job(engine, job_id)
    assert (job.total, job.final, job.left, job.installed, job.failed, job.tried) == (6, 2, 4, 1, 1, 3)
    assert job.retrying == 1
    assert read_in_hand(engine, job_id).count == 1


def test_a_job_that_is_not_there_is_an_error(engine: Engine):
    with pytest.raises(NoResultFound):
        get_job(engine, "261121-bcdfgh")


def test_unfinished_jobs_are_listed_the_newest_first(engine: Engine, loads: Loads):
    old, paused, other, done = (loads.job(1, start=10 * n) for n in range(1, 5))
    loading = loads.loader().job_id
    for minutes, job_id in enumerate((loading, other, paused, old)):
        change_job(engine, job_id, created_at=ago(minutes=minutes))
    pause_job(engine, paused, PauseReason.PERSON)
    change_job(engine, done, state=JobState.COMPLETED)
    assert [job.id for job in list_unfinished_jobs(engine)] == [loading, other, paused, old]
    assert list_unfinished_jobs(engine, OTHER_INSTANCE) == []


def test_an_unfinished_job_is_found_by_its_fingerprint_and_instance(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    for state in (JobState.RUNNING, JobState.PAUSED):
        change_job(engine, job_id, state=state)
        [(found, key, options)] = find_unfinished_jobs(engine, "instance-a", ["0" * 64, "f" * 64])
        assert (found.id, key, options) == (job_id, "f" * 64, JobOptions())
    assert find_unfinished_jobs(engine, OTHER_INSTANCE, ["f" * 64]) == []
    assert find_unfinished_jobs(engine, "instance-a", ["0" * 64]) == []
    change_job(engine, job_id, state=JobState.COMPLETED)
    assert find_unfinished_jobs(engine, "instance-a", ["f" * 64]) == []


# What a person asks for


def test_only_a_running_job_is_paused(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    assert pause_job(engine, job_id, PauseReason.INTERRUPTED) is True
    assert pause_job(engine, job_id, PauseReason.PERSON) is False
    job = get_job(engine, job_id)
    assert (job.state, job.pause_reason) == (JobState.PAUSED, PauseReason.INTERRUPTED)


def test_only_a_paused_job_is_resumed(engine: Engine, loads: Loads):
    job_id = loads.job(3, first=1)
    assert resume_job(engine, job_id, first=None) is False
    assert [row.due_at == HELD_UNTIL for row in rows_of(engine, job_id)] == [False, True, True]
    assert get_job(engine, job_id).held == 2
    pause_job(engine, job_id, PauseReason.PERSON)
    assert resume_job(engine, job_id, first=None) is True
    job = get_job(engine, job_id)
    assert (job.state, job.pause_reason, job.held) == (JobState.RUNNING, None, 0)


def test_a_job_works_while_it_runs_and_rests_while_it_is_paused(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    change_job(engine, job_id, working_since=ago(seconds=100))
    pause_job(engine, job_id, PauseReason.PERSON)
    paused = get_job(engine, job_id)
    assert paused.working_since is None
    assert 100 <= paused.worked_s < 130
    resume_job(engine, job_id, first=None)
    resumed = get_job(engine, job_id)
    assert (resumed.worked_s, resumed.working_since is None) == (paused.worked_s, False)
    cancel_job(engine, job_id)
    cancelled = get_job(engine, job_id)
    assert (cancelled.working_since, cancelled.worked_s >= paused.worked_s) == (None, True)


def test_what_lies_between_an_end_and_a_retry_is_no_work(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    change_job(engine, job_id, working_since=ago(seconds=82))
    end(engine, *((item, REFUSED) for item in take(engine)))
    ended = get_job(engine, job_id)
    assert (ended.state, ended.working_since) == (JobState.COMPLETED, None)
    assert 82 <= ended.worked_s < 112
    change_job(engine, job_id, finished_at=ago(seconds=240))
    retry_job(engine, job_id)
    end(engine, *((item, CREATED) for item in take(engine)))
    again = get_job(engine, job_id)
    assert again.state is JobState.COMPLETED
    assert ended.worked_s <= again.worked_s < ended.worked_s + 30


def test_a_job_that_pauses_itself_rests(engine: Engine, loads: Loads):
    job_id = loads.job(3, first=1)
    end(engine, *((item, CREATED) for item in take(engine)))
    job = get_job(engine, job_id)
    assert (job.state, job.working_since) == (JobState.PAUSED, None)


def test_a_resume_has_the_connectors_resolved_again(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    [item] = take(engine)
    assert get_connector(engine, item.connector_id).is_stale is False
    pause_job(engine, job_id, PauseReason.PERSON)
    resume_job(engine, job_id, first=None)
    assert get_connector(engine, item.connector_id).is_stale is True


def test_a_running_or_paused_job_is_cancelled_once(engine: Engine, loads: Loads):
    job_id = loads.job(3, first=1)
    pause_job(engine, job_id, PauseReason.PERSON)
    assert cancel_job(engine, job_id) is True
    assert cancel_job(engine, job_id) is False
    job = get_job(engine, job_id)
    assert (job.state, job.pause_reason, job.held) == (JobState.CANCELLED, None, 0)
    assert resume_job(engine, job_id, first=None) is False


def test_a_completed_job_is_not_cancelled(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    end(engine, *((item, CREATED) for item in take(engine)))
    assert cancel_job(engine, job_id) is False


# Connectors


def test_a_connector_is_read_as_it_was_checked_and_takes_a_new_release(engine: Engine, loads: Loads):
    loads.job(1)
    [item] = take(engine)
    connector = get_connector(engine, item.connector_id)
    assert (connector.name, connector.version, connector.release_id) == ("Acme CRM", "1.0", 7)
    assert connector.method_id("m1") == "m1"
    put_release(engine, connector.id, 8, {"m1": "m9"})
    renewed = get_connector(engine, connector.id)
    assert (renewed.release_id, renewed.method_id("m1"), renewed.method_id(None)) == (8, "m9", None)
    assert renewed.is_stale is False


def test_a_connector_is_stale_after_a_day(engine: Engine, loads: Loads):
    loader = loads.loader()
    loader.add_connector("other", Connector(9, "Other", None, "Live", (AuthMethod("m", "Key", "ApiKey"),)))
    loader.add(planned(2, connector_key="other"), account_exists=True)
    loader.finish()
    [item] = take(engine)
    with engine.begin() as connection:
        connection.execute(
            update(job_connectors)
            .where(job_connectors.c.id == item.connector_id)
            .values(resolved_at=ago(hours=25))
        )
    connector = get_connector(engine, item.connector_id)
    assert (connector.name, connector.version, connector.is_stale) == ("Other", None, True)


# Results


def test_results_come_in_the_order_of_the_file_whatever_became_of_a_row(engine: Engine, loads: Loads):
    job_id = loads.job(
        [
            RefusedRow(2, ("a2",), (Problem(2, None, "no"),)),
            planned(3),
            SkippedRow(4, ("a4",), "251101-bcdfgh", 9),
            planned(6),
            RefusedRow(7, ("a7",), (Problem(7, None, "no"),)),
        ]
    )
    results = [(row.row_number, hasattr(row, "problems")) for row in iter_results(engine, job_id)]
    assert results == [(2, True), (3, False), (4, True), (6, False), (7, True)]


def test_results_of_many_pages_hold_every_row_once(engine: Engine, loads: Loads):
    rows = [
        planned(n) if n % 3 else RefusedRow(n, (f"a{n}",), (Problem(n, None, "no"),)) for n in range(2, 4_503)
    ]
    job_id = loads.job(rows)
    loads.job(5, start=10_000)
    assert [row.row_number for row in iter_results(engine, job_id)] == list(range(2, 4_503))


def test_one_item_is_found_by_its_row(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    change_items(engine, job_id, 3, message="hello")
    found = find_stored_item(engine, job_id, 3)
    assert found is not None
    assert found.message == "hello"
    assert find_stored_item(engine, job_id, 4) is None
    assert find_stored_item(engine, "261121-bcdfgh", 3) is None
