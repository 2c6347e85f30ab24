"""What settle counts beside the counters, on both databases."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, func, select

from tests.integration.store.databases import (
    NEVER,
    OTHER_INSTANCE,
    Loads,
    ago,
    assert_tallies_hold,
    change_items,
    change_job,
    end,
    planned,
    rows_of,
    settlement,
    take,
)
from worker.domain.states import Code, Outcome
from worker.domain.verdicts import GiveUp, Installed, Released, RetryAt
from worker.store import upkeep
from worker.store.claiming import ClaimedItem
from worker.store.job_states import cancel_job, lock_jobs
from worker.store.jobs import get_job
from worker.store.session import Engine, reading
from worker.store.settling import settle
from worker.store.steering import Retried, forget_job, retry_job
from worker.store.tables import call_tallies, failure_tallies, outcome_tallies, pace_points
from worker.store.tallies import (
    CallMade,
    CallTally,
    FailureCursor,
    FailureReason,
    OutcomeCount,
    add_outcomes,
    add_pace,
    find_failure,
    list_failures,
    list_outcomes,
    list_pace,
    read_call_tallies,
)
from worker.store.upkeep import cancel_queued, finish_jobs, name_reasons, rescue

CREATED = Installed(Outcome.CREATED, 6508, True)
REFUSED = GiveUp(Code.REFUSED, "no such thing", 400)
MEND = "Mend what the message names, then retry."
CORRECT = "Correct account_id in the result file, or fill in account_name to have the account created, and hand that in as a new job."
UNREACHABLE = GiveUp(Code.UNREACHABLE, "connection refused", can_retry_help=True)


def unknown(item: ClaimedItem) -> GiveUp:
    return GiveUp(Code.ACCOUNT_UNKNOWN, f"Cyclr has no account {item.account_id}", 404)


def fail_all(engine: Engine, loads: Loads, rows: int = 4) -> str:
    """A job whose rows from 2 on are refused, but for the last, which was not reached."""
    job_id = loads.job(rows)
    *others, last = sorted(take(engine), key=lambda item: item.row_number)
    end(engine, *((item, REFUSED) for item in others), (last, UNREACHABLE))
    return job_id


# Failures by reason


def test_failures_are_grouped_by_reason_the_largest_first(engine: Engine, loads: Loads):
    job_id = loads.job(6)
    items = take(engine)
    other = GiveUp(Code.ACCOUNT_UNKNOWN, "Cyclr has no such account", 404)
    end(engine, (items[0], other), *((item, REFUSED) for item in items[1:4]), (items[4], CREATED))
    assert list_failures(engine, job_id) == [
        FailureReason("6f53031f", "refused", 400, "no such thing", 3, False, 3, "a3", MEND),
        FailureReason(
            "55284cbe", "account_unknown", 404, "Cyclr has no such account", 1, False, 2, "a2", CORRECT
        ),
    ]
    assert len(list_failures(engine, job_id, limit=1)) == 1


def test_messages_that_differ_in_an_id_are_one_reason_whenever_they_come(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    first, second, third = take(engine)
    end(engine, (second, unknown(second)))
    assert list_failures(engine, job_id) == [
        FailureReason(
            "2ded2a88", "account_unknown", 404, "Cyclr has no account a3", 1, False, 3, "a3", CORRECT
        )
    ]
    end(engine, (first, unknown(first)))
    end(engine, (third, unknown(third)))
    assert list_failures(engine, job_id) == [
        FailureReason(
            "2ded2a88", "account_unknown", 404, "Cyclr has no account …", 3, False, 2, "a2", CORRECT
        )
    ]


def test_what_did_not_fail_is_in_no_group(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    first, second, third = take(engine)
    retry = RetryAt(60, Code.UNREACHABLE, "connection refused")
    end(engine, (first, CREATED), (second, retry), (third, Released()))
    assert list_failures(engine, job_id) == []


def test_a_lost_claim_counts_nothing(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    [item] = take(engine, claim_s=-1)
    rescue(engine, due_in_s=60)
    assert end(engine, (item, REFUSED)) == 0
    assert list_failures(engine, job_id) == []
    assert list_pace(engine, job_id) == []


def test_each_job_has_its_own_groups(engine: Engine, loads: Loads):
    one, other = loads.job(2), loads.job(1, start=100)
    end(engine, *((item, REFUSED) for item in take(engine)))
    assert [group.count for group in list_failures(engine, one)] == [2]
    assert [group.example_row for group in list_failures(engine, other)] == [100]


def test_a_row_that_kills_its_workers_is_counted_with_its_reason(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    change_items(engine, job_id, deaths=2, http_status=502)
    take(engine, is_idle=True, claim_s=-1)
    rescue(engine, due_in_s=0)
    [group] = list_failures(engine, job_id)
    assert (group.code, group.http_status, group.count, group.example_row) == ("worker_lost", None, 1, 2)
    assert [(point.installed, point.failed) for point in list_pace(engine, job_id)] == [(0, 1)]
    assert_tallies_hold(engine)


def test_each_failed_item_keeps_the_key_of_its_reason(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    items = sorted(take(engine), key=lambda item: item.row_number)
    end(engine, (items[0], REFUSED), (items[1], unknown(items[1])), (items[2], CREATED))
    assert [row.reason for row in rows_of(engine, job_id)] == ["6f53031f", "2ded2a88", None]
    retry_job(engine, job_id)
    assert [row.reason for row in rows_of(engine, job_id)] == [None, None, None]


def test_all_groups_are_listed_page_by_page_in_both_directions(engine: Engine, loads: Loads):
    job_id = loads.job(28)
    items = sorted(take(engine), key=lambda item: item.row_number)
    reasons = [chr(97 + number) for number in range(7) for _ in range(number + 1)]
    end(
        engine,
        *((item, GiveUp(Code.REFUSED, f"no {each}")) for item, each in zip(items, reasons, strict=True)),
    )
    pages, after = [], None
    while page := list_failures(engine, job_id, limit=3, after=after):
        pages.append([group.message for group in page])
        after = FailureCursor.of(page[-1])
    assert pages == [["no g", "no f", "no e"], ["no d", "no c", "no b"], ["no a"]]
    assert str(after) == "1-2"
    back = list_failures(engine, job_id, limit=3, before=FailureCursor.from_text("1-2"))
    assert [group.message for group in back] == ["no d", "no c", "no b"]
    assert list_failures(engine, job_id, before=FailureCursor.of(list_failures(engine, job_id)[0])) == []


def test_a_group_is_found_by_its_key(engine: Engine, loads: Loads):
    job_id, other = fail_all(engine, loads), loads.job(1, start=90)
    found = find_failure(engine, job_id, "6f53031f")
    assert found is not None
    assert (found.message, found.count) == ("no such thing", 3)
    assert find_failure(engine, job_id, "00000000") is None
    assert find_failure(engine, other, "6f53031f") is None


def test_a_retry_by_reason_takes_that_group_alone(engine: Engine, loads: Loads):
    job_id = fail_all(engine, loads)
    assert retry_job(engine, job_id, reason="25422e22") == Retried(1, 0, 0)
    assert [group.reason for group in list_failures(engine, job_id)] == ["6f53031f"]
    assert [row.state for row in rows_of(engine, job_id)] == ["failed", "failed", "failed", "queued"]
    assert retry_job(engine, job_id, reason="25422e22") == Retried(0, 0, 0)
    assert_tallies_hold(engine)


def test_a_retry_by_row_takes_that_row_alone(engine: Engine, loads: Loads):
    job_id = fail_all(engine, loads)
    assert retry_job(engine, job_id, row_number=3) == Retried(1, 0, 0)
    assert [row.state for row in rows_of(engine, job_id)] == ["failed", "queued", "failed", "failed"]
    [largest, _] = list_failures(engine, job_id)
    assert (largest.count, largest.example_row) == (2, 2)


def test_what_failed_without_a_key_gets_it_from_the_sweep_piece_by_piece(
    engine: Engine, loads: Loads, monkeypatch: pytest.MonkeyPatch
):
    job_id = fail_all(engine, loads)
    # As the version before this one leaves them.
    change_items(engine, job_id, reason=None)
    monkeypatch.setattr(upkeep, "PIECE", 3)
    assert [name_reasons(engine), name_reasons(engine), name_reasons(engine)] == [3, 1, 0]
    assert [row.reason for row in rows_of(engine, job_id)] == ["6f53031f"] * 3 + ["25422e22"]


def test_a_retry_takes_all_groups_back(engine: Engine, loads: Loads):
    job_id = fail_all(engine, loads)
    retry_job(engine, job_id)
    assert list_failures(engine, job_id) == []
    # And they come again.
    end(engine, *((item, REFUSED) for item in take(engine)))
    assert [group.count for group in list_failures(engine, job_id)] == [4]


def test_a_retry_by_code_leaves_the_other_groups_as_they_are(engine: Engine, loads: Loads):
    job_id = fail_all(engine, loads)
    retry_job(engine, job_id, codes=[Code.REFUSED])
    assert list_failures(engine, job_id) == [
        FailureReason(
            "25422e22",
            "unreachable",
            None,
            "connection refused",
            1,
            True,
            5,
            "a5",
            "Retry when Cyclr can be reached.",
        )
    ]


def test_a_retry_that_leaves_rows_behind_names_the_first_of_those(engine: Engine, loads: Loads):
    job_id = loads.job([planned(number, target=f"t{number}") for number in range(2, 8)])
    end(engine, *((item, unknown(item)) for item in take(engine)))
    # The secrets of two rows are wiped, and the target of another is live in a second job.
    change_items(engine, job_id, 5, sealed=None)
    change_items(engine, job_id, 6, sealed=None)
    loads.job([planned(100, target="t7")])
    retry_job(engine, job_id)
    assert list_failures(engine, job_id) == [
        FailureReason(
            "2ded2a88", "account_unknown", 404, "Cyclr has no account …", 3, False, 5, "a5", CORRECT
        )
    ]
    assert_tallies_hold(engine)


def test_a_retry_of_many_pieces_leaves_no_group_behind(engine: Engine, loads: Loads):
    job_id = loads.job(2_300)
    while items := take(engine, 500):
        end(engine, *((item, unknown(item)) for item in items))
    assert [group.count for group in list_failures(engine, job_id)] == [2_300]
    retry_job(engine, job_id)
    assert list_failures(engine, job_id) == []


def test_a_cancel_leaves_what_has_failed_before_it(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    [item] = take(engine, 1)
    end(engine, (item, REFUSED))
    cancel_job(engine, job_id)
    while cancel_queued(engine):
        pass
    assert [group.count for group in list_failures(engine, job_id)] == [1]
    assert_tallies_hold(engine)


def test_nothing_of_a_forgotten_job_is_left(engine: Engine, loads: Loads):
    job_id = fail_all(engine, loads)
    finish_jobs(engine, pause_above_percent=NEVER)
    forget_job(engine, job_id)
    with reading(engine) as connection:
        for table in (failure_tallies, pace_points):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0


def test_an_answer_that_cannot_be_stored_is_counted_without_its_text(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    first, second = take(engine)
    end(engine, (first, GiveUp(Code.REFUSED, "half a character: \ud800", 400)), (second, REFUSED))
    assert {(group.code, group.count) for group in list_failures(engine, job_id)} == {
        ("unstorable_answer", 1),
        ("refused", 1),
    }


def test_a_retry_of_what_failed_before_it_was_counted_does_no_harm(engine: Engine, loads: Loads):
    job_id = fail_all(engine, loads)
    with engine.begin() as connection:
        connection.execute(delete(failure_tallies))
    assert retry_job(engine, job_id).queued == 4
    assert list_failures(engine, job_id) == []


# Outcomes


def test_done_rows_are_counted_by_outcome(engine: Engine, loads: Loads):
    job_id, other = loads.job(5), loads.job(1, start=20)
    assert list_outcomes(engine, job_id) == []
    items = {item.row_number: item for item in take(engine)}
    adopted = Installed(Outcome.ADOPTED, 6509, True)
    end(engine, (items[2], CREATED), (items[3], CREATED), (items[20], CREATED))
    end(engine, (items[4], adopted), (items[5], REFUSED), (items[2], adopted))
    assert list_outcomes(engine, job_id) == [OutcomeCount("created", 2, {}), OutcomeCount("adopted", 1, {})]
    assert list_outcomes(engine, other) == [OutcomeCount("created", 1, {})]
    retry_job(engine, job_id)
    end(engine, *((item, CREATED) for item in take(engine)))
    assert list_outcomes(engine, job_id) == [OutcomeCount("created", 3, {}), OutcomeCount("adopted", 1, {})]


def test_changed_fields_are_counted_beside_their_outcome(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    change_job(engine, job_id, installed=4)
    with engine.begin() as connection:
        add_outcomes(connection, [(job_id, "filled_in", ["api_key", "property.Region"])])
        add_outcomes(connection, [(job_id, "filled_in", ["api_key"]), (job_id, "unchanged", [])])
        add_outcomes(connection, [(job_id, "a_later_word", [])])
    assert list_outcomes(engine, job_id) == [
        OutcomeCount("filled_in", 2, {"api_key": 2, "property.Region": 1}),
        OutcomeCount("unchanged", 1, {}),
        OutcomeCount("a_later_word", 1, {}),  # of another version
    ]


def test_outcomes_that_were_not_all_counted_are_not_told(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    first, second = take(engine)
    end(engine, (first, CREATED))
    with engine.begin() as connection:
        connection.execute(delete(outcome_tallies))  # as the version before settled it
    assert list_outcomes(engine, job_id) is None
    end(engine, (second, CREATED))
    assert list_outcomes(engine, job_id) is None
    assert list_outcomes(engine, "261130-bcdfgh") is None


# Pace


def test_the_pace_counts_what_ended_and_when(engine: Engine, loads: Loads):
    job_id = loads.job(4)
    first, second, third, _ = take(engine)
    end(engine, (first, CREATED), (second, CREATED), (third, REFUSED))
    points = list_pace(engine, job_id)
    assert sum(point.installed for point in points) == 2
    assert sum(point.failed for point in points) == 1
    assert points[0].over_s == 1
    assert abs((points[0].at - get_job(engine, job_id).created_at).total_seconds()) < 60


def test_the_points_get_wider_as_the_job_gets_older(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    begun = get_job(engine, job_id).created_at

    def end_one_each(after_s: Iterable[int]) -> None:
        with engine.begin() as connection:
            for seconds in after_s:
                ended = {job_id: Counter(installed=1)}
                add_pace(
                    connection, lock_jobs(connection, [job_id]), ended, begun + timedelta(seconds=seconds)
                )

    end_one_each(range(299))
    points = list_pace(engine, job_id)
    assert {(point.over_s, point.installed) for point in points} == {(1, 1)}
    assert len(points) == 299
    end_one_each(range(299, 5_000, 10))
    points = list_pace(engine, job_id)
    # 5,000 s in at most 300 points: of 32 s each.
    assert {point.over_s for point in points} == {32}
    assert len(points) in (156, 157, 158)
    assert sum(point.installed for point in points) == 299 + 471
    end_one_each([30 * 24 * 3600])
    points = list_pace(engine, job_id)
    # A month: points of 16,384 s.
    assert {point.over_s for point in points} == {16_384}
    assert len(points) in (2, 3)
    assert sum(point.installed for point in points) == 299 + 471 + 1


def test_the_points_of_a_job_of_any_age_are_few(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    change_job(engine, job_id, created_at=ago(days=3650))
    for item in take(engine):
        end(engine, (item, CREATED))
    assert len(list_pace(engine, job_id)) == 1


# Calls


def made(item: ClaimedItem, *calls: CallMade) -> object:
    return replace(settlement(item, CREATED), calls=calls)


def test_calls_are_counted_by_call_outcome_and_time(engine: Engine, loads: Loads):
    loads.job(3)
    first, second, third = take(engine)
    look, slow = CallMade("look", "200", 0.05), CallMade("install", "200", 31.0)
    settle(
        engine,
        [
            made(first, look, slow),
            made(second, CallMade("look", "200", 0.3), CallMade("install", "unknown", 2.0)),
        ],
        pause_above_percent=NEVER,
    )
    settle(engine, [made(third, look, look)], pause_above_percent=NEVER)
    assert read_call_tallies(engine, "instance-a") == [
        CallTally("install", "200", 1, 31.0, (0, 0, 0, 0, 0, 0, 0, 0, 0)),
        CallTally("install", "unknown", 1, 2.0, (0, 0, 0, 0, 0, 1, 1, 1, 1)),
        CallTally("look", "200", 4, 0.45, (3, 3, 3, 4, 4, 4, 4, 4, 4)),
    ]


def test_calls_of_an_attempt_that_was_given_back_count_too(engine: Engine, loads: Loads):
    loads.job(1)
    [item] = take(engine)
    given_back = replace(settlement(item, Released()), calls=(CallMade("look", "200", 0.1),))
    settle(engine, [given_back], pause_above_percent=NEVER)
    assert [tally.count for tally in read_call_tallies(engine, "instance-a")] == [1]


def test_each_instance_has_its_own_calls(engine: Engine, loads: Loads):
    loads.job(1)
    loads.job(1, start=100, instance_id=OTHER_INSTANCE)
    calls = (CallMade("install", "200", 0.1),)
    [item] = take(engine, instance_id=OTHER_INSTANCE)
    settle(engine, [made(item, *calls)], pause_above_percent=NEVER)
    assert read_call_tallies(engine, "instance-a") == []
    assert [tally.count for tally in read_call_tallies(engine, OTHER_INSTANCE)] == [1]


def test_a_settle_that_is_repeated_counts_its_calls_once(engine: Engine, loads: Loads):
    loads.job(1)
    [item] = take(engine)
    for _ in range(2):
        settle(engine, [made(item, CallMade("install", "200", 0.1))], pause_above_percent=NEVER)
    with reading(engine) as connection:
        assert connection.execute(select(call_tallies.c.calls)).scalars().all() == [1]
    assert len(rows_of(engine, item.job_id)) == 1
