import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from tests.integration.store.databases import (
    Loads,
    ago,
    assert_counters_hold,
    attempts_of,
    change_items,
    end,
    item_row,
    only_postgres,
    only_sqlite,
    path_of,
    rows_of,
    settlement,
    take,
)
from worker.domain.states import Code, JobState, Outcome, PauseReason
from worker.domain.verdicts import CalledOff, GiveUp, Installed, LookFirst, Released, RetryAt, Verdict
from worker.store.claiming import ClaimedItem
from worker.store.job_states import cancel_job, pause_job, resume_job
from worker.store.jobs import get_job
from worker.store.session import Engine
from worker.store.settling import settle
from worker.store.upkeep import cancel_queued, rescue

CREATED = Installed(Outcome.CREATED, 6508, True)
REFUSED = GiveUp(Code.REFUSED, "no such thing", 400)
RETRY = RetryAt(60, Code.UNREACHABLE, "connection refused")
LOOK = LookFirst(60, Code.NO_ANSWER, "the answer was cut", 502)


def one(engine: Engine, loads: Loads, **columns: Any) -> ClaimedItem:
    """The only item of a new job, claimed. `columns`: what it is to be like before."""
    job_id = loads.job(1)
    if columns:
        change_items(engine, job_id, **columns)
    [item] = take(engine, is_idle=True)
    return item


def columns_of(row: Any, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in names)


# What each verdict writes


def test_installed_is_final_and_wipes_the_secret(engine: Engine, loads: Loads):
    item = one(engine, loads, must_look=True, code="no_answer", message="x", http_status=500)
    verdict = Installed(Outcome.RECOVERED, 6508, False, ("api_key",), message="waits for the customer")
    assert end(engine, (item, verdict)) == 1
    row = item_row(engine, item.id)
    assert columns_of(row, "state", "outcome", "account_connector_id", "is_authenticated", "differs") == (
        "installed",
        "recovered",
        6508,
        False,
        ["api_key"],
    )
    assert columns_of(row, "sealed", "claim_id", "claim_until", "must_look", "code", "http_status") == (
        None,
        None,
        None,
        False,
        None,
        None,
    )
    assert columns_of(row, "attempts", "tried", "message") == (1, True, "waits for the customer")
    assert row.settled_at is not None


def test_a_retry_waits_and_leaves_the_rest_as_it_was(engine: Engine, loads: Loads):
    item = one(engine, loads)
    end(engine, (item, RETRY))
    row = item_row(engine, item.id)
    assert columns_of(
        row, "state", "claim_id", "claim_until", "must_look", "maybe_sent", "attempts", "tried"
    ) == (
        "queued",
        None,
        None,
        False,
        False,
        1,
        True,
    )
    assert columns_of(row, "code", "message", "settled_at") == ("unreachable", "connection refused", None)
    assert row.sealed is not None
    assert 50 < (row.due_at - ago(seconds=0)).total_seconds() <= 60


def test_a_retry_keeps_the_look_that_an_earlier_try_needs(engine: Engine, loads: Loads):
    item = one(engine, loads, must_look=True, maybe_sent=True)
    end(engine, (item, RETRY))
    assert columns_of(item_row(engine, item.id), "must_look", "maybe_sent") == (True, True)


def test_what_costs_no_attempt_counts_none_but_was_tried(engine: Engine, loads: Loads):
    item = one(engine, loads)
    end(engine, (item, RetryAt(1, Code.THROTTLED, "429", 429, costs_attempt=False)))
    row = item_row(engine, item.id)
    assert columns_of(row, "attempts", "tried", "http_status") == (0, True, 429)
    assert get_job(engine, item.job_id).tried == 1


def test_an_unknown_outcome_must_be_looked_for(engine: Engine, loads: Loads):
    item = one(engine, loads)
    end(engine, (item, LOOK))
    row = item_row(engine, item.id)
    assert columns_of(row, "state", "must_look", "maybe_sent", "attempts", "http_status") == (
        "queued",
        True,
        True,
        1,
        502,
    )


