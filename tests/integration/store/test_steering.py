"""What a person may do to a job after its run, on both databases."""

from dataclasses import replace

import pytest

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
    set_state,
    settlement,
    take,
)
from worker.domain.states import Code, ItemState, JobState, Outcome, PauseReason
from worker.domain.steps import CONNECTOR, STEPS
from worker.domain.targets import KnownTarget
from worker.domain.verdicts import GiveUp, Installed
from worker.store import listing, steering
from worker.store.job_states import cancel_job, pause_job
from worker.store.jobs import get_job
from worker.store.listing import ItemFilter, find_job, iter_items, list_jobs
from worker.store.memory import DatabaseMemory
from worker.store.sealing import Sealer
from worker.store.session import Engine
from worker.store.settling import settle
from worker.store.steering import Retried, WrongState, distrust, forget_job, reseal, retry_job
from worker.store.upkeep import (
    Deleted,
    cancel_queued,
    delete_abandoned_loads,
    delete_forgotten,
    finish_jobs,
    wipe_old_secrets,
)

REFUSED = GiveUp(Code.REFUSED, "suspended", 403)
GONE = GiveUp(Code.CONNECTOR_GONE, "gone", 404)
INSTALLED = Installed(Outcome.CREATED, 77, True)
OVERWRITTEN = {"former": {"api_key": "old", "property.Region": None}, "shown": {"Id": 77}}


def ended_job(engine: Engine, loads: Loads, *, start: int = 2) -> str:
    """Rows 2 and 3 refused, row 4 gone, row 5 installed."""
    job_id = loads.job(4, start=start)
    verdicts = dict(zip(range(start, start + 4), (REFUSED, REFUSED, GONE, INSTALLED), strict=True))
    end(engine, *((item, verdicts[item.row_number]) for item in take(engine)))
    return job_id


def cancelled_job(engine: Engine, loads: Loads) -> str:
    job_id = loads.job(3)
    cancel_job(engine, job_id)
    cancel_queued(engine)
    finish_jobs(engine, pause_above_percent=100)
    return job_id


def test_failed_items_begin_anew_with_a_look_and_the_job_runs_again(engine: Engine, loads: Loads):
    job_id = ended_job(engine, loads)
    assert get_job(engine, job_id).state is JobState.COMPLETED
    assert retry_job(engine, job_id) == Retried(queued=3, wiped=0, live=0)
    job = get_job(engine, job_id)
    assert (job.state, job.finished_at, job.failed, job.installed, job.tried) == ("running", None, 0, 1, 1)
    assert_counters_hold(engine)
    anew = [
        (row.state, row.must_look, row.attempts, row.deaths, row.code, row.message, row.settled_at)
        for row in rows_of(engine, job_id)[:3]
    ]
    assert anew == [("queued", True, 0, 0, None, None, None)] * 3
    again = take(engine)
    assert [(item.row_number, item.secrets) for item in again] == [
        (number, {"api_key": f"secret-{number}"}) for number in (2, 3, 4)
    ]
    end(engine, *((item, INSTALLED) for item in again))
    assert get_job(engine, job_id).state is JobState.COMPLETED
    assert retry_job(engine, job_id) == Retried(0, 0, 0)
    assert get_job(engine, job_id).state is JobState.COMPLETED


def test_only_failed_items_with_the_codes_asked_for_are_tried_again(engine: Engine, loads: Loads):
    job_id = ended_job(engine, loads)
    assert retry_job(engine, job_id, codes=[Code.NO_ANSWER, Code.CONNECTOR_GONE]) == Retried(1, 0, 0)
    assert [row.state for row in rows_of(engine, job_id)] == ["failed", "failed", "queued", "installed"]


