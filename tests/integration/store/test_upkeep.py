from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Table, select, update
from structlog.testing import capture_logs

from tests.clocks import HeldClock
from tests.integration.store.databases import (
    INSTANCE,
    SEALER,
    Loads,
    ago,
    assert_counters_hold,
    change_items,
    change_job,
    end,
    planned,
    rows_of,
    settlement,
    take,
)
from worker.bootstrap.place import Database, Place
from worker.domain.states import Code, JobState, Outcome, PauseReason
from worker.domain.verdicts import GiveUp, Installed, RetryAt
from worker.settings import CyclrSettings
from worker.store.api_keys import begin_session
from worker.store.job_states import JobEnd, cancel_job, pause_job
from worker.store.jobs import get_job, list_unfinished_jobs
from worker.store.session import Engine, reading, writing
from worker.store.settling import settle
from worker.store.submissions import Request, begin_request, begin_upload, list_upload_ids
from worker.store.tables import idempotency_keys, uploads, web_sessions
from worker.store.upkeep import cancel_queued, finish_jobs, rescue, wipe_old_secrets
from worker.sweeping import LOADER_GONE_AFTER_S, SweepRules, sweep

CREATED = Installed(Outcome.CREATED, 6508, True)
UPDATED = Installed(Outcome.UPDATED, 6509, True)
REFUSED = GiveUp(Code.REFUSED, "no such thing", 400)
RETRY = RetryAt(60, Code.UNREACHABLE, "connection refused")
RULES = SweepRules(rescue_due_in_s=90, secret_retention_h=72, pause_above_percent=20)


# Rescue


def test_a_rescued_item_must_be_looked_for_and_waits_until_the_lost_call_is_over(
    engine: Engine, loads: Loads
):
    job_id = loads.job(1, no_look=True)
    take(engine, claim_s=-1)
    assert rescue(engine, due_in_s=90) == 1
    [row] = rows_of(engine, job_id)
    assert (row.state, row.claim_id, row.claim_until) == ("queued", None, None)
    assert (row.must_look, row.maybe_sent, row.deaths, row.attempts) == (True, True, 1, 0)
    assert (row.code, row.message) == ("rescued", "its worker was lost")
    assert 85 < (row.due_at - ago(seconds=0)).total_seconds() <= 90
    assert row.sealed is not None
    assert get_job(engine, job_id).tried == 0


@pytest.mark.parametrize(
    ("sent", "sent_after", "maybe_sent"),
    [
        ("nothing", None, False),
        ("account", "account", False),  # of the connector itself nothing was sent
        ("connector", "connector", True),
        ("credential", "credential", False),  # it was there before, whosever it is
        ("property", "property", False),
        ("new_property", "new_property", False),
        (None, None, True),  # a worker of the version before held it, which keeps no such note
    ],
)
def test_a_rescue_guesses_nothing_of_what_was_sent(
    engine: Engine, loads: Loads, sent: str | None, sent_after: str | None, maybe_sent: bool
):
    job_id = loads.job(1)
    take(engine, claim_s=-1)
    change_items(engine, job_id, sent=sent)
    assert rescue(engine, due_in_s=0) == 1
    [row] = rows_of(engine, job_id)
    assert (row.sent, row.maybe_sent, row.must_look) == (sent_after, maybe_sent, True)