@pytest.mark.parametrize("before", [False, True])
def test_a_look_for_what_another_may_have_put_there_does_not_say_that_this_row_was_sent(
    engine: Engine, loads: Loads, before: bool
):
    item = one(engine, loads, maybe_sent=before)
    end(engine, (item, replace(LOOK, maybe_sent=False)))
    assert columns_of(item_row(engine, item.id), "must_look", "maybe_sent") == (True, before)


def test_a_refusal_is_final_and_clears_the_look(engine: Engine, loads: Loads):
    item = one(engine, loads, must_look=True)
    end(engine, (item, GiveUp(Code.REFUSED, "no such thing", 400, can_retry_help=True)))
    row = item_row(engine, item.id)
    assert columns_of(row, "state", "code", "message", "http_status", "can_retry_help", "must_look") == (
        "failed",
        "refused",
        "no such thing",
        400,
        True,
        False,
    )
    assert columns_of(row, "claim_id", "attempts", "tried") == (None, 1, True)
    assert row.sealed is not None
    assert row.settled_at is not None


def test_what_may_be_installed_keeps_its_look_when_it_fails(engine: Engine, loads: Loads):
    item = one(engine, loads, must_look=True, maybe_sent=True)
    end(engine, (item, GiveUp(Code.OUTCOME_UNKNOWN, "may be installed", is_absent=False)))
    assert columns_of(item_row(engine, item.id), "state", "must_look") == ("failed", True)


def test_a_called_off_item_is_cancelled(engine: Engine, loads: Loads):
    item = one(engine, loads, must_look=True)
    cancel_job(engine, item.job_id)
    end(engine, (item, CalledOff()))
    row = item_row(engine, item.id)
    assert columns_of(row, "state", "must_look", "tried") == ("cancelled", False, True)
    job = get_job(engine, item.job_id)
    assert (job.state, job.cancelled) == (JobState.CANCELLED, 1)
    assert job.finished_at is not None