def test_cancelled_items_are_tried_again_once_all_of_them_are(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    cancel_job(engine, job_id)
    with pytest.raises(WrongState) as caught:
        retry_job(engine, job_id)
    assert (caught.value.state, caught.value.is_ending) == (JobState.CANCELLED, True)
    cancel_queued(engine)
    finish_jobs(engine, pause_above_percent=100)
    assert retry_job(engine, job_id) == Retried(3, 0, 0)
    assert get_job(engine, job_id).state is JobState.RUNNING
    assert_counters_hold(engine)


def test_a_paused_job_stays_paused_when_its_failed_items_are_queued(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    [first] = take(engine, 1)
    end(engine, (first, REFUSED))
    pause_job(engine, job_id, PauseReason.PERSON)
    assert retry_job(engine, job_id) == Retried(1, 0, 0)
    assert get_job(engine, job_id).state is JobState.PAUSED


def test_items_without_their_secrets_are_left_out(engine: Engine, loads: Loads):
    job_id = ended_job(engine, loads)
    change_items(engine, job_id, 2, settled_at=ago(hours=2))
    wipe_old_secrets(engine, retention_h=1)
    assert retry_job(engine, job_id) == Retried(queued=2, wiped=1, live=0)
    assert [row.state for row in rows_of(engine, job_id)] == ["failed", "queued", "queued", "installed"]


def test_what_failed_by_a_rule_is_taken_back_by_a_retry(engine: Engine, loads: Loads):
    job_id = loads.job(3)
    first, second, third = take(engine)
    by_a_rule = GiveUp(Code.NAME_IN_USE, "another's")
    end(engine, (first, by_a_rule), (second, by_a_rule), (third, REFUSED))
    assert_counters_hold(engine)
    assert retry_job(engine, job_id, row_number=2) == Retried(1, 0, 0)
    assert_counters_hold(engine)
    # Such as the version before this one has settled, which counts none of them.
    change_job(engine, job_id, ruled=0)
    assert retry_job(engine, job_id) == Retried(2, 0, 0)
    assert_counters_hold(engine)


def test_a_row_needs_its_secret_only_where_a_step_sends_it(engine: Engine, loads: Loads, monkeypatch):
    job_id = ended_job(engine, loads)
    change_items(engine, job_id, 2, sealed=None)
    removal = replace(CONNECTOR, name="remove", needs_secret=False)
    monkeypatch.setitem(STEPS, "remove", (removal,))
    change_job(engine, job_id, operation="remove")
    assert retry_job(engine, job_id) == Retried(queued=3, wiped=0, live=0)


def test_items_whose_target_is_live_in_another_job_are_left_out(engine: Engine, loads: Loads):
    job_id = ended_job(engine, loads)
    loads.job([planned(3)])
    assert retry_job(engine, job_id) == Retried(queued=2, wiped=0, live=1)
    assert_counters_hold(engine)


def test_a_long_job_is_tried_again_in_pieces(engine: Engine, loads: Loads, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(steering, "PIECE", 2)
    job_id = cancelled_job(engine, loads)
    assert retry_job(engine, job_id) == Retried(3, 0, 0)
    assert_counters_hold(engine)


def test_the_share_of_failures_counts_anew_from_a_retry(engine: Engine, loads: Loads):
    job_id = loads.job(300)
    verdicts = [INSTALLED] * 240 + [REFUSED] * 60
    end(engine, *zip(take(engine, 300), verdicts, strict=True))
    assert get_job(engine, job_id).state is JobState.COMPLETED
    assert retry_job(engine, job_id).queued == 60
    some = take(engine, 55)
    end(engine, *((item, REFUSED) for item in some), pause_above_percent=20)
    assert get_job(engine, job_id).state is JobState.PAUSED


@pytest.mark.parametrize("state", [JobState.LOADING, JobState.RUNNING, JobState.PAUSED])
def test_only_what_has_ended_is_forgotten(engine: Engine, loads: Loads, state: JobState):
    job_id = loads.job(2)
    set_state(engine, job_id, state)
    with pytest.raises(WrongState) as caught:
        forget_job(engine, job_id)
    assert caught.value.state is state
    assert len(rows_of(engine, job_id)) == 2


def test_a_cancelled_job_is_forgotten_when_all_of_its_items_are_final(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    cancel_job(engine, job_id)
    with pytest.raises(WrongState) as caught:
        forget_job(engine, job_id)
    assert caught.value.is_ending
    cancel_queued(engine)
    finish_jobs(engine, pause_above_percent=100)
    forget_job(engine, job_id)
    assert find_job(engine, job_id) is None


def test_what_is_forgotten_leaves_nothing_behind_and_others_alone(engine: Engine, loads: Loads):
    job_id, kept = ended_job(engine, loads), ended_job(engine, loads, start=12)
    forget_job(engine, job_id)
    assert rows_of(engine, job_id) == []
    assert DatabaseMemory(engine, SEALER).targets(["target-5"]) == {"target-5": KnownTarget("tried", "", 0)}
    assert len(rows_of(engine, kept)) == 4
    assert find_job(engine, job_id) is None


def test_a_forgetting_that_was_cut_off_is_finished_by_the_sweep(
    engine: Engine, loads: Loads, monkeypatch: pytest.MonkeyPatch
):
    job_id = ended_job(engine, loads)
    monkeypatch.setattr(steering, "delete_load", lambda *_: None)
    forget_job(engine, job_id)
    with pytest.raises(WrongState):
        retry_job(engine, job_id)
    assert DatabaseMemory(engine, SEALER).targets(["target-5"]) == {"target-5": KnownTarget("tried", "", 0)}
    assert delete_abandoned_loads(engine, older_than_s=0) == 0
    assert delete_forgotten(engine, most_pieces=20) == Deleted(jobs=1, rows=4)
    assert find_job(engine, job_id) is None


@pytest.mark.parametrize("do", [retry_job, forget_job])
def test_an_unknown_job_has_no_state(engine: Engine, do):
    with pytest.raises(WrongState) as caught:
        do(engine, "nobody")
    assert caught.value.state is None


def test_everything_kept_is_sealed_with_the_first_key(
    engine: Engine, loads: Loads, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(steering, "PIECE", 2)
    job_id = ended_job(engine, loads)
    new, old = {"k2": b"2" * 32}, {"k1": b"1" * 32}
    seen: list[int] = []
    assert reseal(engine, Sealer(new | old), seen.append) == (3, 0)
    assert seen == [2, 3]
    only_new = Sealer(new)
    kept = [row for row in rows_of(engine, job_id) if row.sealed is not None]
    assert [only_new.open(row.sealed, job_id=job_id, row_number=row.row_number) for row in kept] == [
        {"api_key": "secret-2"},
        {"api_key": "secret-3"},
        {"api_key": "secret-4"},
    ]
    assert reseal(engine, Sealer(new | old), seen.append) == (0, 0)
    assert reseal(engine, Sealer({"k3": b"3" * 32}), seen.append) == (0, 3)
    assert reseal(engine, SEALER, seen.append) == (0, 3)


def test_what_was_overwritten_is_sealed_with_the_first_key_too(engine: Engine, loads: Loads):
    job_id = loads.job(2)
    done, in_hand = take(engine)
    for item in (done, in_hand):
        undo = SEALER.seal_undo(OVERWRITTEN, job_id=job_id, row_number=item.row_number)
        change_items(engine, job_id, item.row_number, undo=undo)
        item.notes = replace(item.notes, undo=undo)
    end(engine, (done, Installed(Outcome.UPDATED, 77, True)))
    new, old = {"k2": b"2" * 32}, {"k1": b"1" * 32}
    assert reseal(engine, Sealer(new | old), lambda _: None) == (2, 0)
    # It is settled with what was claimed before that.
    end(engine, (in_hand, Installed(Outcome.UPDATED, 78, True)))
    opened = [
        Sealer(new).open_undo(row.undo, job_id=job_id, row_number=row.row_number)
        for row in rows_of(engine, job_id)
    ]
    assert opened == [OVERWRITTEN, OVERWRITTEN]
    assert reseal(engine, Sealer(new | old), lambda _: None) == (0, 0)
    assert reseal(engine, Sealer({"k3": b"3" * 32}), lambda _: None) == (0, 2)


def test_a_row_that_was_left_alone_begins_anew_and_keeps_what_it_has_overwritten(
    engine: Engine, loads: Loads
):
    job_id = loads.job(1)
    [item] = take(engine)
    noted = {"before": {"property.Region": "missing"}, "changed": ("property.Region",), "undo": b"sealed"}
    left_alone = GiveUp(Code.DIFFERS, "left alone", differs=("api_key",))
    settle(engine, [settlement(item, left_alone, **noted)], pause_above_percent=100)
    assert rows_of(engine, job_id)[0].differs == ["api_key"]
    assert retry_job(engine, job_id) == Retried(1, 0, 0)
    [row] = rows_of(engine, job_id)
    assert (row.state, row.must_look, row.differs, row.code) == ("queued", True, None, None)
    [again] = take(engine)
    assert again.notes == replace(item.notes, **noted)


def test_every_unfinished_item_is_looked_for_after_a_distrust(
    engine: Engine, loads: Loads, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(steering, "PIECE", 2)
    ended = ended_job(engine, loads)
    job_id = loads.job(3, start=12)
    other = loads.job(1, start=20, instance_id="instance-b")
    take(engine, 1)
    assert distrust(engine) == 4
    for each in (job_id, other):
        assert {(row.must_look, row.maybe_sent) for row in rows_of(engine, each)} == {(True, True)}
    assert {row.must_look for row in rows_of(engine, ended)} == {False}


def test_jobs_are_listed_unfinished_first_then_the_last_that_ended(engine: Engine, loads: Loads):
    oldest, newer, newest = (ended_job(engine, loads, start=start) for start in (2, 12, 22))
    open_ = loads.job(1, start=40)
    assert [job.id for job in list_jobs(engine, ended=2)] == [open_, newest, newer]
    assert oldest in [job.id for job in list_jobs(engine, ended=20)]
    assert {(job.instance_id, job.api_host) for job in list_jobs(engine, ended=2)} == {
        (INSTANCE, "api.example.com")
    }


def test_items_are_listed_in_the_order_of_the_file_as_asked_for(
    engine: Engine, loads: Loads, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listing, "PAGE", 2)
    job_id = ended_job(engine, loads)
    loads.job(1, start=40)

    def numbers(**wanted: object) -> list[int]:
        return [item.row for item in iter_items(engine, job_id, ItemFilter(**wanted))]  # type: ignore[arg-type]

    assert numbers() == [2, 3, 4, 5]
    assert numbers(state=ItemState.FAILED) == [2, 3, 4]
    assert numbers(codes=[Code.CONNECTOR_GONE]) == [4]
    assert numbers(account_id="a3") == [3]
    assert numbers(state=ItemState.INSTALLED, account_id="a3") == []
    [item] = iter_items(engine, job_id, ItemFilter(account_id="a5"))
    assert "secret-5" not in str(item)
