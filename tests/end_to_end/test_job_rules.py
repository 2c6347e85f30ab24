"""What a person or a job's own rules may do to a running job: pause, cancel, stop; and claims that are lost."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from tests.end_to_end.conftest import MakeRig
from tests.end_to_end.harness import CRM, MAIL, Rig, SteppingClock, row, until
from worker.domain.states import PauseReason
from worker.simulator import faults
from worker.simulator.world import Install
from worker.store.job_states import cancel_job, pause_job, resume_job
from worker.store.steering import retry_job
from worker.store.tables import items

both_name_checks = pytest.mark.parametrize(
    "name_check", [True, False], ids=["name-check-on", "name-check-off"]
)


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def many(count: int) -> list[str]:
    return [f"account-{n:03d}" for n in range(count)]


def states(rig: Rig, accounts: list[str]) -> list[str]:
    return [rig.item(account).state for account in accounts]


def change(rig: Rig, **values: Any) -> None:
    with rig.engine.begin() as connection:
        connection.execute(update(items).values(values))


# A job pauses itself.


def test_a_job_whose_rows_fail_pauses_once_fifty_were_tried(make_rig: MakeRig) -> None:
    accounts = many(120)
    rig = make_rig(*accounts, cyclr_concurrency=10)
    rig.fault(replace(faults.refused(403, "No."), latency_s=0.1), call="install")
    job_id = rig.load(*(row(account) for account in accounts))
    job = rig.run(job_id)
    assert (job.state, job.pause_reason) == ("paused", PauseReason.TOO_MANY_FAILURES)
    assert 50 <= job.failed < 120
    rig.heal()
    assert resume_job(rig.engine, job_id, first=None)
    done = rig.run(job_id)
    assert (done.state, done.failed, done.installed) == ("completed", job.failed, 120 - job.failed)


def test_forty_nine_failures_do_not_pause_a_job(make_rig: MakeRig) -> None:
    accounts = many(49)
    rig = make_rig(*accounts, cyclr_concurrency=10)
    rig.fault(faults.refused(403, "No."), call="install")
    job = rig.run(rig.load(*(row(account) for account in accounts)))
    assert (job.state, job.failed) == ("completed", 49)


def test_the_first_rows_are_installed_and_the_rest_waits(rig: Rig) -> None:
    job_id = rig.load(*(row(account) for account in ("acme", "globex", "initech")), first=1)
    job = rig.run(job_id)
    assert (job.state, job.pause_reason, job.installed) == ("paused", PauseReason.FIRST_ROWS, 1)
    assert rig.kinds() == ["install"]
    assert resume_job(rig.engine, job_id, first=1)
    assert rig.run(job_id).installed == 2
    assert resume_job(rig.engine, job_id, first=None)
    job = rig.run(job_id)
    assert (job.state, job.installed) == ("completed", 3)


# A person pauses or cancels.


async def _while_it_runs(rig: Rig, deed: Any) -> float:
    """Do it once some installs have reached Cyclr, and let the run end. When it was committed."""
    running = asyncio.create_task(rig.new_run().run(for_s=60))
    await until(lambda: rig.kinds().count("install") >= 5)
    assert await asyncio.to_thread(deed)
    committed_at = time.time()
    await running
    return committed_at


@pytest.mark.parametrize("look_first", [False, True], ids=["install-at-once", "look-first"])
def test_no_install_starts_later_than_two_seconds_after_a_pause(make_rig: MakeRig, look_first: bool) -> None:
    accounts = many(150)
    rig = make_rig(*accounts, cyclr_calls_per_second=30, cyclr_burst=5)
    job_id = rig.load(*(row(account) for account in accounts), no_look=not look_first)
    paused_at = rig.play(_while_it_runs(rig, lambda: pause_job(rig.engine, job_id, PauseReason.PERSON)))
    installs = [call.received_at for call in rig.calls() if call.kind == "install"]
    assert max(installs) - paused_at <= 2.0
    job = rig.job(job_id)
    assert (job.state, job.installed) == ("paused", len(installs))
    assert states(rig, accounts).count("queued") == 150 - len(installs)
    assert {rig.item(account).attempts for account in accounts} == {0, 1}


@pytest.mark.parametrize("look_first", [False, True], ids=["install-at-once", "look-first"])
def test_no_install_starts_later_than_two_seconds_after_a_cancel(make_rig: MakeRig, look_first: bool) -> None:
    accounts = many(150)
    rig = make_rig(*accounts, cyclr_calls_per_second=30, cyclr_burst=5)
    job_id = rig.load(*(row(account) for account in accounts), no_look=not look_first)
    cancelled_at = rig.play(_while_it_runs(rig, lambda: cancel_job(rig.engine, job_id)))
    job = rig.run(job_id)
    installs = [call.received_at for call in rig.calls() if call.kind == "install"]
    assert max(installs) - cancelled_at <= 2.0
    assert (job.state, job.installed, job.cancelled) == ("cancelled", len(installs), 150 - len(installs))


async def _cancel_during_the_install(rig: Rig, job_id: str) -> None:
    running = asyncio.create_task(rig.new_run().run(for_s=60))
    await until(lambda: rig.kinds("acme") == ["install"])
    assert await asyncio.to_thread(cancel_job, rig.engine, job_id)
    await running


@both_name_checks
@pytest.mark.parametrize("is_applied", [True, False], ids=["applied", "not-applied"])
def test_an_install_without_an_answer_is_looked_for_after_a_cancel(rig: Rig, is_applied: bool) -> None:
    job_id = rig.load(row("acme"))
    rig.fault(faults.silence(after_effect=is_applied), call="install", account_id="acme")
    rig.play(_cancel_during_the_install(rig, job_id))
    job = rig.run(job_id)
    assert rig.kinds("acme") == ["install", "look"]
    item = rig.item("acme")
    if is_applied:
        assert (job.installed, item.outcome) == (1, "recovered")
    else:
        # It was sent, so it is not as if nothing had happened.
        message = "cancelled half way: the install got no clear answer; not installed"
        assert (job.failed, item.code, item.message) == (1, "incomplete", message)
        assert not item.must_look


def test_a_row_that_was_only_to_be_looked_for_is_cancelled_after_its_look(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    change(rig, must_look=True)
    assert cancel_job(rig.engine, job_id)
    assert rig.run(job_id).cancelled == 1
    assert rig.kinds("acme") == ["look"]
    assert rig.item("acme").message == "cancelled; a look found nothing installed"


def test_a_cancel_between_two_calls_leaves_the_row_incomplete_and_a_retry_does_the_rest(rig: Rig) -> None:
    job_id = rig.load(row("stark", account_name="Stark Industries"), row("acme"))
    rig.simulator.call(lambda world: setattr(world.faults, "latency_s", (0.3, 0.3)))

    async def cancel_during_the_first_call() -> None:
        running = asyncio.create_task(rig.new_run().run(for_s=60))
        await until(lambda: "create_account" in rig.kinds())
        assert await asyncio.to_thread(cancel_job, rig.engine, job_id)
        await running

    rig.play(cancel_during_the_first_call())
    job = rig.run(job_id)
    assert (job.state, job.failed) == ("cancelled", 1)
    item = rig.item("stark")
    assert (item.state, item.code, item.can_retry_help) == ("failed", "incomplete", True)
    assert (item.account_created, item.steps_done) == (True, ["account"])
    assert item.message == "cancelled half way: the creation of the account was done; not installed"
    assert retry_job(rig.engine, job_id).queued >= 1
    rig.run(job_id)
    assert (rig.item("stark").state, rig.kinds("stark").count("create_account")) == ("installed", 1)


def test_a_cancel_after_an_account_was_perhaps_made_says_so(make_rig: MakeRig) -> None:
    rig = make_rig(cyclr_retry_base_s=60, cyclr_settle_s=60)
    job_id = rig.load(row("stark", account_name="Stark Industries"))
    rig.fault(faults.server_error(500, after_effect=True), call="create_account", count=1)
    rig.run(job_id, until=lambda _: rig.item("stark").attempts == 1)
    assert (rig.item("stark").sent, rig.item("stark").must_look) == ("account", False)
    assert cancel_job(rig.engine, job_id)
    rig.run(job_id)
    item = rig.item("stark")
    assert (item.state, item.code) == ("failed", "incomplete")
    assert (
        item.message == "cancelled half way: the creation of the account got no clear answer; not installed"
    )


def test_what_fails_by_a_rule_pauses_no_job(make_rig: MakeRig) -> None:
    accounts = many(60)
    rig = make_rig(*accounts)
    for account in accounts:
        rig.simulator.call(
            lambda world, account=account: world.add_installed(
                account, world.find_release(CRM), Install(name=MAIL)
            )
        )
    job = rig.run(rig.load(*(row(account) for account in accounts)))
    assert (job.state, job.failed, rig.item("account-000").code) == ("completed", 60, "name_in_use")


def test_the_looks_of_a_cancelled_job_end_also_where_credentials_are_refused(make_rig: MakeRig) -> None:
    rig = make_rig(cyclr_max_attempts=2)
    job_id = rig.load(row("acme"))
    rig.fault(faults.silence(after_effect=False), call="install", account_id="acme")
    rig.play(_cancel_during_the_install(rig, job_id))
    rig.switch("reject_credentials", True)
    rig.simulator.call(lambda world: world.tokens.revoke_all())
    job = rig.run(job_id)
    assert (job.state, job.failed) == ("cancelled", 1)
    assert rig.item("acme").code == "outcome_unknown"


# The process is told to stop.


def test_a_stop_gives_back_what_was_not_sent_and_settles_what_was(make_rig: MakeRig) -> None:
    accounts = many(50)
    rig = make_rig(*accounts, cyclr_calls_per_second=30, cyclr_burst=5)
    job_id = rig.load(*(row(account) for account in accounts))
    rig.simulator.call(lambda world: setattr(world.faults, "latency_s", (0.3, 0.3)))

    async def stop_with_calls_in_flight() -> float:
        run = rig.new_run()
        running = asyncio.create_task(run.run(for_s=60))
        await until(lambda: rig.kinds().count("install") >= 5)
        run.stop()
        stopped_at = time.monotonic()
        await running
        return time.monotonic() - stopped_at

    # What a drain may take; the rows would take longer than that, one after another.
    assert rig.play(stop_with_calls_in_flight()) < rig.settings.cyclr_timeout_s + 10
    sent = rig.kinds().count("install")
    assert sent < 50
    job = rig.job(job_id)
    assert (job.installed, job.tried) == (sent, sent)
    assert states(rig, accounts).count("running") == 0
    for account in accounts:
        item = rig.item(account)
        if item.state == "queued":
            assert (item.claim_id, item.attempts, item.must_look) == (None, 0, False)
    assert rig.run(job_id).installed == 50


def test_a_stop_that_comes_with_a_claim_gives_its_items_back(rig: Rig) -> None:
    job_id = rig.load(row("acme"), row("globex"))
    run = rig.new_run()
    begin = run._begin

    def begin_and_stop(*args: Any) -> None:
        begin(*args)
        run.stop()

    run._begin = begin_and_stop  # type: ignore[method-assign]
    rig.play(asyncio.wait_for(run.run(for_s=60), 60))
    assert rig.kinds() == []
    assert states(rig, ["acme", "globex"]) == ["queued", "queued"]
    assert rig.run(job_id).installed == 2


def test_a_stop_during_a_look_at_the_catalogue_ends_the_run(rig: Rig) -> None:
    job_id = rig.load(row("acme"), row("globex"), first=1)
    rig.run(job_id)
    assert resume_job(rig.engine, job_id, first=None)
    rig.fault(faults.refused(401, "No."), call="connectors", count=1)
    rig.simulator.call(lambda world: setattr(world.faults, "latency_s", (1.0, 1.0)))

    async def stop_during_the_look() -> None:
        run = rig.new_run()
        running = asyncio.create_task(run.run(for_s=60))
        await until(lambda: "connectors" in rig.kinds())
        run.stop()
        await asyncio.wait_for(running, 60)

    rig.play(stop_during_the_look())
    assert rig.item("globex").state == "queued"
    assert rig.run(job_id).installed == 2


def test_a_stop_between_two_calls_does_not_forget_what_the_first_one_did(rig: Rig) -> None:
    job_id = rig.load(row("stark", account_name="Stark Industries"))
    rig.simulator.call(lambda world: setattr(world.faults, "latency_s", (0.3, 0.3)))

    async def stop_during_the_first_call() -> None:
        run = rig.new_run()
        running = asyncio.create_task(run.run(for_s=60))
        await until(lambda: rig.kinds() == ["create_account"])
        run.stop()
        await running

    rig.play(stop_during_the_first_call())
    item = rig.item("stark")
    assert (item.state, item.account_exists, item.account_created) == ("queued", True, True)
    assert (item.steps_done, item.tried, item.must_look) == (["account"], False, False)
    assert rig.run(job_id).installed == 1
    assert rig.kinds("stark") == ["create_account", "install"]
    assert rig.item("stark").account_created


def test_a_run_that_is_cancelled_settles_what_is_in_flight(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    rig.simulator.call(lambda world: setattr(world.faults, "latency_s", (1.0, 1.0)))

    async def cancel_with_a_call_in_flight() -> None:
        running = asyncio.create_task(rig.new_run().run(for_s=60))
        await until(lambda: rig.kinds() == ["install"])
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    rig.play(cancel_with_a_call_in_flight())
    assert (rig.job(job_id).installed, rig.item("acme").outcome) == (1, "created")


@both_name_checks
def test_a_call_that_is_torn_down_in_flight_is_not_given_back_as_unsent(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    rig.fault(faults.slow(1.5), call="install", account_id="acme", count=1)

    async def tear_down_the_call() -> None:
        run = rig.new_run()
        running = asyncio.create_task(run.run(for_s=60))
        await until(lambda: rig.kinds("acme") == ["install"])
        for hand in list(run._in_hand.values()):
            hand.task.cancel()
        await running

    rig.play(tear_down_the_call())
    assert rig.item("acme").state == "running"
    change(rig, claim_until=LONG_AGO)
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["install", "look"]
    assert rig.item("acme").outcome == "recovered"


# Claims.


def test_nothing_is_sent_under_a_claim_that_may_have_run_out(rig: Rig) -> None:
    job_id = rig.load(row("acme"), row("globex"))
    clock = SteppingClock()
    clock.ahead_s = 100.0
    rig.play(rig.new_run(clock=clock).run(for_s=100.5))
    assert rig.kinds() == []
    item = rig.item("acme")
    assert (item.state, item.claim_id, item.attempts, item.must_look) == ("queued", None, 0, False)
    assert rig.run(job_id).installed == 2


@both_name_checks
def test_an_answer_that_comes_after_a_rescue_changes_nothing(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    rig.fault(faults.slow(1.5), call="install", account_id="acme", count=1)

    async def rescue_during_the_install() -> None:
        running = asyncio.create_task(rig.new_run().run(for_s=60))
        await until(lambda: rig.kinds("acme") == ["install"])
        change(rig, claim_until=LONG_AGO)
        await asyncio.to_thread(rig.sweep)
        await running

    rig.play(rescue_during_the_install())
    item = rig.item("acme")
    assert (item.state, item.must_look, item.tried, item.attempts) == ("queued", True, False, 0)
    assert (rig.job(job_id).installed, rig.job(job_id).tried) == (0, 0)
    assert rig.verdicts("acme") == []
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["install", "look"]
    assert rig.item("acme").outcome == "recovered"


@both_name_checks
def test_a_rescued_item_that_was_never_sent_is_looked_for_and_installed(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    change(rig, state="running", claim_id="lost", claim_until=LONG_AGO)
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["look", "install"]


def test_an_item_that_killed_two_workers_is_tried_alone(make_rig: MakeRig) -> None:
    accounts = many(6)
    rig = make_rig(*accounts)
    job_id = rig.load(*(row(account) for account in accounts))
    with rig.engine.begin() as connection:
        connection.execute(update(items).where(items.c.account_id == "account-003").values(deaths=2))
    rig.simulator.call(lambda world: setattr(world.faults, "latency_s", (0.1, 0.1)))
    assert rig.run(job_id).installed == 6
    [alone] = rig.calls("account-003")
    others = [call for call in rig.calls() if call is not alone]
    overlapping = [c for c in others if c.received_at < alone.ended_at and alone.received_at < c.ended_at]
    assert overlapping == []


@both_name_checks
def test_two_runs_at_once_never_have_two_calls_for_one_target(make_rig: MakeRig) -> None:
    accounts = many(60)
    rig = make_rig(*accounts, cyclr_max_attempts=12)
    job_id = rig.load(*(row(account) for account in accounts))
    rig.fault(faults.server_error(500, after_effect=True), call="install", share=0.2, seed=3)
    rig.fault(faults.reset(), call="install", share=0.2, seed=4)
    rig.fault(faults.slow(0.1), call="install", share=0.2, seed=5)

    async def both() -> None:
        await asyncio.gather(*(rig._drive(job_id, lambda job: job.finished_at is not None) for _ in "ab"))

    rig.play(both())
    job = rig.job(job_id)
    assert (job.state, job.installed) == ("completed", 60)
    assert len(rig.ledger.effects_of("installed")) == 60


# Credentials that are gone.


def test_a_row_whose_credential_cannot_be_opened_fails_without_a_call(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    change(rig, sealed=b"k9:made with a key that is not configured")
    assert rig.run(job_id).failed == 1
    assert rig.kinds() == []
    assert rig.item("acme").code == "credential_lost"


@pytest.mark.parametrize("is_there", [True, False], ids=["there", "absent"])
def test_a_row_that_may_be_installed_is_looked_for_also_without_its_credential(
    make_rig: MakeRig, is_there: bool
) -> None:
    rig = make_rig(cyclr_settle_s=3600)
    job_id = rig.load(row("acme"))
    rig.fault(faults.server_error(500, after_effect=is_there), call="install", count=1)
    rig.run(job_id, until=lambda _: rig.item("acme").must_look)
    change(rig, sealed=None, due_at=LONG_AGO)
    rig.run(job_id)
    assert rig.kinds("acme") == ["install", "look"]
    item = rig.item("acme")
    assert (item.state, item.code) == (("installed", None) if is_there else ("failed", "credential_lost"))
