"""Why a job stands still, on both databases."""

from datetime import UTC, datetime, timedelta

from tests.integration.store.databases import Loads, ago, change_items, end, take
from tests.integration.store.test_cost import assert_only_indexes_are_used, grow, plans_of
from worker.domain.pace import NextStep, why_it_waits
from worker.domain.states import Code
from worker.domain.verdicts import RetryAt
from worker.store.instances import DatabaseGate, note_sighting
from worker.store.jobs import find_next_step, get_job, read_in_hand
from worker.store.session import Engine

NOTHING = NextStep(0, None, None, 0.0, is_anybody_working=False)


def said(engine: Engine, job_id: str) -> str:
    job = get_job(engine, job_id)
    return why_it_waits(job.state, find_next_step(engine, job))


def between(text: str, before: str, after: str, *seconds: int) -> bool:
    """Whether the text names one of so many seconds: the clock goes on between two questions."""
    return text in [f"{before}{second} s{after}" for second in range(*seconds)]


def test_what_is_in_hand_is_named_with_the_time_of_its_last_claim(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    take(engine, 1, claim_s=10)
    take(engine, 1, claim_s=50)
    text = said(engine, job_id)
    assert between(text, "2 rows in hand: answered, or taken back from a lost worker, within ", "", 20, 51)


def test_what_a_lost_worker_held_is_about_to_come_back(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    take(engine, claim_s=-1)
    assert said(engine, job_id) == "1 row of a lost worker, about to be taken back"


def test_the_next_retry_is_named(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    soon, late = take(engine)
    end(engine, *((item, RetryAt(s, Code.UNREACHABLE, "refused")) for item, s in ((soon, 50), (late, 300))))
    assert between(said(engine, job_id), "next try in ", "", 20, 51)


def test_a_closed_gate_goes_before_all_else(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    take(engine, 1)
    DatabaseGate(engine, "instance-a").save_gate(datetime.now(UTC) + timedelta(seconds=50))
    assert between(said(engine, job_id), "nobody calls Cyclr for another ", "", 20, 51)


def test_rows_that_nobody_takes_ask_for_a_worker(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    assert said(engine, job_id) == ""  # they are due only now
    change_items(engine, job_id, due_at=ago(seconds=30))
    assert said(engine, job_id) == (
        "rows are due and no worker takes them: is one running, for this Cyclr, and does its Redis answer?"
    )
    loads.job(1, start=100)
    [other] = [item for item in take(engine, 2) if item.job_id != job_id]
    assert other.row_number == 100
    change_items(engine, job_id, state="queued", claim_id=None, claim_until=None)
    assert said(engine, job_id) == ""  # somebody works, if not for this job


def test_a_worker_that_was_seen_is_not_said_to_be_missing(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    change_items(engine, job_id, due_at=ago(seconds=20))
    note_sighting(engine, "worker-1", "instance-a")
    assert said(engine, job_id) == ""  # it is about to take them
    change_items(engine, job_id, due_at=ago(seconds=40))
    assert said(engine, job_id) == (
        "rows are due and no worker takes them, though one is running: does its Redis answer?"
    )


def test_what_is_held_back_is_not_waited_for(engine: Engine, loads: Loads):
    job_id = loads.job(3, first=0)
    assert find_next_step(engine, get_job(engine, job_id)) == NOTHING


def test_the_question_costs_the_same_however_large_the_job_is(engine: Engine, loads: Loads):
    job_id = loads.job(1, first=1)
    grow(engine, job_id, first=3, last=20_000)
    take(engine, 5)
    job = get_job(engine, job_id)
    plans = plans_of(
        engine,
        lambda: (
            find_next_step(engine, job),
            read_in_hand(engine, job_id).count,
            read_in_hand(engine, job_id),
        ),
    )
    assert_only_indexes_are_used(plans)
    assert [line for line in plans if "uq_items_job_id_row_number" in line] == []


def test_the_last_due_row_is_the_last_of_those_that_are_not_held_back(engine: Engine, loads: Loads):
    job_id = loads.job(6, first=4)
    items = take(engine, 2)
    end(engine, *((item, RetryAt(60, Code.UNREACHABLE, "refused")) for item in items))
    step = find_next_step(engine, get_job(engine, job_id))
    assert step.due_in_s is not None
    assert step.due_in_s <= 0
    assert step.last_due_in_s is not None
    assert 30 < step.last_due_in_s <= 60