def test_a_released_item_is_as_if_it_had_never_been_claimed(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    [before] = rows_of(engine, job_id)
    [item] = take(engine)
    assert end(engine, (item, Released())) == 1
    assert rows_of(engine, job_id) == [before]
    assert attempts_of(engine, item.id) == []
    assert get_job(engine, job_id).tried == 0


@pytest.mark.parametrize("verdict", [Released(), RETRY, LOOK, REFUSED, CREATED, CalledOff()])
def test_what_is_done_and_sent_is_noted_with_every_verdict(engine: Engine, loads: Loads, verdict: Verdict):
    item = one(engine, loads, account_exists=False)
    noted = {"account_exists": True, "account_created": True, "steps_done": ("account",)}
    sent = {"sent": "connector", "highest_id": 4_711}
    assert settle(engine, [settlement(item, verdict, **noted, **sent)], pause_above_percent=20) == 1
    row = item_row(engine, item.id)
    assert columns_of(row, "account_exists", "account_created", "steps_done", "sent", "seen") == (
        True,
        True,
        ["account"],
        "connector",
        {"highest_id": 4_711},
    )


@pytest.mark.parametrize(
    ("verdict", "name", "code", "status", "reason"),
    [
        (CREATED, "installed", None, None, None),
        (RETRY, "retry", "unreachable", None, "connection refused"),
        (LOOK, "look_first", "no_answer", 502, "the answer was cut"),
        (REFUSED, "give_up", "refused", 400, "no such thing"),
        (CalledOff(), "called_off", None, None, None),
    ],
)
def test_every_attempt_has_a_row_of_its_own(
    engine: Engine, loads: Loads, verdict: Verdict, name: str, code: str, status: int, reason: str
):
    item = one(engine, loads)
    end(engine, (item, verdict))
    [attempt] = attempts_of(engine, item.id)
    assert columns_of(attempt, "verdict", "code", "http_status", "reason", "call", "took_s") == (
        name,
        code,
        status,
        reason,
        "install",
        0.5,
    )
    assert attempt.started_at.isoformat() == "2026-01-02T03:04:05+00:00"


# The guard


@pytest.mark.parametrize("verdict", [CREATED, RETRY, LOOK, REFUSED, CalledOff(), Released()])
def test_a_stale_claim_changes_nothing(engine: Engine, loads: Loads, verdict: Verdict):
    job_id = loads.job(1)
    [stale] = take(engine, claim_s=-1)
    rescue(engine, due_in_s=0)
    [held] = take(engine)
    before, job_before = item_row(engine, held.id), get_job(engine, job_id)
    assert end(engine, (stale, verdict)) == 0
    assert item_row(engine, held.id) == before
    assert get_job(engine, job_id) == job_before
    assert attempts_of(engine, held.id) == []


@pytest.mark.parametrize("verdict", [CREATED, RETRY, LOOK, REFUSED, CalledOff(), Released()])
def test_a_rescued_item_that_nobody_holds_is_not_settled(engine: Engine, loads: Loads, verdict: Verdict):
    job_id = loads.job(1)
    [stale] = take(engine, claim_s=-1)
    rescue(engine, due_in_s=0)
    before, job_before = item_row(engine, stale.id), get_job(engine, job_id)
    assert end(engine, (stale, verdict)) == 0
    assert (item_row(engine, stale.id), get_job(engine, job_id)) == (before, job_before)


@pytest.mark.parametrize("verdict", [CREATED, RETRY, LOOK, REFUSED])
def test_settling_twice_counts_once(engine: Engine, loads: Loads, verdict: Verdict):
    item = one(engine, loads)
    assert end(engine, (item, verdict)) == 1
    before, job_before = item_row(engine, item.id), get_job(engine, item.job_id)
    assert end(engine, (item, verdict)) == 0
    assert (item_row(engine, item.id), get_job(engine, item.job_id)) == (before, job_before)
    assert len(attempts_of(engine, item.id)) == 1


def test_the_same_settlement_twice_in_one_group_counts_once(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    first, second = take(engine)
    assert end(engine, (first, CREATED), (second, CREATED), (first, CREATED)) == 2
    assert get_job(engine, job_id).installed == 2
    assert_counters_hold(engine)


def test_a_lost_claim_in_a_group_leaves_the_others_alone(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    [stale] = take(engine, 1, claim_s=-1)
    rescue(engine, due_in_s=3600)
    [held] = take(engine)
    assert end(engine, (stale, REFUSED), (held, CREATED)) == 1
    assert [row.state for row in rows_of(engine, job_id)] == ["queued", "installed"]
    assert_counters_hold(engine)


def test_nothing_to_settle_is_nothing(engine: Engine):
    assert settle(engine, [], pause_above_percent=20) == 0


# Counters and what follows from them


def test_counters_are_moved_with_the_items_for_every_job_of_a_group(engine: Engine, loads: Loads):
    one_job, other = loads.job(4), loads.job(3, start=100)
    items = {item.row_number: item for item in take(engine)}
    verdicts = {2: CREATED, 3: REFUSED, 4: RETRY, 5: Released(), 100: CREATED, 101: LOOK, 102: CREATED}
    assert end(engine, *((items[number], verdict) for number, verdict in verdicts.items())) == 7
    first, second = get_job(engine, one_job), get_job(engine, other)
    assert (first.installed, first.failed, first.cancelled, first.tried) == (1, 1, 0, 3)
    assert (second.installed, second.failed, second.cancelled, second.tried) == (2, 0, 0, 3)
    assert_counters_hold(engine)


def test_an_item_is_counted_as_tried_once(engine: Engine, loads: Loads):
    item = one(engine, loads)
    end(engine, (item, replace(RETRY, after_s=0)))
    [again] = take(engine)
    assert again.attempts == 1
    end(engine, (again, replace(LOOK, after_s=0)))
    [third] = take(engine)
    end(engine, (third, CREATED))
    job = get_job(engine, item.job_id)
    assert (job.tried, job.installed) == (1, 1)
    assert item_row(engine, item.id).attempts == 3
    assert_counters_hold(engine)


def test_the_last_item_completes_the_job(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    first, second = take(engine)
    end(engine, (first, CREATED))
    assert get_job(engine, job_id).state is JobState.RUNNING
    end(engine, (second, REFUSED))
    job = get_job(engine, job_id)
    assert (job.state, job.pause_reason, job.left) == (JobState.COMPLETED, None, 0)
    assert job.finished_at is not None


def test_a_paused_job_whose_last_item_settles_is_completed(engine: Engine, loads: Loads):
    item = one(engine, loads)
    pause_job(engine, item.job_id, PauseReason.PERSON)
    end(engine, (item, CREATED))
    job = get_job(engine, item.job_id)
    assert (job.state, job.pause_reason) == (JobState.COMPLETED, None)


def test_too_many_failures_pause_the_job(engine: Engine, loads: Loads):
    job_id = loads.job(80)
    items = take(engine, 50)
    end(engine, *((item, CREATED) for item in items[11:]), pause_above_percent=20)
    end(engine, *((item, REFUSED) for item in items[1:11]), pause_above_percent=20)
    assert get_job(engine, job_id).state is JobState.RUNNING
    end(engine, (items[0], REFUSED), pause_above_percent=20)
    job = get_job(engine, job_id)
    assert (job.state, job.pause_reason) == (JobState.PAUSED, PauseReason.TOO_MANY_FAILURES)


def test_what_fails_by_a_rule_is_neither_among_the_failed_nor_the_tried_of_that_share(
    engine: Engine, loads: Loads
):
    job_id = loads.job(100)
    items = take(engine, 100)
    by_a_rule = GiveUp(Code.NAME_IN_USE, "another's")
    end(engine, *((item, by_a_rule) for item in items[:40]), pause_above_percent=20)
    end(engine, *((item, CREATED) for item in items[40:78]), pause_above_percent=20)
    end(engine, *((item, REFUSED) for item in items[78:89]), pause_above_percent=20)
    assert get_job(engine, job_id).state is JobState.RUNNING  # 49 that count, 11 of them failed
    end(engine, (items[89], CREATED), pause_above_percent=20)
    assert get_job(engine, job_id).pause_reason is PauseReason.TOO_MANY_FAILURES
    assert_counters_hold(engine)


def test_the_allowed_share_of_failures_itself_does_not_pause(engine: Engine, loads: Loads):
    job_id = loads.job(80)
    items = take(engine, 50)
    end(
        engine,
        *((item, CREATED) for item in items[10:]),
        *((item, REFUSED) for item in items[:10]),
        pause_above_percent=20,
    )
    assert get_job(engine, job_id).state is JobState.RUNNING


def test_fewer_than_fifty_tried_items_pause_nothing(engine: Engine, loads: Loads):
    job_id = loads.job(80)
    end(engine, *((item, REFUSED) for item in take(engine, 49)), pause_above_percent=20)
    assert get_job(engine, job_id).state is JobState.RUNNING


def test_after_a_resume_the_share_of_failures_counts_from_there(engine: Engine, loads: Loads):
    job_id = loads.job(200)
    end(engine, *((item, REFUSED) for item in take(engine, 50)), pause_above_percent=20)
    assert resume_job(engine, job_id, first=None)
    end(engine, *((item, CREATED) for item in take(engine, 49)), pause_above_percent=20)
    end(engine, *((item, REFUSED) for item in take(engine, 10)), pause_above_percent=20)
    assert get_job(engine, job_id).state is JobState.RUNNING
    end(engine, *((item, REFUSED) for item in take(engine, 3)), pause_above_percent=20)
    assert get_job(engine, job_id).pause_reason is PauseReason.TOO_MANY_FAILURES


@pytest.mark.parametrize(
    "reason", [PauseReason.PARTNER_CREDENTIALS, PauseReason.RELEASE_CHANGED, PauseReason.WRONG_API_URL]
)
def test_a_verdict_that_says_so_pauses_the_job_at_once(engine: Engine, loads: Loads, reason: PauseReason):
    job_id = loads.job(2)
    item, other = take(engine)
    verdict = RetryAt(0, Code.REFUSED, "no", 401, costs_attempt=False, pause=reason)
    end(engine, (item, verdict), (other, verdict))
    job = get_job(engine, job_id)
    assert (job.state, job.pause_reason, job.failed) == (JobState.PAUSED, reason, 0)
    assert take(engine) == []


def test_a_pause_does_not_take_the_place_of_an_earlier_one(engine: Engine, loads: Loads):
    item = one(engine, loads)
    pause_job(engine, item.job_id, PauseReason.PERSON)
    verdict = RetryAt(0, Code.REFUSED, "no", 401, costs_attempt=False, pause=PauseReason.PARTNER_CREDENTIALS)
    end(engine, (item, verdict))
    assert get_job(engine, item.job_id).pause_reason is PauseReason.PERSON


def test_the_first_rows_pause_the_job_when_all_of_them_are_final(engine: Engine, loads: Loads):
    job_id = loads.job(5, first=2)
    first, second = take(engine)
    end(engine, (first, CREATED), (second, RetryAt(0, Code.UNREACHABLE, "refused")))
    assert get_job(engine, job_id).state is JobState.RUNNING
    [second] = take(engine)
    end(engine, (second, REFUSED))
    job = get_job(engine, job_id)
    assert (job.state, job.pause_reason, job.held) == (JobState.PAUSED, PauseReason.FIRST_ROWS, 3)


def test_an_item_in_hand_at_a_cancel_settles_and_the_job_finishes(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    first, second = take(engine, 2)
    cancel_job(engine, job_id)
    end(engine, (first, CREATED), (second, LOOK))
    assert cancel_queued(engine) == 1
    assert get_job(engine, job_id).finished_at is None
    change_items(engine, job_id, 3, due_at=item_row(engine, first.id).settled_at)
    [look] = take(engine)
    assert look.is_called_off
    end(engine, (look, CalledOff()))
    job = get_job(engine, job_id)
    assert (job.state, job.installed, job.cancelled) == (JobState.CANCELLED, 1, 2)
    assert job.finished_at is not None


# Answers that cannot be stored


def test_an_answer_that_the_driver_refuses_stands_alone_and_the_others_are_settled(
    engine: Engine, loads: Loads
):
    job_id = loads.job(9)
    items = take(engine)
    bad = GiveUp(Code.REFUSED, "half a character: \ud800", 400)
    pairs = [(item, bad if item.row_number == 6 else CREATED) for item in items]
    assert end(engine, *pairs) == 9
    rows = {row.row_number: row for row in rows_of(engine, job_id)}
    assert columns_of(rows[6], "state", "code", "message", "http_status") == (
        "failed",
        "unstorable_answer",
        "Cyclr refused, in words that could not be stored",
        400,
    )
    assert [rows[number].state for number in (2, 3, 4, 5, 7, 8, 9, 10)] == ["installed"] * 8
    assert get_job(engine, job_id).state is JobState.COMPLETED
    assert_counters_hold(engine)


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (replace(RETRY, reason="\udfff"), "queued"),
        (replace(LOOK, reason="\udfff"), "queued"),
        (replace(CREATED, message="\udfff"), "installed"),
    ],
)
def test_every_verdict_is_settled_without_the_words_that_are_refused(
    engine: Engine, loads: Loads, verdict: Verdict, state: str
):
    item = one(engine, loads)
    assert end(engine, (item, verdict)) == 1
    assert item_row(engine, item.id).state == state


def test_an_install_whose_words_are_refused_keeps_its_id(engine: Engine, loads: Loads):
    item = one(engine, loads)
    end(engine, (item, replace(CREATED, message="\udfff")))
    assert columns_of(item_row(engine, item.id), "account_connector_id", "message") == (6508, None)


def test_an_id_too_large_for_the_database_does_not_cost_the_install(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    first, second = take(engine)
    assert end(engine, (first, replace(CREATED, account_connector_id=10**30)), (second, CREATED)) == 2
    assert [(row.state, row.account_connector_id) for row in rows_of(engine, job_id)] == [
        ("installed", None),
        ("installed", 6508),
    ]
    assert_counters_hold(engine)


def test_what_can_never_be_stored_is_left_to_its_claim_and_stalls_nobody(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    items = take(engine)
    with capture_logs() as logs:
        settled = end(
            engine, (items[0], CREATED), (items[1], replace(RETRY, after_s=1e300)), (items[2], CREATED)
        )
    assert settled == 2
    assert [row.state for row in rows_of(engine, job_id)] == ["installed", "running", "installed"]
    assert logs == [
        {
            "event": "settlement_refused",
            "log_level": "error",
            "job_id": job_id,
            "row": 3,
            "error": "OverflowError",
        }
    ]
    assert_counters_hold(engine)


@only_sqlite
def test_texts_with_nul_are_stored_as_they_are_where_the_database_takes_them(engine: Engine, loads: Loads):
    item = one(engine, loads)
    assert end(engine, (item, GiveUp(Code.REFUSED, "a\x00b"))) == 1
    assert columns_of(item_row(engine, item.id), "state", "code", "message") == (
        "failed",
        "refused",
        "a\x00b",
    )


@only_postgres
def test_an_answer_with_nul_stands_alone_and_the_others_are_settled(engine: Engine, loads: Loads):
    job_id = loads.job(9)
    bad = GiveUp(Code.REFUSED, "a\x00b", 400)
    assert end(engine, *((item, bad if item.row_number == 6 else CREATED) for item in take(engine))) == 9
    codes = {row.row_number: row.code for row in rows_of(engine, job_id)}
    assert codes == {2: None, 3: None, 4: None, 5: None, 6: "unstorable_answer"} | dict.fromkeys(
        (7, 8, 9, 10)
    )
    assert get_job(engine, job_id).state is JobState.COMPLETED
    assert_counters_hold(engine)


# A database that is busy


@only_sqlite
def test_a_locked_database_is_waited_for(engine: Engine, loads: Loads):
    item = one(engine, loads)
    blocker = sqlite3.connect(path_of(engine), isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN IMMEDIATE")
    settled: list[int] = []
    thread = threading.Thread(target=lambda: settled.append(end(engine, (item, CREATED))))
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    assert settled == []
    blocker.execute("ROLLBACK")
    blocker.close()
    thread.join(20)
    assert settled == [1]


def test_settles_of_several_threads_keep_the_counters_right(engine: Engine, loads: Loads):
    jobs = [loads.job(60, start=2 + 100 * n) for n in range(2)]
    groups = [take(engine, 20) for _ in range(6)]

    def work(group: list[ClaimedItem]) -> int:
        return end(engine, *((item, CREATED if item.row_number % 3 else REFUSED) for item in group))

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(work, groups)) == [20] * 6
    assert [get_job(engine, job_id).state for job_id in jobs] == [JobState.COMPLETED] * 2
    assert_counters_hold(engine)


def test_no_error_of_the_database_shows_what_was_to_be_stored(engine: Engine):
    with engine.begin() as connection, pytest.raises(Exception, match="hide_parameters") as caught:
        connection.execute(text("INSERT INTO nowhere VALUES (:secret)"), {"secret": "secret-2"})
    assert "secret-2" not in str(caught.value)
