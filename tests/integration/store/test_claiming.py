import threading
from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import null, select

from tests.integration.store.databases import (
    OTHER_INSTANCE,
    Loads,
    ago,
    change_items,
    change_job,
    end,
    hold,
    item_row,
    planned,
    rows_of,
    set_state,
    take,
)
from worker.clock import Clock
from worker.domain.options import JobOptions
from worker.domain.rows import NewAccount, PlannedRow
from worker.domain.states import Code, ItemState, JobState, PauseReason
from worker.domain.steps import STEPS
from worker.domain.verdicts import Released, RetryAt
from worker.operations.known import OPERATIONS
from worker.store.claiming import Hold, Standing, claim, count_due, prolong
from worker.store.job_states import cancel_job, pause_job
from worker.store.sealing import Sealer
from worker.store.session import Engine, reading
from worker.store.tables import items
from worker.store.upkeep import rescue


def with_account(row: PlannedRow, account: NewAccount) -> PlannedRow:
    return replace(row, row=replace(row.row, account=account))


def test_a_claimed_item_carries_all_that_an_attempt_needs(engine: Engine, loads: Loads):
    described = planned(14, row=replace(planned(14).row, description="for Ann"), must_look=True)
    row = with_account(described, NewAccount("Ann", "the customer", "Europe/Paris"))
    job_id = loads.job([row], no_look=True, overwrite=True)
    [item] = take(engine)
    assert (item.job_id, item.row_number, item.account_id, item.name) == (job_id, 14, "a14", "Acme")
    assert item.secrets == {"api_key": "secret-14"}
    assert item.account == NewAccount("Ann", "the customer", "Europe/Paris")
    assert (item.authentication_id, item.description) == ("m1", "for Ann")
    assert (item.notes.account_exists, item.must_look, item.maybe_sent, item.attempts) == (
        True,
        True,
        False,
        0,
    )
    assert item.options == JobOptions(no_look=True, overwrite=True)
    assert (item.is_called_off, item.is_alone) == (False, False)
    stored = item_row(engine, item.id)
    assert (stored.state, stored.claim_id) == (ItemState.RUNNING, item.claim_id)


def test_no_secret_stands_in_the_repr_of_a_claimed_item(engine: Engine, loads: Loads):
    loads.job(1)
    [item] = take(engine)
    assert "secret-2" not in repr(item)


def test_every_claim_has_an_id_of_its_own(engine: Engine, loads: Loads):
    loads.job(2)
    [first], [second] = take(engine, 1), take(engine, 1)
    assert first.claim_id != second.claim_id


def test_secrets_that_cannot_be_opened_are_none_and_the_item_is_claimed_all_the_same(
    engine: Engine, loads: Loads
):
    job_id = loads.job(3)
    change_items(engine, job_id, 3, sealed=b"k1:short")
    change_items(engine, job_id, 4, sealed=None)
    _, items = claim(
        engine,
        Sealer({"k1": b"1" * 32}),
        instance_id="instance-a",
        count=9,
        claim_s=60,
        is_idle=True,
        mark=lambda _: "connector",
        moment=Clock().moment,
    )
    assert [(item.row_number, item.secrets) for item in items] == [
        (2, {"api_key": "secret-2"}),
        (3, None),
        (4, None),
    ]


def test_each_running_job_gets_its_share(engine: Engine, loads: Loads):
    jobs = [loads.job(50, start=2 + 100 * n) for n in range(3)]
    shares = Counter(item.job_id for item in take(engine, 30))
    assert shares == {jobs[0]: 10, jobs[1]: 10, jobs[2]: 10}


def test_what_a_small_job_leaves_goes_to_the_others(engine: Engine, loads: Loads):
    small, large = loads.job(2), loads.job(50, start=100)
    assert Counter(item.job_id for item in take(engine, 30)) == {small: 2, large: 28}


def test_with_fewer_slots_than_jobs_no_job_gets_two(engine: Engine, loads: Loads):
    for n in range(5):
        loads.job(5, start=2 + 10 * n)
    assert max(Counter(item.job_id for item in take(engine, 3)).values()) == 1


def test_the_latest_due_goes_first(engine: Engine, loads: Loads):
    job_id = loads.job(4)
    change_items(engine, job_id, due_at=ago(hours=1))
    change_items(engine, job_id, 4, due_at=ago(minutes=5))
    assert [item.row_number for item in take(engine, 3)] == [4, 2, 3]


