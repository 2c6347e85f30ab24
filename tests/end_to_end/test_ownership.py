"""Whose a connector is that a look found: this row's, with proof; somebody else's; or not known."""

import asyncio
from typing import Any

from sqlalchemy import select, update

from tests.end_to_end.harness import CRM, MAIL, Rig, make_older, row, until
from tests.end_to_end.test_job_rules import LONG_AGO
from worker.simulator import faults
from worker.simulator.world import Install
from worker.store.steering import distrust
from worker.store.tables import items, job_connectors

OWNER_UNKNOWN = "owner unknown: an answer was lost, and nothing proves that this row made what is there"


def put_there(rig: Rig, name: str, connector: str = MAIL, *, api_key: str = "key-of-acme-5f1c") -> int:
    """By the customer. With the row's own credential and properties, if nothing else is said."""
    shown = [("Region", "EU"), ("WebhookSecret", "whsec-of-acme-77ab")]
    wanted = Install(name=name, auth_value=api_key, properties=shown)

    def put(world: Any) -> int:
        return int(world.add_installed("acme", world.find_release(connector), wanted).id)

    return rig.simulator.call(put)


def rename(rig: Rig, account_connector_id: int, name: str) -> None:
    def change(world: Any) -> None:
        account = world.get_account("acme")
        world.get_account_connector(account, str(account_connector_id)).name = name

    rig.simulator.call(change)


def lose_an_install(rig: Rig, job_id: str, *, after_effect: bool) -> None:
    """The answer to the first install is lost, and the row waits for its look."""
    fault = faults.server_error(500, after_effect=after_effect)
    rig.fault(fault, call="install", account_id="acme", count=1)
    rig.run(job_id, until=lambda _: rig.item("acme").attempts == 1)


def ending(rig: Rig) -> tuple[str, str, bool | None, str | None]:
    item = rig.item("acme")
    return item.state, item.outcome, item.is_ours, item.message


def test_what_we_hold_the_answer_to_is_ours(rig: Rig) -> None:
    rig.run(rig.load(row("acme")))
    assert ending(rig) == ("installed", "created", True, None)


def test_what_was_there_before_anything_was_sent_is_not_ours(rig: Rig) -> None:
    put_there(rig, MAIL)
    rig.run(rig.load(row("acme"), no_look=False))
    assert ending(rig) == ("installed", "unchanged", False, None)


def test_in_a_job_of_the_version_before_it_is_adopted(rig: Rig) -> None:
    put_there(rig, MAIL)
    job_id = rig.load(row("acme"))
    make_older(rig, look_first=True)
    rig.run(job_id)
    assert ending(rig) == ("installed", "adopted", False, "already installed")


# What is found after an answer was lost.


def test_what_was_absent_and_shows_all_that_was_sent_under_a_new_id_is_ours(rig: Rig) -> None:
    put_there(rig, "Sales", CRM)
    job_id = rig.load(row("acme", description="Main mailbox"), no_look=False)
    lose_an_install(rig, job_id, after_effect=True)
    item = rig.item("acme")
    [highest_id] = rig.simulator.call(lambda world: list(world.get_account("acme").connectors))[:1]
    assert (item.sent, item.seen) == ("connector", {"highest_id": highest_id})
    rig.run(job_id)
    assert ending(rig) == ("installed", "recovered", True, None)
    assert rig.item("acme").sent is None


def test_what_is_in_an_account_that_this_row_made_is_ours(rig: Rig) -> None:
    job_id = rig.load(row("stark", account_name="Stark Industries"))
    rig.fault(faults.server_error(500, after_effect=True), call="install", count=1)
    rig.run(job_id)
    item = rig.item("stark")
    assert (item.outcome, item.is_ours, item.seen) == ("recovered", True, None)


