"""The commit happened and its answer was lost: nobody is told, so the work is done again, and must change nothing more."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import OperationalError

from tests.integration.store.databases import (
    CONNECTOR,
    SEALER,
    Loads,
    assert_counters_hold,
    attempts_of,
    change_items,
    end,
    hold,
    planned,
    refused_as_live,
    rows_of,
    take,
    url_of,
)
from worker.domain.rows import Problem, RefusedRow
from worker.domain.states import Code, JobState, Outcome, PauseReason
from worker.domain.verdicts import GiveUp, Installed
from worker.store.claiming import Standing
from worker.store.instances import ensure_instance
from worker.store.job_states import cancel_job, pause_job, resume_job
from worker.store.jobs import get_job
from worker.store.loading import PIECE, Loader, NewJob
from worker.store.session import Engine, open_engine, reading
from worker.store.tables import items, job_connectors, jobs
from worker.store.upkeep import cancel_queued, rescue

CREATED = Installed(Outcome.CREATED, 6508, True)
REFUSED = GiveUp(Code.REFUSED, "no such thing", 400)


@contextmanager
def answers_of_commits_lost(engine: Engine, count: int = 1) -> Iterator[None]:
    """So many commits of work that writes come to pass, and then the connection is gone: every second from the next on."""
    left = [count]
    commits: list[int] = []

    def cut(connection) -> None:
        if connection.get_execution_options().get("reads_only"):
            return
        commits.append(1)
        if left[0] and len(commits) % 2:
            left[0] -= 1
            connection.connection.dbapi_connection.commit()
            raise OperationalError(
                "COMMIT", None, ConnectionError("the connection was cut"), connection_invalidated=True
            )

    event.listen(engine, "commit", cut)
    try:
        yield
        assert left == [0], "no commit was cut"
    finally:
        event.remove(engine, "commit", cut)


def count(engine: Engine, table) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_a_load_whose_every_commit_is_cut_holds_every_row_once_and_runs(engine: Engine, loads: Loads):
    ensure_instance(engine, "instance-a", "api.example.com")
    new_job = NewJob("file.csv", "f" * 64, ("account_id",), first=7, id="261121-bcdfgh")
    with answers_of_commits_lost(engine):
        loader = Loader(engine, SEALER, "instance-a", new_job, refuse=refused_as_live)
    with answers_of_commits_lost(engine):
        loader.add_connector("acme", CONNECTOR)
    with answers_of_commits_lost(engine):
        for number in range(2, PIECE + 2):
            loader.add(planned(number), account_exists=True)
    loader.add(RefusedRow(PIECE + 2, (), (Problem(PIECE + 2, None, "no"),)), account_exists=False)
    with answers_of_commits_lost(engine, 2):
        loader.finish()
    job = get_job(engine, "261121-bcdfgh")
    assert (job.state, job.total, job.held, job.refused) == (JobState.RUNNING, PIECE, PIECE - 7, 1)
    assert [count(engine, table) for table in (jobs, job_connectors, items)] == [1, 1, PIECE]


def test_an_instance_is_made_once(engine: Engine):
    with answers_of_commits_lost(engine):
        ensure_instance(engine, "instance-a", "api.example.com")
    ensure_instance(engine, "instance-a", "api.example.com")


def test_a_settle_counts_once(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    first, second, third = take(engine)
    with answers_of_commits_lost(engine):
        end(engine, (first, CREATED), (second, REFUSED))
    job = get_job(engine, job_id)
    assert (job.installed, job.failed, job.tried) == (1, 1, 2)
    assert len(attempts_of(engine, first.id)) == 1
    assert end(engine, (third, CREATED)) == 1
    assert get_job(engine, job_id).state is JobState.COMPLETED
    assert_counters_hold(engine)


def test_a_claim_takes_one_set_of_items(engine: Engine, loads: Loads):
    job_id = loads.job(8)
    with answers_of_commits_lost(engine):
        got = take(engine, 2)
    assert len(got) == 2
    held = {row.id: row.claim_id for row in rows_of(engine, job_id) if row.state == "running"}
    assert held == {item.id: item.claim_id for item in got}
    assert all(item.secrets == {"api_key": f"secret-{item.row_number}"} for item in got)
    # Whoever comes next has a claim of its own.
    assert len(take(engine)) == 6
    assert end(engine, *((item, CREATED) for item in got)) == 2


def test_a_claim_whose_items_were_taken_back_meanwhile_takes_others(engine: Engine, loads: Loads):
    loads.job(4)
    sweeper = open_engine(url_of(engine))
    checkouts: list[int] = []

    def take_back(*_: object) -> None:
        checkouts.append(1)
        if len(checkouts) == 2:  # the first was that of the claim whose answer is lost
            assert rescue(sweeper, due_in_s=60) == 2

    event.listen(engine, "checkout", take_back)
    with answers_of_commits_lost(engine):
        got = take(engine, 2, claim_s=-1)
    event.remove(engine, "checkout", take_back)
    sweeper.dispose()
    assert sorted(item.row_number for item in got) == [4, 5]


def test_an_item_that_is_claimed_alone_is_still_alone(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    change_items(engine, job_id, deaths=2)
    with answers_of_commits_lost(engine):
        [item] = take(engine, is_idle=True)
    assert item.is_alone
    assert [row.state for row in rows_of(engine, job_id)].count("running") == 1


def test_a_prolonged_claim_is_still_held(engine: Engine, loads: Loads):
    loads.job(1)
    [item] = take(engine)
    with answers_of_commits_lost(engine):
        assert hold(engine, item, claim_s=60) is Standing.HELD


def test_a_rescue_and_a_cancel_count_once(engine: Engine, loads: Loads):
    rescued, cancelled = loads.job(2), loads.job(2, start=100)
    take(engine, 4, claim_s=-1)
    with answers_of_commits_lost(engine):
        rescue(engine, due_in_s=0)
    assert {row.deaths for row in rows_of(engine, rescued) + rows_of(engine, cancelled)} == {1}
    job_id = loads.job(3, start=200)
    cancel_job(engine, job_id)
    with answers_of_commits_lost(engine):
        cancel_queued(engine)
    assert get_job(engine, job_id).cancelled == 3
    assert_counters_hold(engine)


@pytest.mark.parametrize("first", [None, 2_500])
def test_a_resume_lets_go_what_was_asked_for_and_no_more(engine: Engine, loads: Loads, first: int | None):
    job_id = loads.job(4_000, first=0)
    pause_job(engine, job_id, PauseReason.PERSON)
    with answers_of_commits_lost(engine, 3):
        resume_job(engine, job_id, first=first)
    job = get_job(engine, job_id)
    assert (job.state, job.held) == (JobState.RUNNING, 0 if first is None else 1_500)
    assert len(take(engine, 5_000)) == (first or 4_000)


def test_what_a_person_did_to_a_job_counts_though_the_answer_was_lost(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    with answers_of_commits_lost(engine):
        assert pause_job(engine, job_id, PauseReason.PERSON)
    assert not pause_job(engine, job_id, PauseReason.PERSON)
    with answers_of_commits_lost(engine):
        assert resume_job(engine, job_id, first=None)
    assert not resume_job(engine, job_id, first=None)
    with answers_of_commits_lost(engine):
        assert cancel_job(engine, job_id)
    assert not cancel_job(engine, job_id)