def test_what_is_not_due_yet_is_not_claimed(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    change_items(engine, job_id, 2, due_at=ago(minutes=-5))
    assert count_due(engine, "instance-a", limit=9) == 1
    assert [item.row_number for item in take(engine)] == [3]


def test_another_instances_work_is_left_alone(engine: Engine, loads: Loads):
    loads.job(3, instance_id=OTHER_INSTANCE)
    assert count_due(engine, "instance-a", limit=9) == 0
    assert take(engine, is_idle=True) == []
    assert len(take(engine, instance_id=OTHER_INSTANCE)) == 3


@pytest.mark.parametrize("state", [JobState.LOADING, JobState.PAUSED, JobState.COMPLETED, JobState.CANCELLED])
def test_only_a_running_jobs_items_are_claimed(engine: Engine, loads: Loads, state: JobState):
    set_state(engine, loads.job(3), state)
    assert count_due(engine, "instance-a", limit=9) == 0
    assert take(engine, is_idle=True) == []


def test_a_cancelled_jobs_item_that_may_have_been_sent_is_claimed_for_its_look(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    change_items(engine, job_id, 3, must_look=True)
    cancel_job(engine, job_id)
    assert count_due(engine, "instance-a", limit=9) == 1
    [item] = take(engine)
    assert (item.row_number, item.is_called_off) == (3, True)


def test_an_item_whose_workers_died_twice_is_given_alone_and_only_to_an_idle_process(
    engine: Engine, loads: Loads
):
    job_id = loads.job(4)
    change_items(engine, job_id, 3, deaths=2, must_look=True)
    assert count_due(engine, "instance-a", limit=9, is_idle=False) == 3
    assert count_due(engine, "instance-a", limit=9, is_idle=True) == 1
    assert [item.row_number for item in take(engine, 2, is_idle=False)] == [2, 4]
    [alone] = take(engine, is_idle=True)
    assert (alone.row_number, alone.is_alone) == (3, True)
    assert [item.row_number for item in take(engine, is_idle=True)] == [5]


def test_an_item_whose_worker_died_once_is_claimed_with_the_others(engine: Engine, loads: Loads):
    change_items(engine, loads.job(2), 2, deaths=1)
    assert [item.is_alone for item in take(engine)] == [False, False]


def test_a_suspicious_item_of_a_paused_job_is_left_alone(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    change_items(engine, job_id, deaths=2)
    pause_job(engine, job_id, PauseReason.PERSON)
    assert count_due(engine, "instance-a", limit=9) == 0
    assert take(engine, is_idle=True) == []


def test_the_count_of_due_items_ends_at_its_limit(engine: Engine, loads: Loads):
    loads.job(8)
    assert count_due(engine, "instance-a", limit=3) == 3


def test_two_claimers_never_get_one_item(engine: Engine, loads: Loads):
    for n in range(3):
        loads.job(40, start=2 + 100 * n)
    claimed: list[int] = []
    begin = threading.Barrier(6)

    def hammer() -> None:
        begin.wait()
        while got := take(engine, 3):
            claimed.extend(item.id for item in got)

    threads = [threading.Thread(target=hammer) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(claimed) == len(set(claimed)) == 120


def test_jobs_of_every_operation_there_is_are_claimed():
    assert set(STEPS) == set(OPERATIONS)


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.CANCELLED])
def test_what_a_later_versions_job_does_is_not_for_workers_of_this_one(
    engine: Engine, loads: Loads, state: JobState
):
    job_id = loads.job(2)
    change_job(engine, job_id, operation="remove", state=state)
    change_items(engine, job_id, must_look=True)
    change_items(engine, job_id, 3, deaths=2)
    assert count_due(engine, "instance-a", limit=9) == 0
    assert take(engine, is_idle=True) == take(engine) == []
    change_job(engine, job_id, operation="install")
    assert [item.row_number for item in take(engine, is_idle=True)] == [3]


# Prolonging


def test_a_prolonged_claim_is_held_and_lasts_longer(engine: Engine, loads: Loads):
    loads.job(1)
    [item] = take(engine, claim_s=10)
    before = item_row(engine, item.id).claim_until
    assert hold(engine, item, claim_s=100) is Standing.HELD
    assert 80 < (item_row(engine, item.id).claim_until - before).total_seconds() < 100


def test_what_is_done_for_good_is_written_and_never_taken_back(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    change_items(engine, job_id, account_exists=False)
    [item] = take(engine)
    hold(engine, item, claim_s=60, account_exists=True, account_created=True)
    hold(engine, item, claim_s=60)
    stored = item_row(engine, item.id)
    assert (stored.account_exists, stored.account_created) == (True, True)


def test_a_prolonged_claim_hears_of_a_pause_and_of_a_cancel(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    [item] = take(engine)
    pause_job(engine, job_id, PauseReason.PERSON)
    assert hold(engine, item, claim_s=60) is Standing.STOPPED
    cancel_job(engine, job_id)
    assert hold(engine, item, claim_s=60) is Standing.CALLED_OFF


def test_a_claim_that_was_rescued_is_lost_and_changes_nothing(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    change_items(engine, job_id, account_exists=False)
    [item] = take(engine, claim_s=-1)
    assert rescue(engine, due_in_s=0) == 1
    before = item_row(engine, item.id)
    assert hold(engine, item, claim_s=60, account_exists=True) is Standing.LOST
    assert item_row(engine, item.id) == before


def test_a_stale_claim_of_an_item_that_another_holds_is_lost(engine: Engine, loads: Loads):
    loads.job(1)
    [stale] = take(engine)
    end(engine, (stale, Released()))
    [held] = take(engine)
    assert hold(engine, stale, claim_s=60) is Standing.LOST
    assert hold(engine, held, claim_s=60) is Standing.HELD


def test_a_settled_claim_is_lost(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    [item] = take(engine)
    end(engine, (item, RetryAt(0, Code.UNREACHABLE, "refused")))
    assert hold(engine, item, claim_s=60) is Standing.LOST
    assert [row.state for row in rows_of(engine, job_id)] == [ItemState.QUEUED]


# What is sent is written down before


def test_a_claim_says_which_step_goes_out_without_a_look(engine: Engine, loads: Loads):
    account = NewAccount("Ann", None, None)
    rows = [planned(2), planned(3, must_look=True), planned(4), planned(5), planned(6)]
    job_id = loads.job(
        [with_account(row, account) if row.row.number in (4, 5) else row for row in rows], no_look=True
    )
    change_items(engine, job_id, 4, account_exists=False)
    change_items(engine, job_id, 6, sent="connector", seen={"highest_id": 7}, must_look=True)
    taken = sorted(take(engine), key=lambda item: item.row_number)
    assert [row.sent for row in rows_of(engine, job_id)] == [
        "connector",
        "nothing",  # it is looked for first
        "account",
        "connector",  # its account is there
        "connector",  # of an earlier attempt
    ]
    assert [item.mark for item in taken] == ["connector", "nothing", "account", "connector", "connector"]
    assert [item.notes.sent for item in taken] == [None, None, None, None, "connector"]
    assert [item.notes.highest_id for item in taken] == [None, None, None, None, 7]


def test_every_row_of_a_job_that_looks_first_is_claimed_with_nothing_sent(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    take(engine)
    assert [row.sent for row in rows_of(engine, job_id)] == ["nothing", "nothing"]


def test_a_prolonging_writes_what_may_go_out_next_and_what_was_seen_before(engine: Engine, loads: Loads):
    loads.job(3)
    first, second, third = take(engine)
    noted = [
        Hold(first, replace(first.notes, sent="connector", highest_id=7)),
        Hold(second, replace(second.notes, sent="connector", highest_id=0)),
        Hold(third, third.notes),
    ]
    prolong(engine, noted, claim_s=60, moment=Clock().moment)
    assert [
        (row.sent, row.seen) for row in (item_row(engine, item.id) for item in (first, second, third))
    ] == [
        ("connector", {"highest_id": 7}),
        ("connector", {"highest_id": 0}),
        ("nothing", None),
    ]


NOTED = {
    "before": {"api_key": "other", "property.Region": "missing"},
    "changed": ("api_key", "property.Region"),
    "shown_otherwise": ("property.Region",),
    "undo": b"sealed \x00\xff",
}


def test_what_was_changed_and_overwritten_is_written_before_the_next_call_and_claimed_again(
    engine: Engine, loads: Loads
):
    loads.job(2)
    first, second = take(engine)
    hold(engine, first, claim_s=60, **NOTED)
    hold(engine, second, claim_s=60)
    row, untouched = item_row(engine, first.id), item_row(engine, second.id)
    assert (row.seen, row.changed, row.shown_otherwise, row.undo) == (
        {"before": {"api_key": "other", "property.Region": "missing"}},
        ["api_key", "property.Region"],
        ["property.Region"],
        b"sealed \x00\xff",
    )
    with reading(engine) as connection:  # nothing, and not the null of JSON, so that no index has it
        names = ("seen", "changed", "shown_otherwise", "undo")
        is_null = select(*(items.c[name].is_(null()) for name in names)).where(items.c.id == untouched.id)
        assert tuple(connection.execute(is_null).one()) == (True, True, True, True)
    rescue(engine, due_in_s=0)
    change_items(engine, first.job_id, claim_until=ago(seconds=1))
    assert rescue(engine, due_in_s=0) == 2
    again = {item.row_number: item.notes for item in take(engine)}
    assert again[2] == replace(first.notes, **NOTED)
    assert again[3] == second.notes


def test_what_stays_as_it_was_overwritten_is_not_written_anew(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    change_items(engine, job_id, undo=b"of the old key")
    [item] = take(engine)
    change_items(engine, job_id, undo=b"of the new key")  # as a reseal does meanwhile
    hold(engine, item, claim_s=60)
    assert item_row(engine, item.id).undo == b"of the new key"
    hold(engine, item, claim_s=60, undo=b"more was overwritten")
    assert item_row(engine, item.id).undo == b"more was overwritten"