def test_without_a_look_before_it_nothing_proves_whose_it_is(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    lose_an_install(rig, job_id, after_effect=True)
    rig.run(job_id)
    assert ending(rig) == ("installed", "recovered", None, OWNER_UNKNOWN)


def test_one_that_shows_another_key_is_not_proven_ours(rig: Rig) -> None:
    job_id = rig.load(row("acme"), no_look=False)
    lose_an_install(rig, job_id, after_effect=False)
    put_there(rig, MAIL, api_key="the-customers-own-key")
    rig.run(job_id)
    message = "api_key differs and was left alone: nothing was changed"
    assert ending(rig) == ("failed", None, None, message)
    assert (rig.item("acme").code, rig.item("acme").differs) == ("differs", ["api_key"])


def test_in_a_job_of_the_version_before_it_is_recovered_and_its_owner_unknown(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    make_older(rig, look_first=True)
    lose_an_install(rig, job_id, after_effect=False)
    put_there(rig, MAIL, api_key="the-customers-own-key")
    rig.run(job_id)
    message = f"already installed; api_key differs and was not changed; {OWNER_UNKNOWN}"
    assert ending(rig) == ("installed", "recovered", None, message)


def test_one_that_was_there_under_another_name_is_not_proven_ours(rig: Rig) -> None:
    there = put_there(rig, "Old mail")
    job_id = rig.load(row("acme"), no_look=False, beside=True)
    lose_an_install(rig, job_id, after_effect=False)
    rename(rig, there, MAIL)
    rig.run(job_id)
    assert ending(rig) == ("installed", "recovered", None, OWNER_UNKNOWN)
    assert rig.item("acme").account_connector_id == there


# What is found where nothing was sent, or nobody knows.


def test_a_customers_own_is_no_ours_where_the_row_had_only_looked_when_its_worker_was_killed(
    rig: Rig,
) -> None:
    job_id = rig.load(row("acme"), no_look=False)
    rig.fault(faults.slow(1.5), call="look", account_id="acme", count=1)

    async def killed_during_the_look() -> None:
        run = rig.new_run()
        running = asyncio.create_task(run.run(for_s=60))
        await until(lambda: rig.kinds("acme") == ["look"])
        for hand in list(run._in_hand.values()):
            hand.task.cancel()
        await running

    rig.play(killed_during_the_look())
    item = rig.item("acme")
    assert (item.state, item.sent) == ("running", "nothing")
    with rig.engine.begin() as connection:
        connection.execute(update(items).values(claim_until=LONG_AGO))
    put_there(rig, MAIL)
    rig.run(job_id)
    assert ending(rig) == ("installed", "unchanged", False, None)


def test_a_customers_own_is_nobodys_for_sure_after_a_distrust(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    distrust(rig.engine)
    assert (rig.item("acme").sent, rig.item("acme").must_look) == (None, True)
    put_there(rig, MAIL)
    rig.run(job_id)
    assert ending(rig) == ("installed", "recovered", None, OWNER_UNKNOWN)


def test_a_customers_own_is_no_ours_after_a_429_to_the_only_install(rig: Rig) -> None:
    job_id = rig.load(row("acme"), no_look=False)
    rig.fault(faults.throttled(0), call="install", account_id="acme", count=1)
    rig.run(job_id, until=lambda _: rig.item("acme").code == "throttled")
    assert (rig.item("acme").sent, rig.item("acme").seen) == (None, None)
    put_there(rig, MAIL)
    rig.run(job_id)
    assert ending(rig) == ("installed", "unchanged", False, None)


# What a crash of ours leaves.


def define(rig: Rig, definition: dict[str, Any]) -> None:
    """As it is kept of the job's connector."""
    with rig.engine.begin() as connection:
        connection.execute(update(job_connectors).values(definition=definition))


def definition_of(rig: Rig) -> dict[str, Any]:
    with rig.engine.begin() as connection:
        kept: dict[str, Any] = connection.execute(select(job_connectors.c.definition)).scalar_one()
    return kept


def without(definition: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in definition.items() if key != name}


def test_a_customers_own_is_no_ours_after_a_crash_before_anything_was_sent(rig: Rig) -> None:
    job_id = rig.load(row("acme"), no_look=False)
    whole = definition_of(rig)
    define(rig, without(whole, "name"))
    rig.run(job_id, until=lambda _: rig.item("acme").attempts == 1)
    item = rig.item("acme")
    assert (item.message, item.must_look, item.maybe_sent) == ("an internal error (KeyError)", True, False)
    assert (item.sent, rig.kinds("acme")) == (None, [])
    define(rig, whole)
    put_there(rig, MAIL)
    rig.run(job_id)
    assert ending(rig) == ("installed", "unchanged", False, None)


def test_what_was_made_before_a_crash_is_found_and_is_ours(rig: Rig) -> None:
    job_id = rig.load(row("acme"))
    whole = definition_of(rig)
    define(rig, without(whole, "methods"))  # read once the install is answered
    rig.run(job_id, until=lambda _: rig.item("acme").attempts == 1)
    item = rig.item("acme")
    assert (item.state, item.steps_done, item.sent) == ("queued", ["connector"], None)
    define(rig, whole)
    rig.run(job_id)
    # Its id is known by then.
    assert rig.kinds("acme") == ["install", "account_connector"]
    assert ending(rig) == ("installed", "created", True, None)
