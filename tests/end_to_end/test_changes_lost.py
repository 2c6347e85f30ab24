"""Calls that change what is there, and the retry table: each line of it for each of them, in one job."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from sqlalchemy import update

from tests.end_to_end.conftest import MakeRig
from tests.end_to_end.harness import MAIL, Rig, row, small_world, until
from tests.end_to_end.test_job_rules import LONG_AGO
from tests.end_to_end.test_lost_answers import APPLIED, EVERY_FAULT, NOT_APPLIED
from tests.end_to_end.there import (
    CHANGES,
    FIELDS,
    LACKING,
    LOOKS,
    changes,
    ended,
    has_another_key,
    has_another_value,
    lacks_a_key,
    load,
    of_kinds,
    put_there,
    state,
    undo_of,
)
from tests.integration.store.databases import SqliteStores
from worker.domain.states import PauseReason
from worker.simulator import faults
from worker.simulator.faults import Acts
from worker.simulator.server import SimulatorThread
from worker.store.job_states import resume_job
from worker.store.tables import items

# So many rows keep the simulator busy: an effect that is to come before a look needs more room than a settle time.
FAULTS = EVERY_FAULT | {"applied-late-after-silence": faults.late_effect(2.0)}
EVERY_CASE = [f"{call}/{fault}" for call, fault in product(LACKING, EVERY_FAULT)]
WANTED = {"api_key": "AuthValue", "property.Region": "property.Region"}
each_call = pytest.mark.parametrize("call", LACKING)


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory, databases: SqliteStores) -> Iterator[Rig]:
    """A job that met each of these faults once with each call, an account for each, and has ended."""
    # Between two faulty rows a good one: else so many failures in a row would count as an outage.
    accounts = [account for case in EVERY_CASE for account in (case, f"good-{case}")]
    with SimulatorThread(small_world(*accounts)) as simulator:
        simulator.call(lambda world: setattr(world.switches, "same_property", "duplicate"))
        engine = databases.new()
        rig = Rig(tmp_path_factory.mktemp("rig"), engine, simulator)
        rows = [LACKING[account.removeprefix("good-").split("/")[0]](rig, account) for account in accounts]
        job_id = load(rig, *rows)
        for case in EVERY_CASE:
            call, fault = case.split("/")
            rig.fault(FAULTS[fault], call=call, account_id=case, count=1)
        assert rig.run(job_id).state == "completed"
        yield rig
        rig.end()
        databases.drop(engine)


@pytest.mark.parametrize("case", EVERY_CASE)
def test_a_change_without_an_answer_is_made_once_and_counts_as_made(after: Rig, case: str) -> None:
    call, fault = case.split("/")
    field = FIELDS[call]
    assert ended(after, case) == ("installed", "filled_in", [field])
    asked = {"api_key": f"key-of-{case}-5f1c", "property.Region": "EU"}[field]
    held = state(after, case)
    assert held[WANTED[field]] == asked
    assert [name for name in held if name.startswith("property.")] == ["property.Region"]
    # A second PUT of the same value does no harm; of a second POST nobody knows.
    most = 1 if call == "add_property" or fault in NOT_APPLIED else 2
    assert 1 <= len(changes(after, case)) <= most
    assert after.item(case).attempts == 2


@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_a_property_is_looked_for_before_it_is_added_again(after: Rig, fault: str) -> None:
    kinds = after.kinds(f"add_property/{fault}")
    assert [kind for kind in kinds if kind in CHANGES] == ["add_property"] * (1 if fault in APPLIED else 2)
    assert kinds[0] in LOOKS
    assert kinds[kinds.index("add_property") + 1] in LOOKS


# What Cyclr says for sure.


@each_call
@pytest.mark.parametrize("status", [400, 403])
def test_a_refused_change_fails_its_row_in_cyclrs_words(rig: Rig, call: str, status: int) -> None:
    job_id = load(rig, LACKING[call](rig, "acme"))
    rig.fault(faults.refused(status, "It may not be that."), call=call)
    assert rig.run(job_id).failed == 1
    assert ended(rig, "acme") == ("failed", "refused", [])
    item = rig.item("acme")
    assert item.http_status == status
    assert item.message.endswith("It may not be that.")
    assert of_kinds(rig, "acme", CHANGES) == [call]


@each_call
def test_a_429_to_a_change_costs_no_attempt(rig: Rig, call: str) -> None:
    job_id = load(rig, LACKING[call](rig, "acme"))
    rig.fault(faults.throttled(0), call=call, count=1)
    assert rig.run(job_id).installed == 1
    assert ended(rig, "acme") == ("installed", "filled_in", [FIELDS[call]])
    assert rig.item("acme").attempts == 1
    assert len(changes(rig, "acme")) == 1


@each_call
@pytest.mark.parametrize("after_effect", [False, True], ids=["not-applied", "applied"])
def test_a_503_with_a_time_to_a_change_costs_no_attempt(rig: Rig, call: str, after_effect: bool) -> None:
    rig.switch("same_property", "duplicate")
    job_id = load(rig, LACKING[call](rig, "acme"))
    rig.fault(faults.busy(1, after_effect=after_effect), call=call, count=1)
    assert rig.run(job_id).installed == 1
    assert ended(rig, "acme") == ("installed", "filled_in", [FIELDS[call]])
    assert rig.item("acme").attempts == 1
    assert len(changes(rig, "acme")) == 1 or (after_effect and call != "add_property")


@each_call
def test_a_change_that_needs_a_new_token_gets_one(rig: Rig, call: str) -> None:
    job_id = load(rig, LACKING[call](rig, "acme"))
    rig.fault(faults.refused(401, "Denied."), call=call, count=1)
    rig.fault(faults.refused(401, "Denied."), call="account", count=1)
    assert rig.run(job_id).installed == 1
    assert ended(rig, "acme") == ("installed", "filled_in", [FIELDS[call]])
    assert len(changes(rig, "acme")) == 1


@each_call
def test_a_change_in_an_account_that_is_gone_fails_its_row(rig: Rig, call: str) -> None:
    job_id = load(rig, LACKING[call](rig, "acme"))
    rig.fault(faults.refused(401, "Denied."), call=call)
    rig.fault(faults.refused(404, "Gone."), call="account", account_id="acme")
    assert rig.run(job_id).failed == 1
    assert ended(rig, "acme") == ("failed", "account_unknown", [])


@each_call
def test_a_change_that_the_account_refuses_fails_its_row(rig: Rig, call: str) -> None:
    job_id = load(rig, LACKING[call](rig, "acme"))
    rig.fault(faults.refused(401, "Denied."), call=call)
    assert rig.run(job_id).failed == 1
    assert ended(rig, "acme") == ("failed", "account_refused", [])


@each_call
def test_what_is_not_found_when_it_is_to_be_changed_is_looked_for_again(rig: Rig, call: str) -> None:
    job_id = load(rig, LACKING[call](rig, "acme"))
    rig.fault(faults.refused(404, "Not found."), call=call, count=1)
    assert rig.run(job_id).installed == 1
    assert ended(rig, "acme") == ("installed", "filled_in", [FIELDS[call]])
    kinds = rig.kinds("acme")
    first = kinds.index(call)
    assert [kind for kind in kinds[first + 1 :] if kind in LOOKS]
    assert len(changes(rig, "acme")) == 1


@each_call
def test_what_was_removed_before_it_is_changed_is_installed(rig: Rig, call: str) -> None:
    """By an admin, between the look and the change: the row asks that it be there."""
    job_id = load(rig, LACKING[call](rig, "acme"))
    rig.fault(replace(faults.refused(404, "Not found."), latency_s=0.2), call=call, count=1)

    async def remove_before_the_change() -> None:
        running = asyncio.create_task(rig.new_run().run(for_s=60))
        await until(lambda: call in rig.kinds("acme"))
        rig.simulator.call(remove_all)
        await running

    rig.play(remove_before_the_change())
    assert rig.run(job_id).installed == 1
    assert ended(rig, "acme")[:2] == ("installed", "created")
    assert rig.installs("acme") == 1
    assert state(rig, "acme")["property.Region"] == "EU"


def remove_all(world: Any) -> None:
    account = world.get_account("acme")
    with world.acting("admin"):
        for connector in list(account.connectors.values()):
            world.remove(account, connector)


@each_call
@pytest.mark.parametrize("acts", [Acts.NEVER, Acts.FIRST], ids=["not-applied", "applied"])
def test_a_redirect_of_a_change_pauses_the_job_and_fails_no_row(rig: Rig, call: str, acts: Acts) -> None:
    rig.switch("same_property", "duplicate")
    job_id = load(rig, LACKING[call](rig, "acme"))
    rig.fault(replace(faults.redirected("https://login.example.com/"), acts=acts), call=call)
    job = rig.run(job_id)
    assert (job.state, job.pause_reason, job.failed) == ("paused", PauseReason.WRONG_API_URL, 0)
    rig.heal()
    assert resume_job(rig.engine, job_id, first=None)
    assert rig.run(job_id).installed == 1
    assert ended(rig, "acme") == ("installed", "filled_in", [FIELDS[call]])
    assert len(changes(rig, "acme")) == 1 or (acts is Acts.FIRST and call != "add_property")


@each_call
def test_a_change_that_could_not_be_sent_is_made_later(make_rig: MakeRig, call: str) -> None:
    rig = make_rig(cyclr_calls_per_second=1, cyclr_burst=1, cyclr_max_attempts=50)
    job_id = load(rig, LACKING[call](rig, "acme"))

    async def refuse_connections() -> None:
        running = asyncio.create_task(rig.new_run().run(for_s=60))
        await until(lambda: of_kinds(rig, "acme", LOOKS) != [])
        await asyncio.to_thread(rig.simulator.stop)
        await until(lambda: rig.item("acme").attempts or rig.item("acme").code or running.done())
        await asyncio.to_thread(rig.simulator.start)
        await running

    rig.play(refuse_connections())
    assert rig.run(job_id).installed == 1
    assert ended(rig, "acme") == ("installed", "filled_in", [FIELDS[call]])
    assert len(changes(rig, "acme")) == 1


# Where looks fail.


@each_call
def test_a_change_whose_looks_all_fail_may_have_been_made_and_says_which(
    make_rig: MakeRig, call: str
) -> None:
    rig = make_rig(cyclr_max_attempts=2)
    job_id = load(rig, LACKING[call](rig, "acme"), row("globex"))
    rig.fault(faults.silence(after_effect=True), call=call, account_id="acme", count=1)

    async def lose_it_and_the_looks() -> None:
        running = asyncio.create_task(rig.new_run().run(for_s=60))
        await until(lambda: call in rig.kinds("acme"))
        for kind in LOOKS:
            rig.fault(faults.server_error(500), call=kind, account_id="acme")
        for kind in CHANGES:
            rig.fault(faults.server_error(500), call=kind, account_id="acme")
        await running

    rig.play(lose_it_and_the_looks())
    assert rig.run(job_id).failed == 1
    item = rig.item("acme")
    assert (item.state, item.code, item.can_retry_help) == ("failed", "outcome_unknown", True)
    thing = {"change_account_connector": "credential"}.get(call, "property")
    assert thing in item.message
    assert "may be installed" not in item.message


def test_a_key_is_not_set_twice_where_a_get_of_one_fails(rig: Rig) -> None:
    """Once the id is known it is read alone; what that read may answer is what a look may."""
    job_id = load(rig, lacks_a_key(rig, "acme"))
    rig.fault(faults.server_error(500, after_effect=True), call="change_account_connector", count=1)
    for fault in (faults.server_error(500), faults.garbage("{}"), faults.reset(), faults.throttled(0)):
        rig.fault(fault, call="account_connector", count=1)
    assert rig.run(job_id).installed == 1
    assert ended(rig, "acme") == ("installed", "filled_in", ["api_key"])
    assert 1 <= len(changes(rig, "acme")) <= 2
    assert state(rig, "acme")["AuthValue"] == "key-of-acme-5f1c"


def test_an_id_that_is_gone_when_it_is_read_again_is_looked_for_by_its_name(make_rig: MakeRig) -> None:
    rig = make_rig(cyclr_retry_base_s=60)
    job_id = load(rig, lacks_a_key(rig, "acme"))
    rig.fault(faults.server_error(500), call="change_account_connector", count=1)
    rig.run(job_id, until=lambda _: rig.item("acme").attempts == 1)
    rig.simulator.call(remove_all)
    put_there(rig, "acme", MAIL, Region="EU")
    make_due(rig)
    assert rig.run(job_id).installed == 1
    assert state(rig, "acme")["AuthValue"] == "key-of-acme-5f1c"
    assert rig.installs("acme") == 0


def make_due(rig: Rig) -> None:
    with rig.engine.begin() as connection:
        connection.execute(update(items).values(due_at=LONG_AGO))


# What an answer that was lost must not lead to.


@pytest.mark.parametrize("masks", ["in_reads", "always"])
def test_a_customers_own_hidden_key_is_left_alone_after_an_install_that_was_lost(
    make_rig: MakeRig, masks: str
) -> None:
    """It may be ours, and may not: what is not shown is set where the command says so."""
    rig = make_rig(cyclr_retry_base_s=60, cyclr_settle_s=60)
    rig.switch("masks_auth_value", masks)
    job_id = load(rig, row("acme", property_WebhookSecret=""))
    rig.fault(faults.server_error(500), call="install", count=1)
    rig.run(job_id, until=lambda _: rig.item("acme").attempts == 1)
    put_there(rig, "acme", api_key="key-of-the-customer-b2a7", Region="EU")
    make_due(rig)
    assert rig.run(job_id).installed == 1
    assert state(rig, "acme")["AuthValue"] == "key-of-the-customer-b2a7"
    assert changes(rig, "acme") == []
    item = rig.item("acme")
    assert (item.outcome, item.is_ours, item.differs) == ("recovered", None, ["api_key (not shown)"])


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_install_that_was_lost_is_recovered_and_not_updated_where_its_key_is_hidden(
    rig: Rig, overwrite: bool
) -> None:
    rig.switch("masks_auth_value", "always")
    job_id = load(rig, row("acme", property_WebhookSecret=""), overwrite=overwrite)
    rig.fault(faults.server_error(500, after_effect=True), call="install", count=1)
    assert rig.run(job_id).installed == 1
    assert rig.installs("acme") == 1
    item = rig.item("acme")
    assert (item.outcome, item.is_ours) == (
        "updated" if overwrite else "recovered",
        False if overwrite else None,
    )


@pytest.mark.parametrize(
    ("call", "has_another", "former"),
    [
        ("change_account_connector", has_another_key, {"api_key": "key-of-theirs-40b1"}),
        ("change_property", has_another_value, {"property.Region": "US"}),
    ],
)
def test_the_first_former_values_stay_whatever_later_looks_see(
    rig: Rig, call: str, has_another: Any, former: dict[str, str]
) -> None:
    """A value that our own lost call has set is not taken for what was there before."""
    job_id = load(rig, has_another(rig, "acme"), overwrite=True)
    rig.fault(faults.server_error(500, after_effect=True), call=call, count=1)
    assert rig.run(job_id).installed == 1
    assert ended(rig, "acme") == ("installed", "updated", list(former))
    assert undo_of(rig, "acme")["former"] == former


def test_a_property_that_may_still_be_added_is_looked_for_only_then(make_rig: MakeRig) -> None:
    rig = make_rig(cyclr_settle_s=1.5)
    rig.switch("same_property", "duplicate")
    job_id = load(rig, LACKING["add_property"](rig, "acme"))
    rig.fault(faults.late_effect(1.0, status=504), call="add_property", count=1)
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["look", "add_property", "look"]
    assert len(changes(rig, "acme")) == 1
