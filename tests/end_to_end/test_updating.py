"""What `update` does, and what becomes of a change whose answer is lost, that is interrupted, or whose thing goes meanwhile."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import update

from tests.end_to_end.conftest import MakeRig
from tests.end_to_end.harness import CRM, MAIL, Rig, row, until
from tests.end_to_end.test_filling_in import KEY, REGION, WEBHOOK, holds, put_there, undo_of
from tests.end_to_end.test_job_rules import LONG_AGO
from worker.domain.states import PauseReason
from worker.simulator import faults
from worker.simulator.catalogue import method
from worker.store.job_states import cancel_job, pause_job, resume_job
from worker.store.steering import retry_job
from worker.store.tables import items, jobs

OLD = (("Region", "US"), ("WebhookSecret", "old-one"))
ASKED = {"property.Region": "EU", "property.WebhookSecret": "whsec-of-acme-77ab", "AuthValue": KEY}


def load_update(rig: Rig, *rows: dict[str, str], **options: Any) -> str:
    """The id of a job that updates."""
    job_id = rig.load(*(rows or (row("acme"),)), **options)
    with rig.engine.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(operation="update"))
    return job_id


def updated(rig: Rig, *rows: dict[str, str], **options: Any) -> Any:
    """The item of the account, once its job has ended."""
    rig.run(load_update(rig, *rows, **options))
    return rig.item("acme")


def is_as_asked(rig: Rig, there: int) -> bool:
    state = holds(rig, there)
    return {name: state.get(name) for name in ASKED} == ASKED


def lose(rig: Rig, call: str, *, after_effect: bool) -> None:
    rig.fault(faults.server_error(500, after_effect=after_effect), call=call, account_id="acme", count=1)


# What there is is changed, and nothing else.


def test_an_update_changes_what_is_there(rig: Rig) -> None:
    there = put_there(rig, *OLD, auth_value="old")
    item = updated(rig)
    assert rig.kinds("acme") == ["look", "change_property", "change_property", "change_account_connector"]
    assert (item.state, item.outcome, item.account_connector_id) == ("installed", "updated", there)
    assert item.changed == ["property.Region", "property.WebhookSecret", "api_key"]
    assert is_as_asked(rig, there)


def test_an_update_of_what_is_as_asked_changes_nothing(rig: Rig) -> None:
    put_there(rig, REGION, WEBHOOK, auth_value=KEY)
    item = updated(rig)
    assert (item.outcome, rig.kinds("acme")) == ("unchanged", ["look"])


@pytest.mark.parametrize("beside", [True, False])
def test_an_update_never_creates(rig: Rig, *, beside: bool) -> None:
    if beside:
        put_there(rig, name="MailChimp 2")
    item = updated(rig)
    assert (item.state, item.code, item.must_look) == ("failed", "not_there", False)
    message = "the account has no account connector 'Northwind Mail' of this connector"
    if beside:
        message += "; it has this connector under the Name 'MailChimp 2'"
    assert item.message == message
    assert rig.kinds("acme") == ["look"]


def test_a_row_without_a_credential_leaves_it_as_it_is(rig: Rig) -> None:
    there = put_there(rig, *OLD, auth_value="old")
    item = updated(rig, row("acme", api_key="", authentication="later", property_WebhookSecret=""))
    assert rig.kinds("acme") == ["look", "change_property"]
    assert (item.outcome, holds(rig, there)["AuthValue"]) == ("updated", "old")


# Lost answers, call by call.


@pytest.mark.parametrize("after_effect", [False, True], ids=["not-applied", "applied"])
@pytest.mark.parametrize("call", ["change_property", "change_account_connector"])
def test_a_lost_answer_to_a_change_is_looked_at_and_changed_again_where_it_was_not(
    rig: Rig, call: str, *, after_effect: bool
) -> None:
    there = put_there(rig, *OLD, auth_value="old")
    job_id = load_update(rig)
    lose(rig, call, after_effect=after_effect)
    assert rig.run(job_id).installed == 1
    item = rig.item("acme")
    assert (item.outcome, item.attempts, item.sent) == ("updated", 2, None)
    assert sorted(item.changed) == ["api_key", "property.Region", "property.WebhookSecret"]
    assert rig.kinds("acme").count("look") == 2
    assert (
        rig.kinds("acme").count(call)
        == {
            ("change_property", False): 3,
            ("change_property", True): 2,
            ("change_account_connector", False): 2,
            ("change_account_connector", True): 1,
        }[call, after_effect]
    )
    assert is_as_asked(rig, there)
    # The first former values stay, whatever later looks see.
    assert undo_of(rig, item)["former"] == {
        "property.Region": "US",
        "property.WebhookSecret": "old-one",
        "api_key": "old",
    }


def test_a_key_that_was_set_by_a_call_without_an_answer_is_the_rows_own_change(rig: Rig) -> None:
    put_there(rig, REGION, WEBHOOK, auth_value="old")
    lose(rig, "change_account_connector", after_effect=True)
    item = updated(rig)
    assert (item.outcome, item.changed) == ("updated", ["api_key"])
    assert rig.kinds("acme").count("change_account_connector") == 1


@pytest.mark.parametrize("after_effect", [False, True], ids=["not-applied", "applied"])
def test_a_property_whose_adding_got_no_answer_is_looked_for_first(rig: Rig, *, after_effect: bool) -> None:
    rig.switch("same_property", "duplicate")
    there = put_there(rig, WEBHOOK, auth_value=KEY)
    job_id = rig.load(row("acme"), no_look=False)
    lose(rig, "add_property", after_effect=after_effect)
    assert rig.run(job_id).installed == 1
    adding = ["add_property"] if not after_effect else []
    assert rig.kinds("acme") == ["look", "add_property", "look", *adding]
    item = rig.item("acme")
    assert (item.outcome, item.maybe_sent, item.changed) == ("filled_in", False, ["property.Region"])
    assert undo_of(rig, item)["former"] == {"property.Region": None}
    assert [entry["value"] for entry in undo_of(rig, item)["shown"]["properties"]] == [WEBHOOK[1], "EU"]
    assert [name for name in holds(rig, there) if "Region" in name] == ["property.Region"]


@pytest.mark.parametrize("call", ["change_property", "add_property", "change_account_connector"])
def test_a_change_that_is_refused_fails_the_row_in_its_own_words(rig: Rig, call: str) -> None:
    put_there(rig, *(OLD[:1] if call == "add_property" else OLD), auth_value="old")
    job_id = load_update(rig)
    rig.fault(faults.refused(400, "Not so."), call=call, account_id="acme")
    assert rig.run(job_id).failed == 1
    item = rig.item("acme")
    noun = {
        "change_property": "the change of a property",
        "add_property": "the adding of a property",
        "change_account_connector": "the change of the credential",
    }[call]
    assert (item.code, item.http_status) == ("refused", 400)
    assert item.message == f"Cyclr refused {noun}: Not so."


def test_a_change_that_never_gets_an_answer_ends_after_a_look(make_rig: MakeRig) -> None:
    rig = make_rig(cyclr_max_attempts=2)
    put_there(rig, REGION, WEBHOOK, auth_value="old")
    job_id = load_update(rig, row("acme"), row("globex"))
    rig.fault(faults.server_error(500), call="change_account_connector", account_id="acme")
    rig.run(job_id)
    item = rig.item("acme")
    assert (item.state, item.code, item.must_look) == ("failed", "no_answer", False)
    assert item.message == (
        "the credential was not changed: Cyclr gave no clear answer in 2 attempts, and a look found it as it was"
    )
    kinds = rig.kinds("acme")
    assert kinds == ["look", "change_account_connector", "look", "change_account_connector", "look"]


@pytest.mark.parametrize("call", ["change_property", "change_account_connector"])
def test_what_was_removed_meanwhile_is_looked_at_again(rig: Rig, call: str) -> None:
    put_there(rig, *OLD, auth_value="old")
    job_id = load_update(rig)
    rig.fault(faults.refused(404, "Gone."), call=call, account_id="acme", count=1)
    assert rig.run(job_id).installed == 1
    assert (rig.item("acme").outcome, rig.kinds("acme").count("look")) == ("updated", 2)


# Interrupted between two calls.


def test_a_kill_between_two_changes_does_the_rest_and_keeps_the_first_former_values(rig: Rig) -> None:
    there = put_there(rig, *OLD, auth_value="old")
    job_id = load_update(rig)
    rig.fault(faults.slow(1.5), call="change_account_connector", account_id="acme", count=1)

    async def killed_during_the_last_call() -> None:
        run = rig.new_run()
        running = asyncio.create_task(run.run(for_s=60))
        await until(lambda: "change_account_connector" in rig.kinds("acme"))
        for hand in list(run._in_hand.values()):
            hand.task.cancel()
        await running

    rig.play(killed_during_the_last_call())
    item = rig.item("acme")
    assert (item.state, item.sent, item.changed) == (
        "running",
        "credential",
        ["property.Region", "property.WebhookSecret"],
    )
    assert item.seen["before"] == {
        "property.Region": "other",
        "property.WebhookSecret": "other",
        "api_key": "other",
    }
    with rig.engine.begin() as connection:
        connection.execute(update(items).values(claim_until=LONG_AGO))
    assert rig.run(job_id).installed == 1
    item = rig.item("acme")
    assert (item.outcome, item.maybe_sent, is_as_asked(rig, there)) == ("updated", False, True)
    assert undo_of(rig, item)["former"]["property.Region"] == "US"
    assert undo_of(rig, item)["former"]["api_key"] == "old"


def test_a_stop_between_connector_and_properties_forgets_nothing(rig: Rig) -> None:
    job_id = _load_with_a_property_of_its_own(rig)
    rig.simulator.call(lambda world: setattr(world.faults, "latency_s", (0.3, 0.3)))

    async def stop_during_the_install() -> None:
        run = rig.new_run()
        running = asyncio.create_task(run.run(for_s=60))
        await until(lambda: "install" in rig.kinds("acme"))
        run.stop()
        await running

    rig.play(stop_during_the_install())
    item = rig.item("acme")
    assert (item.state, item.steps_done, item.must_look) == ("queued", ["connector"], False)
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["look", "install", "account_connector", "add_property"]
    assert (rig.item("acme").outcome, rig.item("acme").is_ours) == ("created", True)


def test_a_cancel_between_connector_and_properties_leaves_the_row_incomplete(rig: Rig) -> None:
    job_id = _load_with_a_property_of_its_own(rig)
    rig.simulator.call(lambda world: setattr(world.faults, "latency_s", (0.3, 0.3)))

    async def cancel_during_the_install() -> None:
        running = asyncio.create_task(rig.new_run().run(for_s=60))
        await until(lambda: "install" in rig.kinds("acme"))
        assert await asyncio.to_thread(cancel_job, rig.engine, job_id)
        await running

    rig.play(cancel_during_the_install())
    assert rig.run(job_id).failed == 1
    item = rig.item("acme")
    assert (item.code, item.message) == (
        "incomplete",
        "cancelled half way: the install was done; the rest was not done",
    )
    assert item.account_connector_id is not None
    assert retry_job(rig.engine, job_id).queued == 1
    rig.run(job_id)
    assert (rig.item("acme").state, rig.installs("acme")) == ("installed", 1)


# Properties that the connector does not declare.


def _load_with_a_property_of_its_own(rig: Rig) -> str:
    """A row with a property that the release does not declare."""
    job_id = rig.load(row("acme"), no_look=False)
    with rig.engine.begin() as connection:
        sealed = connection.execute(items.select().where(items.c.job_id == job_id)).one()
        secrets = rig.database.sealer.open(sealed.sealed, job_id=job_id, row_number=sealed.row_number)
        more = rig.database.sealer.seal(
            secrets | {"property.ClientId": "client-1"}, job_id=job_id, row_number=sealed.row_number
        )
        connection.execute(update(items).where(items.c.id == sealed.id).values(sealed=more))
    return job_id


def test_a_property_that_the_connector_does_not_declare_is_added_after_the_install(rig: Rig) -> None:
    job_id = _load_with_a_property_of_its_own(rig)
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["look", "install", "add_property"]
    [install, adding] = [call for call in rig.calls("acme") if call.kind in ("install", "add_property")]
    assert install.property_names == ("Region", "WebhookSecret")
    assert adding.named == {"property.ClientId": "client-1"}
    item = rig.item("acme")
    assert (item.outcome, item.is_ours, item.undo) == ("created", True, None)


def test_a_recovered_connector_gets_the_rest_too(rig: Rig) -> None:
    job_id = _load_with_a_property_of_its_own(rig)
    lose(rig, "install", after_effect=True)
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["look", "install", "look", "add_property"]
    assert (rig.item("acme").outcome, rig.item("acme").is_ours) == ("recovered", True)


def test_an_install_whose_answer_shows_no_properties_adds_none_a_second_time(rig: Rig) -> None:
    rig.switch("same_property", "duplicate")
    last_id = put_there(rig, name="Sales", connector=CRM)
    answer = {
        "Id": last_id + 1,
        "Name": MAIL,
        "AuthValue": KEY,
        "Authenticated": True,
        "Connector": {"Name": MAIL},
    }
    rig.fault(faults.garbage(json.dumps(answer)), call="install", account_id="acme")
    job_id = rig.load(row("acme"), no_look=False)
    assert rig.run(job_id).installed == 1
    assert rig.kinds("acme") == ["look", "install", "account_connector"]
    assert is_as_asked(rig, last_id + 1)


# Tokens that Cyclr renews.

TOKENS = {"access_token": "a-1", "refresh_token": "r-1"}


@pytest.fixture
def tokens(rig: Rig) -> Rig:
    oauth = method("OAuth2", seed="tests", oauth2_type="AuthorisationCode")
    rig.simulator.call(lambda world: world.add_connector("Living", "1.0", methods=[oauth]))
    return rig


def row_of_tokens() -> dict[str, str]:
    return {"account_id": "acme", "connector": "Living", "authentication": "OAuth2", **TOKENS}


def put_tokens(rig: Rig, auth_value: str | None) -> int:
    return put_there(rig, name="Living", connector="Living", auth_value=auth_value)


def times_sent(rig: Rig) -> int:
    return sum("AuthValue" in call.named for call in rig.calls("acme"))


def test_tokens_that_are_there_stay_without_the_option(tokens: Rig) -> None:
    put_tokens(tokens, '{"AccessToken":"old"}')
    item = updated(tokens, row_of_tokens())
    assert (item.outcome, times_sent(tokens)) == ("unchanged", 0)
    assert item.differs == ["access_token (not shown)", "refresh_token (not shown)"]


@pytest.mark.parametrize("after_effect", [False, True], ids=["not-applied", "applied"])
@pytest.mark.parametrize("there", [None, '{"AccessToken":"old"}'], ids=["none", "others"])
def test_tokens_are_sent_once_a_row(tokens: Rig, there: str | None, *, after_effect: bool) -> None:
    tokens.switch("refreshes_tokens", True)
    put_tokens(tokens, there)
    job_id = load_update(tokens, row_of_tokens(), replace_tokens=True)
    lose(tokens, "change_account_connector", after_effect=after_effect)
    tokens.run(job_id)
    item = tokens.item("acme")
    # Others than the former ones count as set, whoever renewed them.
    is_sent_again = there is None and not after_effect
    assert (item.state, times_sent(tokens)) == ("installed", 2 if is_sent_again else 1)


def test_tokens_of_which_nobody_can_tell_end_the_row_and_are_not_sent_again(tokens: Rig) -> None:
    tokens.switch("masks_auth_value", "always")
    put_tokens(tokens, '{"AccessToken":"old"}')
    job_id = load_update(tokens, row_of_tokens(), replace_tokens=True)
    lose(tokens, "change_account_connector", after_effect=True)
    tokens.run(job_id)
    item = tokens.item("acme")
    assert (item.state, item.code, item.must_look) == ("failed", "outcome_unknown", True)
    assert times_sent(tokens) == 1
    assert item.message == (
        "access_token and refresh_token may have been set: Cyclr gave no clear answer then, and does not show what is there"
    )


def test_what_somebody_else_sets_between_two_calls_is_left_alone(rig: Rig) -> None:
    there = put_there(rig, WEBHOOK)
    job_id = rig.load(row("acme"), no_look=False)
    lose(rig, "add_property", after_effect=False)
    rig.run(job_id, until=lambda _: rig.item("acme").attempts == 1)

    def set_theirs(world: Any) -> None:
        connector = world.get_account("acme").connectors[there]
        connector.auth_value, connector.is_authenticated = "theirs", True

    rig.simulator.call(set_theirs)
    assert rig.run(job_id).failed == 1
    item = rig.item("acme")
    assert (item.code, item.differs, item.changed) == ("differs", ["api_key"], None)
    assert rig.kinds("acme") == ["look", "add_property", "look"]
    assert holds(rig, there)["AuthValue"] == "theirs"


def test_a_result_says_nothing_of_values(rig: Rig) -> None:
    put_there(rig, *OLD, auth_value="the-old-key")
    updated(rig)
    content = rig.result_file(rig.job_ids[-1]).read_text(encoding="utf-8-sig")
    assert "the-old-key" not in content
    assert json.dumps(list(rig.item("acme").changed)) == (
        '["property.Region", "property.WebhookSecret", "api_key"]'
    )


def test_a_credential_is_filled_in_without_the_description(rig: Rig) -> None:
    there = put_there(rig, REGION, WEBHOOK, description="Theirs")
    rig.run(rig.load(row("acme", description="Ours"), no_look=False))
    item = rig.item("acme")
    assert (item.outcome, item.changed, item.differs) == ("filled_in", ["api_key"], ["description"])
    assert item.message == "api_key was set; description differs and was not changed"
    assert holds(rig, there)["Description"] == "Theirs"


def test_how_a_field_was_is_what_the_first_look_saw(rig: Rig) -> None:
    rig.switch("same_property", "duplicate")
    there = put_there(rig, WEBHOOK, auth_value=KEY)
    job_id = load_update(rig)
    lose(rig, "add_property", after_effect=False)
    rig.run(job_id, until=lambda _: rig.item("acme").attempts == 1)
    assert rig.item("acme").seen == {"before": {"property.Region": "missing"}}

    def set_theirs(world: Any) -> None:
        connector = world.get_account("acme").connectors[there]
        world._put_property(connector, "Region", "US")

    rig.simulator.call(set_theirs)
    rig.run(job_id)
    item = rig.item("acme")
    assert (item.outcome, item.seen) == ("filled_in", {"before": {"property.Region": "missing"}})
    assert undo_of(rig, item)["former"] == {"property.Region": None}


# Rows that are known to be done, looked at again.


def look_again_at(rig: Rig) -> Any:
    """The item of the row, whose secrets nobody has any more."""
    rig.run(rig.load(file=rig.result_file(rig.job_ids[-1]), no_look=False, look_again=True))
    return rig.item("acme")


def test_a_row_that_is_looked_at_again_is_unchanged_where_it_is_there(rig: Rig) -> None:
    rig.run(rig.load(row("acme")))
    item = look_again_at(rig)
    assert (item.state, item.outcome, rig.kinds("acme")) == ("installed", "unchanged", ["look"])


def test_a_row_that_is_looked_at_again_is_to_be_filled_in_where_it_is_gone(rig: Rig) -> None:
    rig.run(rig.load(row("acme")))
    there = rig.item("acme").account_connector_id

    def remove(world: Any) -> None:
        account = world.get_account("acme")
        world.remove(account, account.connectors[there])

    rig.simulator.call(remove)
    item = look_again_at(rig)
    assert (item.state, item.code, rig.kinds("acme")) == ("failed", "credential_lost", ["look"])
    assert item.message == (
        "it is not there any more, and api_key and property.WebhookSecret can be read no more: fill in what is missing"
    )


def test_a_row_that_needs_no_credential_is_installed_again_where_it_is_gone(rig: Rig) -> None:
    bare = row("acme", connector=CRM, api_key="", property_Region="", property_WebhookSecret="")
    rig.run(rig.load(bare))
    there = rig.item("acme").account_connector_id

    def remove(world: Any) -> None:
        account = world.get_account("acme")
        world.remove(account, account.connectors[there])

    rig.simulator.call(remove)
    rig.run(rig.load(file=rig.result_file(rig.job_ids[-1]), no_look=False, look_again=True))
    assert rig.item("acme").outcome == "created"
    # Once it was removed: what is there is one.
    rig.simulator.ledger.effects[:] = [e for e in rig.ledger.effects if e.account_connector_id != there]


def test_a_hidden_key_of_somebody_else_is_left_alone_after_a_lost_install(rig: Rig) -> None:
    rig.switch("masks_auth_value", "always")
    job_id = rig.load(row("acme"))
    lose(rig, "install", after_effect=False)
    rig.run(job_id, until=lambda _: rig.item("acme").attempts == 1)
    there = put_there(rig, REGION, WEBHOOK, auth_value="theirs")
    rig.run(job_id)
    item = rig.item("acme")
    assert (item.outcome, item.differs, item.is_ours) == ("recovered", ["api_key (not shown)"], None)
    assert rig.kinds("acme") == ["install", "look"]
    assert holds(rig, there)["AuthValue"] == "theirs"


def test_a_refusal_says_what_was_set_before_it(make_rig: MakeRig) -> None:
    rig = make_rig(cyclr_retry_base_s=60)
    there = put_there(rig, WEBHOOK)
    job_id = rig.load(row("acme"), no_look=False)
    lose(rig, "change_account_connector", after_effect=False)
    rig.run(job_id, until=lambda _: rig.item("acme").attempts == 1)

    def set_theirs(world: Any) -> None:
        connector = world.get_account("acme").connectors[there]
        connector.auth_value, connector.is_authenticated = "theirs", True

    rig.simulator.call(set_theirs)
    with rig.engine.begin() as connection:
        connection.execute(update(items).values(due_at=LONG_AGO))
    rig.run(job_id)
    item = rig.item("acme")
    assert (item.code, item.changed) == ("differs", ["property.Region"])
    assert item.message == "api_key differs and was left alone; property.Region was set before that"


@pytest.mark.parametrize("after_effect", [False, True], ids=["not-applied", "applied"])
def test_a_change_without_an_answer_is_looked_at_after_a_cancel(
    make_rig: MakeRig, *, after_effect: bool
) -> None:
    rig = make_rig(cyclr_retry_base_s=60)
    put_there(rig, REGION, WEBHOOK, auth_value="old")
    job_id = load_update(rig)
    lose(rig, "change_account_connector", after_effect=after_effect)
    rig.run(job_id, until=lambda _: rig.item("acme").attempts == 1)
    assert (rig.item("acme").sent, rig.item("acme").must_look) == ("credential", False)
    assert cancel_job(rig.engine, job_id)
    rig.run(job_id)
    item = rig.item("acme")
    assert rig.kinds("acme") == ["look", "change_account_connector", "look"]
    if after_effect:
        assert (item.state, item.outcome) == ("installed", "updated")
    else:
        message = (
            "cancelled half way: the change of the credential got no clear answer; the rest was not done"
        )
        assert (item.code, item.message) == ("incomplete", message)


def test_a_pause_between_two_changes_is_heard_and_the_rest_done_later(rig: Rig) -> None:
    there = put_there(rig, *OLD, auth_value="old")
    job_id = load_update(rig)
    rig.fault(faults.slow(0.5), call="change_property", account_id="acme", count=1)

    async def pause_during_the_first_change() -> None:
        running = asyncio.create_task(rig.new_run().run(for_s=60))
        await until(lambda: "change_property" in rig.kinds("acme"))
        assert await asyncio.to_thread(pause_job, rig.engine, job_id, PauseReason.PERSON)
        await running

    rig.play(pause_during_the_first_change())
    item = rig.item("acme")
    assert (item.state, item.changed, item.attempts) == ("queued", ["property.Region"], 0)
    assert rig.kinds("acme") == ["look", "change_property"]
    assert resume_job(rig.engine, job_id, first=None)
    assert rig.run(job_id).installed == 1
    item = rig.item("acme")
    assert (item.outcome, is_as_asked(rig, there)) == ("updated", True)
    assert item.changed == ["property.Region", "property.WebhookSecret", "api_key"]