def test_what_may_have_been_sent_before_stays_so_in_a_rescue(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    change_items(engine, job_id, must_look=True, maybe_sent=True)
    take(engine, claim_s=-1)
    assert [row.sent for row in rows_of(engine, job_id)] == ["nothing"]
    rescue(engine, due_in_s=0)
    [row] = rows_of(engine, job_id)
    assert (row.sent, row.maybe_sent, row.must_look) == (None, True, True)


def test_a_claim_that_still_holds_is_not_rescued(engine: Engine, loads: Loads):
    loads.job(2)
    take(engine, claim_s=60)
    assert rescue(engine, due_in_s=0) == 0


def test_two_deaths_bring_an_item_back_and_the_third_alone_fails_it(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    for _ in range(2):
        assert len(take(engine, is_idle=True, claim_s=-1)) == 2
        assert rescue(engine, due_in_s=0) == 2
    [alone] = take(engine, is_idle=True, claim_s=-1)
    assert alone.is_alone
    assert rescue(engine, due_in_s=0) == 1
    first, second = rows_of(engine, job_id)
    assert (first.state, first.code, first.must_look, first.deaths) == ("failed", "worker_lost", True, 3)
    assert first.message.startswith("may be installed: three workers died while they held this row")
    assert first.settled_at is not None
    assert (second.state, second.deaths) == ("queued", 2)
    job = get_job(engine, job_id)
    assert (job.failed, job.tried, job.state) == (1, 1, JobState.RUNNING)
    assert_counters_hold(engine)


def test_an_item_held_alone_that_settles_is_not_failed(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    change_items(engine, job_id, deaths=2, must_look=True)
    [alone] = take(engine, is_idle=True)
    end(engine, (alone, CREATED))
    assert rescue(engine, due_in_s=0) == 0
    assert get_job(engine, job_id).state is JobState.COMPLETED


def test_an_item_of_a_cancelled_job_is_rescued_for_its_look(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    take(engine, claim_s=-1)
    cancel_job(engine, job_id)
    rescue(engine, due_in_s=0)
    assert cancel_queued(engine) == 0
    [look] = take(engine)
    assert look.is_called_off


# After a cancel


def test_queued_items_of_a_cancelled_job_are_cancelled_unless_they_may_have_been_sent(
    engine: Engine, loads: Loads
):
    job_id, other = loads.job(4), loads.job(2, start=100)
    change_items(engine, job_id, 3, must_look=True)
    cancel_job(engine, job_id)
    assert cancel_queued(engine) == 3
    assert cancel_queued(engine) == 0
    assert [row.state for row in rows_of(engine, job_id)] == ["cancelled", "queued", "cancelled", "cancelled"]
    assert {row.message for row in rows_of(engine, job_id)} == {"cancelled; nothing was sent", None}
    assert [row.state for row in rows_of(engine, other)] == ["queued", "queued"]
    assert get_job(engine, job_id).cancelled == 3
    assert_counters_hold(engine)


def test_an_item_with_a_step_sent_or_done_is_never_cancelled(engine: Engine, loads: Loads):
    job_id = loads.job(7)
    change_items(engine, job_id, 8, sent="credential", changed=["property.Region"])
    change_items(engine, job_id, 2, account_created=True)  # by the version before, which notes no steps
    change_items(engine, job_id, 3, account_created=True, steps_done=["account"])
    change_items(engine, job_id, 4, sent="account")
    change_items(engine, job_id, 5, sent="connector")
    change_items(engine, job_id, 6, account_exists=True)
    cancel_job(engine, job_id)
    cancel_queued(engine)
    rows = rows_of(engine, job_id)
    assert [(row.state, row.must_look) for row in rows] == [
        ("failed", False),
        ("failed", False),
        ("failed", False),
        ("queued", True),  # to be looked for
        ("cancelled", False),
        ("cancelled", False),
        ("queued", True),
    ]
    done = "cancelled half way: the creation of the account was done; not installed"
    lost = "cancelled half way: the creation of the account got no clear answer; not installed"
    assert [(row.code, row.message, row.can_retry_help) for row in rows[:3]] == [
        ("incomplete", done, True),
        ("incomplete", done, True),
        ("incomplete", lost, True),
    ]
    assert (get_job(engine, job_id).failed, get_job(engine, job_id).cancelled) == (3, 2)
    assert_counters_hold(engine)


def test_a_held_item_that_may_have_been_sent_gets_its_look_after_a_cancel(engine: Engine, loads: Loads):
    rows = [planned(number, must_look=number == 4) for number in (2, 3, 4)]
    job_id = loads.job(rows, first=1)
    cancel_job(engine, job_id)
    while cancel_queued(engine):
        pass
    [look] = take(engine)
    assert (look.row_number, look.is_called_off) == (4, True)
    end(engine, (look, Installed(Outcome.ADOPTED, 6508, True)))
    job = get_job(engine, job_id)
    assert (job.cancelled, job.installed, job.held) == (2, 1, 0)
    assert job.finished_at is not None


def test_a_cancelled_job_with_nothing_in_hand_finishes(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    cancel_job(engine, job_id)
    cancel_queued(engine)
    assert finish_jobs(engine, pause_above_percent=20) == [JobEnd(job_id, JobState.CANCELLED)]
    job = get_job(engine, job_id)
    assert (job.state, job.cancelled, job.left) == (JobState.CANCELLED, 3, 0)
    assert job.finished_at is not None


# Finishing


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_job_whose_items_are_all_final_is_completed(engine: Engine, loads: Loads, is_paused: bool):
    job_id = loads.job(1)
    end(engine, *((item, CREATED) for item in take(engine)))
    change_job(engine, job_id, state=JobState.PAUSED if is_paused else JobState.RUNNING, finished_at=None)
    assert finish_jobs(engine, pause_above_percent=20) == [JobEnd(job_id, JobState.COMPLETED)]
    assert get_job(engine, job_id).state is JobState.COMPLETED
    assert finish_jobs(engine, pause_above_percent=20) == []


def test_deaths_alone_can_pause_a_job(engine: Engine, loads: Loads):
    job_id = loads.job(60)
    end(engine, *((item, CREATED) for item in take(engine, 40)))
    items = take(engine, 11, claim_s=-1)
    change_items(engine, job_id, deaths=2)
    assert rescue(engine, due_in_s=0) == len(items)
    assert finish_jobs(engine, pause_above_percent=20) == [
        JobEnd(job_id, JobState.PAUSED, PauseReason.TOO_MANY_FAILURES)
    ]
    assert get_job(engine, job_id).pause_reason is PauseReason.TOO_MANY_FAILURES
    assert_counters_hold(engine)


@pytest.mark.parametrize(("ruled", "ruled_at_start"), [(1, 0), (12, 11)])
def test_what_failed_by_a_rule_of_ours_pauses_no_job(
    engine: Engine, loads: Loads, ruled: int, ruled_at_start: int
):
    job_id = loads.job(60)
    counted = {"installed": 39, "failed": 11, "tried": 50}
    change_job(engine, job_id, **counted, ruled=ruled, ruled_at_start=ruled_at_start)
    assert finish_jobs(engine, pause_above_percent=20) == []
    change_job(engine, job_id, ruled=ruled - 1)
    assert finish_jobs(engine, pause_above_percent=20) == [
        JobEnd(job_id, JobState.PAUSED, PauseReason.TOO_MANY_FAILURES)
    ]


def test_finishing_leaves_unfinished_jobs_alone(engine: Engine, loads: Loads):
    running, paused = loads.job(2), loads.job(2, start=100)
    pause_job(engine, paused, PauseReason.PERSON)
    before = [get_job(engine, running), get_job(engine, paused)]
    assert finish_jobs(engine, pause_above_percent=20) == []
    assert [get_job(engine, running), get_job(engine, paused)] == before


# Secrets


def test_secrets_are_wiped_once_they_were_kept_long_enough(engine: Engine, loads: Loads):
    job_id = loads.job(4)
    first, second, _ = take(engine, 3)
    end(engine, (first, REFUSED), (second, REFUSED))
    change_items(engine, job_id, 2, settled_at=ago(hours=73))
    change_items(engine, job_id, 3, settled_at=ago(hours=71))
    change_items(engine, job_id, 4, settled_at=ago(hours=73))
    change_items(engine, job_id, 5, settled_at=ago(hours=73))
    assert wipe_old_secrets(engine, retention_h=72) == 1
    assert wipe_old_secrets(engine, retention_h=72) == 0
    assert [row.sealed is None for row in rows_of(engine, job_id)] == [True, False, False, False]


def test_what_was_overwritten_is_wiped_once_it_was_kept_long_enough_after_its_rows_end(
    engine: Engine, loads: Loads
):
    job_id = loads.job(4)
    items = take(engine)
    kept = [
        SEALER.seal_undo({"former": {"api_key": "old"}}, job_id=job_id, row_number=n) for n in range(2, 6)
    ]
    verdicts = (UPDATED, UPDATED, REFUSED, RETRY)
    settle(
        engine,
        [
            settlement(item, verdict, undo=undo)
            for item, verdict, undo in zip(items, verdicts, kept, strict=True)
        ],
        pause_above_percent=100,
    )
    for number, hours in ((2, 73), (3, 71), (4, 73)):
        change_items(engine, job_id, number, settled_at=ago(hours=hours))
    assert wipe_old_secrets(engine, retention_h=72) == 3  # the failed row's own values too
    assert wipe_old_secrets(engine, retention_h=72) == 0
    assert [(row.undo is None, row.sealed is None) for row in rows_of(engine, job_id)] == [
        (True, True),
        (False, True),
        (True, True),
        (False, False),
    ]


def test_secrets_of_cancelled_items_are_wiped_too(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    cancel_job(engine, job_id)
    cancel_queued(engine)
    assert wipe_old_secrets(engine, retention_h=0) == 2
    assert [row.sealed for row in rows_of(engine, job_id)] == [None, None]


# The whole sweep


def test_a_sweep_does_all_of_it_and_rings_when_something_is_due(engine: Engine, loads: Loads):
    lost = loads.job(2)
    take(engine, 1, claim_s=-1)  # before the other job is there: which of two is asked first is chance
    cancelled = loads.job(2, start=100)
    cancel_job(engine, cancelled)
    rings: list[str] = []
    change_job(engine, lost, state=JobState.RUNNING)
    with capture_logs() as logs:
        sweep(engine, INSTANCE, RULES, lambda: rings.append("ring"))
    assert rings == ["ring"]
    assert [entry["event"] for entry in logs] == ["items_rescued", "job_ended"]
    assert get_job(engine, cancelled).state is JobState.CANCELLED


def test_a_sweep_does_not_ring_when_nothing_is_due(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    change_items(engine, job_id, due_at=ago(minutes=-5))
    sweep(engine, INSTANCE, RULES, lambda: pytest.fail("nothing is due"))


def test_a_sweep_cancels_more_than_one_piece(engine: Engine, loads: Loads):
    job_id = loads.job(2_500)
    cancel_job(engine, job_id)
    sweep(engine, INSTANCE, RULES, lambda: pytest.fail("nothing is due"))
    job = get_job(engine, job_id)
    assert job.cancelled == 2_500
    assert job.finished_at is not None


def test_a_sweep_deletes_what_a_dead_loader_left(engine: Engine, loads: Loads):
    dead, alive = loads.loader(), loads.loader()
    change_job(engine, dead.job_id, loader_seen_at=ago(seconds=LOADER_GONE_AFTER_S + 1))
    with capture_logs() as logs:
        sweep(engine, INSTANCE, RULES, lambda: pytest.fail("nothing is due"))
    assert [job.id for job in list_unfinished_jobs(engine)] == [alive.job_id]
    assert logs == [{"event": "abandoned_loads_deleted", "log_level": "warning", "jobs": 1}]


def test_two_sweeps_at_once_count_everything_once(engine: Engine, loads: Loads):
    lost, alone, cancelled = loads.job(30), loads.job(10, start=100), loads.job(1_500, start=1_000)
    take(engine, 70, claim_s=-1)
    change_items(engine, alone, deaths=2)
    cancel_job(engine, cancelled)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: sweep(engine, INSTANCE, RULES, lambda: None), range(4)))
    assert {row.deaths for row in rows_of(engine, lost)} == {1}
    assert get_job(engine, alone).failed == 10
    job = get_job(engine, cancelled)
    assert job.cancelled + sum(row.state == "queued" for row in rows_of(engine, cancelled)) == 1_500
    assert_counters_hold(engine)


def test_what_can_wait_is_done_once_a_minute(engine: Engine):
    clock = HeldClock()
    place = Place(CyclrSettings(), Database(engine, SEALER, INSTANCE), None, clock=clock)
    request = Request("ada", "nightly", "hash")
    upload = begin_upload(engine, api_key_id="ada", source_name="accounts.csv")
    begin_session(engine, "ada")
    assert begin_request(engine, request).state == "new"
    change_all(engine, uploads, expires_at=ago(seconds=1))
    change_all(engine, idempotency_keys, created_at=ago(hours=24))
    change_all(engine, web_sessions, ends_at=ago(days=1))
    clock.go_on(59.0)
    place.sweep()
    assert list_upload_ids(engine) == {upload.id}
    assert count_rows(engine) == [1, 1, 1]
    clock.go_on(2.0)
    place.sweep()
    assert count_rows(engine) == [0, 0, 0]


def change_all(engine: Engine, table: Table, **values: object) -> None:
    writing(engine, lambda connection: connection.execute(update(table).values(values)))


def count_rows(engine: Engine) -> list[int]:
    with reading(engine) as connection:
        return [
            len(connection.execute(select(table)).all())
            for table in (uploads, idempotency_keys, web_sessions)
        ]
