"""A held item, which a later version writes: all that reads states bears it, and its target is its own."""

import pytest
from sqlalchemy.exc import IntegrityError

from tests.integration.store.databases import (
    NEVER,
    SEALER,
    Loads,
    ago,
    change_items,
    change_job,
    end,
    item_row,
    planned,
    rows_of,
    set_state,
    take,
)
from worker.domain.states import Code, JobState, Outcome, PauseReason
from worker.domain.targets import KnownTarget
from worker.domain.verdicts import GiveUp, Installed
from worker.jobs.results import iter_result_file
from worker.store.claiming import count_due
from worker.store.job_states import cancel_job, pause_job, resume_job
from worker.store.jobs import get_job, iter_results
from worker.store.listing import ItemFilter, list_items
from worker.store.memory import DatabaseMemory, find_met
from worker.store.session import Engine
from worker.store.steering import Retried, WrongState, distrust, forget_job, retry_job
from worker.store.upkeep import cancel_queued, finish_jobs, rescue, wipe_old_secrets

CREATED = Installed(Outcome.CREATED, 6508, True)
REFUSED = GiveUp(Code.REFUSED, "no such thing", 400)


@pytest.fixture
def job_id(engine: Engine, loads: Loads) -> str:
    """A job of rows 2 to 4, of which row 3 is held."""
    job_id = loads.job(3)
    change_items(engine, job_id, 3, state="held", held_for="account")
    return job_id


def test_a_held_item_is_nobodys_to_claim_and_its_job_is_not_over(engine: Engine, job_id: str):
    assert count_due(engine, "instance-a", limit=9) == 2
    items = take(engine)
    assert sorted(item.row_number for item in items) == [2, 4]
    end(engine, *((item, CREATED) for item in items))
    assert rescue(engine, due_in_s=0) == 0
    assert finish_jobs(engine, pause_above_percent=NEVER) == []
    job = get_job(engine, job_id)
    assert (job.state, job.installed, job.left, job.retrying) == (JobState.RUNNING, 2, 1, 0)
    with pytest.raises(WrongState):
        forget_job(engine, job_id)


def test_a_held_item_is_listed_and_found_by_its_state(engine: Engine, job_id: str):
    assert [item.state for item in list_items(engine, job_id, ItemFilter())] == ["queued", "held", "queued"]
    assert [item.row for item in list_items(engine, job_id, ItemFilter(state="held"))] == [3]
    assert [row.row_number for row in iter_results(engine, job_id, state="held")] == [3]


def test_a_result_file_says_that_a_row_is_held(engine: Engine, job_id: str):
    header, *rows = "".join(iter_result_file(engine, job_id)).splitlines()
    at = header.split(",").index("_state")
    assert [row.split(",")[at] for row in rows] == ["queued", "held", "queued"]


def test_the_target_of_a_held_item_is_its_own(engine: Engine, loads: Loads, job_id: str):
    assert DatabaseMemory(engine, SEALER).targets(["target-3"]) == {
        "target-3": KnownTarget("live", job_id, 3)
    }
    assert find_met(engine, ["target-3"], besides="other").jobs == {"target-3": job_id}
    other = loads.job([planned(3), planned(30)])
    assert [row.row_number for row in rows_of(engine, other)] == [30]
    with pytest.raises(IntegrityError):
        change_items(engine, other, target="target-3")


def test_a_retry_leaves_a_row_whose_target_is_held_elsewhere(engine: Engine, loads: Loads):
    failed = loads.job(1, start=3)
    end(engine, *((item, REFUSED) for item in take(engine)))
    holder = loads.job(1, start=3)
    change_items(engine, holder, state="held")
    assert retry_job(engine, failed) == Retried(queued=0, wiped=0, live=1)


def test_a_pause_and_a_resume_leave_it_held(engine: Engine, job_id: str):
    assert pause_job(engine, job_id, PauseReason.PERSON)
    assert resume_job(engine, job_id, first=None)
    assert [row.state for row in rows_of(engine, job_id)] == ["queued", "held", "queued"]


@pytest.mark.parametrize(("must_look", "state", "counted"), [(False, "cancelled", 3), (True, "queued", 2)])
def test_a_cancel_ends_it_unless_it_must_be_looked_for(
    engine: Engine, job_id: str, must_look: bool, state: str, counted: int
):
    change_items(engine, job_id, 3, must_look=must_look)
    cancel_job(engine, job_id)
    assert cancel_queued(engine) == 3
    assert cancel_queued(engine) == 0
    assert [row.state for row in rows_of(engine, job_id)] == ["cancelled", state, "cancelled"]
    assert get_job(engine, job_id).cancelled == counted
    assert [item.row_number for item in take(engine)] == ([3] if must_look else [])


def test_a_held_item_is_distrusted_as_others_are(engine: Engine, job_id: str):
    assert distrust(engine) == 3
    assert [row.must_look for row in rows_of(engine, job_id)] == [True, True, True]


def test_a_held_item_keeps_its_secrets(engine: Engine, job_id: str):
    change_job(engine, job_id, created_at=ago(hours=900))
    set_state(engine, job_id, JobState.CANCELLED)
    assert wipe_old_secrets(engine, retention_h=0) == 0
    [held] = [row for row in rows_of(engine, job_id) if row.state == "held"]
    sealed = item_row(engine, held.id).sealed
    assert SEALER.open(sealed, job_id=job_id, row_number=3) == {"api_key": "secret-3"}
