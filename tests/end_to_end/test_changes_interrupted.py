"""A row of several steps that is interrupted between two of them: by a stop, a kill, a pause, a cancel; and two homes."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import update

from tests.end_to_end.conftest import MakeRig
from tests.end_to_end.harness import CRM, MAIL, Rig, row, small_world, until
from tests.end_to_end.test_job_rules import LONG_AGO
from tests.end_to_end.there import CHANGES, changes, ended, load, of_kinds, put_there, state
from tests.integration.store.databases import SqliteStores
from worker.domain.states import PauseReason
from worker.installing import InstallRun
from worker.simulator import faults
from worker.simulator.server import SimulatorThread
from worker.store.job_states import cancel_job, pause_job, resume_job
from worker.store.steering import retry_job
from worker.store.tables import items

MADE = {"Name": CRM, "property.ClientId": "app-one", "property.ClientSecret": "app-secret-of-acme-0d17"}
FILLED = {"Name": MAIL, "AuthValue": "key-of-acme-5f1c", "property.Region": "EU"}


@dataclass(frozen=True)
class Half:
    """A row whose `first` call is to be answered, and another one of `calls` to come. `asked`: what is there at the end."""

    first: str
    calls: tuple[str, ...]
    asked: dict[str, str]
    outcome: str
    changed: list[str]
    begin: Callable[[Rig], dict[str, str]]


def an_app_of_its_own(rig: Rig) -> dict[str, str]:
    """An install whose properties are set after it: OAuth app credentials."""
    rig.secrets.add("app-secret-of-acme-0d17")
    nothing = {"api_key": "", "property_Region": "", "property_WebhookSecret": ""}
    app = {"property_ClientId": "app-one", "property_ClientSecret": "app-secret-of-acme-0d17"}
    return row("acme", connector=CRM, **nothing, **app)


def lacks_both(rig: Rig) -> dict[str, str]:
    """One that is there without its key, and without a property."""
    put_there(rig, "acme")
    return row("acme", property_WebhookSecret="")


HALVES = {
    "between connector and properties": Half(
        "install", ("install", "add_property", "add_property"), MADE, "created", [], an_app_of_its_own
    ),
    "between property and credential": Half(
        "add_property",
        ("add_property", "change_account_connector"),
        FILLED,
        "filled_in",
        ["api_key", "property.Region"],
        lacks_both,
    ),
}
each_half = pytest.mark.parametrize("half", HALVES.values(), ids=list(HALVES))


@pytest.fixture
def slow_rig(make_rig: MakeRig) -> Rig:
    """Where Cyclr takes its time, so that something may happen meanwhile; and a POST makes a second property."""
    rig = make_rig()
    rig.switch("same_property", "duplicate")
    return rig


def begin(rig: Rig, half: Half) -> str:
    job_id = load(rig, half.begin(rig))
    # The first of the calls alone: its answer is waited for while the interruption comes.
    rig.fault(faults.slow(0.5), call=half.first, count=1)
    return job_id


async def during_the_first(rig: Rig, half: Half, deed: Callable[[InstallRun], Awaitable[None]]) -> None:
    run = rig.new_run()
    running = asyncio.create_task(run.run(for_s=60))
    await until(lambda: half.first in rig.kinds("acme"))
    await deed(run)
    await running


def assert_done_once(rig: Rig, half: Half) -> None:
    """As asked, with each change made once."""
    made = state(rig, "acme", half.asked["Name"])
    assert {name: made.get(name) for name in half.asked} == half.asked
    assert sorted(of_kinds(rig, "acme", {*CHANGES, "install"})) == sorted(half.calls)
    assert len(changes(rig, "acme")) == len(half.calls)
    item = rig.item("acme")
    assert (item.state, item.outcome) == ("installed", half.outcome)
    if half.changed:
        assert sorted(item.changed) == half.changed
    assert item.sent is None


@each_half
def test_a_stop_between_two_steps_forgets_neither(slow_rig: Rig, half: Half) -> None:
    rig, job_id = slow_rig, begin(slow_rig, half)

    async def stop(run: InstallRun) -> None:
        run.stop()

    rig.play(during_the_first(rig, half, stop))
    item = rig.item("acme")
    assert (item.state, item.claim_id, item.attempts, item.tried) == ("queued", None, 0, False)
    assert item.sent is None
    assert item.account_connector_id is not None
    assert of_kinds(rig, "acme", {*CHANGES, "install"}) == [half.first]
    assert rig.run(job_id).installed == 1
    assert_done_once(rig, half)


@each_half
def test_a_pause_between_two_steps_leaves_the_rest_for_later(slow_rig: Rig, half: Half) -> None:
    rig, job_id = slow_rig, begin(slow_rig, half)

    async def pause(_run: InstallRun) -> None:
        assert await asyncio.to_thread(pause_job, rig.engine, job_id, PauseReason.PERSON)
        await asyncio.sleep(0)

    rig.play(during_the_first(rig, half, pause))
    # A pause is heard within two seconds: what was allowed before may have gone out.
    assert of_kinds(rig, "acme", {*CHANGES, "install"})[0] == half.first
    assert rig.item("acme").state in ("queued", "installed")
    resume_job(rig.engine, job_id, first=None)
    assert rig.run(job_id).installed == 1
    assert_done_once(rig, half)


@each_half
def test_a_cancel_between_two_steps_says_what_was_done_and_a_retry_does_the_rest(
    slow_rig: Rig, half: Half
) -> None:
    rig, job_id = slow_rig, begin(slow_rig, half)

    async def cancel(_run: InstallRun) -> None:
        assert await asyncio.to_thread(cancel_job, rig.engine, job_id)

    rig.play(during_the_first(rig, half, cancel))
    job = rig.run(job_id)
    assert (job.state, job.failed, job.cancelled) == ("cancelled", 1, 0)
    item = rig.item("acme")
    assert (item.code, item.can_retry_help) == ("incomplete", True)
    assert item.account_connector_id is not None
    assert item.message.startswith("cancelled half way: ")
    done = {"install": "the install was done", "add_property": "the adding of a property was done"}
    assert done[half.first] in item.message
    assert retry_job(rig.engine, job_id).queued == 1
    assert rig.run(job_id).installed == 1
    assert_done_once(rig, half)


@each_half
@pytest.mark.parametrize("is_answered", [False, True], ids=["during-the-call", "after-the-200"])
def test_a_kill_between_two_steps_does_nothing_twice(slow_rig: Rig, half: Half, is_answered: bool) -> None:
    rig, job_id = slow_rig, begin(slow_rig, half)
    later = half.calls[half.calls.index(half.first) + 1]
    rig.fault(faults.slow(1.5), call=later, count=1)

    async def kill(run: InstallRun) -> None:
        if is_answered:
            await until(lambda: len(of_kinds(rig, "acme", {*CHANGES, "install"})) == 2)
        for hand in list(run._in_hand.values()):
            hand.task.cancel()

    rig.play(during_the_first(rig, half, kill))
    assert rig.item("acme").state == "running"
    with rig.engine.begin() as connection:
        connection.execute(update(items).values(claim_until=LONG_AGO))
    assert rig.run(job_id).installed == 1
    made = state(rig, "acme", half.asked["Name"])
    assert {name: made.get(name) for name in half.asked} == half.asked
    properties = [name for name in made if name.startswith("property.")]
    assert sorted(properties) == sorted(name for name in half.asked if name.startswith("property."))
    assert rig.installs("acme") == half.calls.count("install")
    assert len([c for c in changes(rig, "acme") if c.kind == "add_property"]) == half.calls.count(
        "add_property"
    )
    item = rig.item("acme")
    # An install that was lost is ours by what it shows only: one that sends nothing shows nothing.
    assert item.state == "installed"
    assert item.outcome in {half.outcome, "recovered", "filled_in"}


@each_half
def test_an_answer_that_comes_after_a_rescue_does_nothing_twice(slow_rig: Rig, half: Half) -> None:
    rig, job_id = slow_rig, begin(slow_rig, half)

    async def rescue(_run: InstallRun) -> None:
        with rig.engine.begin() as connection:
            connection.execute(update(items).values(claim_until=LONG_AGO))
        await asyncio.to_thread(rig.sweep)

    rig.play(during_the_first(rig, half, rescue))
    assert rig.run(job_id).installed == 1
    made = state(rig, "acme", half.asked["Name"])
    assert {name: made.get(name) for name in half.asked} == half.asked
    assert rig.installs("acme") == half.calls.count("install")
    assert len([c for c in changes(rig, "acme") if c.kind == "add_property"]) == half.calls.count(
        "add_property"
    )


# Two homes.


def test_two_homes_with_the_same_file_make_and_change_nothing_twice(
    tmp_path: Any, databases: SqliteStores
) -> None:
    accounts = [f"account-{n:02d}" for n in range(20)]
    with SimulatorThread(small_world(*accounts)) as simulator:
        homes = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            homes.append((Rig(folder, engine := databases.new(), simulator), engine))
        for account in accounts[:10]:
            put_there(homes[0][0], account)
        rows = [row(account, property_WebhookSecret="") for account in accounts]
        jobs = [load(home, *rows) for home, _ in homes]

        def both(number: int) -> None:
            homes[number][0].run(jobs[number])

        asyncio.run(_beside(both))
        for account in accounts:
            made = state(homes[0][0], account)
            assert (made["AuthValue"], made["property.Region"]) == (f"key-of-{account}-5f1c", "EU")
            outcomes = {home.item(account).outcome for home, _ in homes}
            assert outcomes <= {"created", "filled_in", "unchanged", "updated", "recovered"}, outcomes
        for home, engine in homes:
            home.end()
            databases.drop(engine)


async def _beside(work: Callable[[int], None]) -> None:
    await asyncio.gather(*(asyncio.to_thread(work, number) for number in range(2)))


def test_what_a_pause_left_half_done_is_ended_as_incomplete_by_a_cancel(slow_rig: Rig) -> None:
    rig, half = slow_rig, HALVES["between property and credential"]
    job_id = begin(rig, half)

    async def stop(run: InstallRun) -> None:
        run.stop()

    rig.play(during_the_first(rig, half, stop))
    assert pause_job(rig.engine, job_id, PauseReason.PERSON)
    assert cancel_job(rig.engine, job_id)
    job = rig.run(job_id)
    assert (job.failed, job.cancelled) == (1, 0)
    assert ended(rig, "acme") == ("failed", "incomplete", ["property.Region"])
