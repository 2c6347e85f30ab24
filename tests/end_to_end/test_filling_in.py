"""What `run` does where the connector is there already: what is missing is set, what differs is left alone."""

import json
from typing import Any

from tests.end_to_end.harness import API_KEY, CRM, MAIL, Rig, row
from worker.simulator import faults
from worker.simulator.catalogue import Parameter, method
from worker.simulator.ledger import State
from worker.simulator.world import Install

KEY, REGION, WEBHOOK = "key-of-acme-5f1c", ("Region", "EU"), ("WebhookSecret", "whsec-of-acme-77ab")


def put_there(
    rig: Rig, *properties: tuple[str, str | None], name: str = MAIL, connector: str = MAIL, **fields: Any
) -> int:
    """By somebody else. The id of the account connector."""
    wanted = Install(name=name, properties=properties, **fields)

    def put(world: Any) -> int:
        return int(world.add_installed("acme", world.find_release(connector), wanted).id)

    return rig.simulator.call(put)


def holds(rig: Rig, account_connector_id: int) -> State:
    """All that it holds by now."""
    state: State = rig.simulator.call(
        lambda world: world.get_account("acme").connectors[account_connector_id].state()
    )
    return state


def run(rig: Rig, *, account: str = "acme", cells: dict[str, str] | None = None, **options: Any) -> Any:
    """The item of a row, once its job has ended."""
    job_id = rig.load(row(account, **(cells or {})), no_look=False, **options)
    rig.run(job_id)
    return rig.item(account)


def undo_of(rig: Rig, item: Any) -> dict[str, Any]:
    opened: dict[str, Any] = rig.database.sealer.open_undo(
        item.undo, job_id=item.job_id, row_number=item.row_number
    )
    return opened


def connector_of(world: Any, account_connector_id: int) -> Any:
    return world.get_account("acme").connectors[account_connector_id]


def named(rig: Rig, *kinds: str) -> list[dict[str, str | None]]:
    """What the bodies of these calls named, in their order."""
    return [dict(call.named) for call in rig.calls("acme") if call.kind in kinds]


SETTERS = ("change_account_connector", "change_property", "add_property")


# Where nothing is there.


def test_an_account_is_looked_into_before_its_install(rig: Rig) -> None:
    item = run(rig)
    assert rig.kinds("acme") == ["look", "install"]
    assert (item.state, item.outcome, item.is_ours) == ("installed", "created", True)
    assert (item.changed, item.undo) == (None, None)


def test_an_account_that_the_row_makes_needs_no_look(rig: Rig) -> None:
    item = run(rig, account="stark", cells={"account_name": "Stark Industries"})
    assert rig.kinds("stark") == ["create_account", "install"]
    assert item.outcome == "created"


def test_an_account_that_was_there_after_all_gets_its_look(rig: Rig) -> None:
    run(rig, cells={"account_name": "Acme"})
    assert rig.kinds("acme") == ["create_account", "look", "install"] or rig.kinds("acme") == [
        "look",
        "install",
    ]


# Where it is there.


def test_as_asked_nothing_is_changed(rig: Rig) -> None:
    there = put_there(rig, REGION, WEBHOOK, auth_value=KEY)
    item = run(rig)
    assert rig.kinds("acme") == ["look"]
    assert (item.state, item.outcome, item.account_connector_id) == ("installed", "unchanged", there)
    assert (item.differs, item.changed, item.undo, item.message) == ([], None, None, None)


def test_what_a_template_left_out_is_filled_in(rig: Rig) -> None:
    there = put_there(rig)
    item = run(rig, cells={"name": MAIL})
    assert rig.kinds("acme") == ["look", "add_property", "add_property", "change_account_connector"]
    assert named(rig, *SETTERS) == [
        {"property.Region": "EU"},
        {"property.WebhookSecret": "whsec-of-acme-77ab"},
        {"AuthValue": KEY},
    ]
    assert (item.state, item.outcome, item.is_authenticated, item.is_ours) == (
        "installed",
        "filled_in",
        True,
        False,
    )
    assert item.changed == ["property.Region", "property.WebhookSecret", "api_key"]
    assert item.message == "property.Region, property.WebhookSecret and api_key were set"
    assert holds(rig, there)["AuthValue"] == KEY
    assert undo_of(rig, item)["former"] == {
        "property.Region": None,
        "property.WebhookSecret": None,
        "api_key": None,
    }
    assert undo_of(rig, item)["shown"]["auth_value"] == KEY


def test_a_property_that_is_listed_empty_is_set_by_its_id(rig: Rig) -> None:
    rig.switch("lists_declared", "empty")
    put_there(rig, WEBHOOK, auth_value=KEY)
    item = run(rig)
    assert rig.kinds("acme") == ["look", "change_property"]
    assert named(rig, *SETTERS) == [{"property.Region": "EU"}]
    assert (item.outcome, item.changed) == ("filled_in", ["property.Region"])


def test_where_one_value_differs_nothing_is_set_not_even_what_is_missing(rig: Rig) -> None:
    there = put_there(rig, ("Region", "US"))
    before = holds(rig, there)
    item = run(rig)
    assert rig.kinds("acme") == ["look"]
    assert (item.state, item.code, item.differs) == ("failed", "differs", ["property.Region"])
    assert item.message == "property.Region differs and was left alone: nothing was changed"
    assert (item.account_connector_id, item.must_look, holds(rig, there)) == (there, False, before)


def test_a_description_that_differs_is_named_and_left_alone(rig: Rig) -> None:
    put_there(rig, REGION, WEBHOOK, auth_value=KEY, description="Theirs")
    item = run(rig, cells={"description": "Ours"})
    assert rig.kinds("acme") == ["look"]
    assert (item.outcome, item.differs) == ("unchanged", ["description"])
    assert item.message == "description differs and was not changed"


def test_what_is_not_shown_is_named_and_left_alone(rig: Rig) -> None:
    rig.switch("masks_sensitive", "always")
    put_there(rig, REGION, ("WebhookSecret", "theirs"), auth_value=KEY)
    item = run(rig)
    assert rig.kinds("acme") == ["look"]
    assert (item.outcome, item.differs) == ("unchanged", ["property.WebhookSecret (not shown)"])
    assert item.message == "property.WebhookSecret was left as Cyclr has it, since it is not shown"


# Overwriting.


def test_overwriting_sets_what_differs_and_nothing_that_the_row_does_not_name(rig: Rig) -> None:
    there = put_there(rig, ("Region", "US"), ("Extra", "theirs"), auth_value="old", description="Theirs")
    item = run(rig, cells={"property_WebhookSecret": ""}, overwrite=True)
    assert rig.kinds("acme") == ["look", "change_property", "change_account_connector"]
    assert named(rig, *SETTERS) == [{"property.Region": "EU"}, {"AuthValue": KEY}]
    assert (item.outcome, item.changed) == ("updated", ["property.Region", "api_key"])
    assert holds(rig, there) == {
        "Name": MAIL,
        "Description": "Theirs",
        "AuthValue": KEY,
        "Authenticated": "true",
        "property.Region": "EU",
        "property.Extra": "theirs",
    }
    assert undo_of(rig, item)["former"] == {"property.Region": "US", "api_key": "old"}


def test_credential_and_description_are_one_call(rig: Rig) -> None:
    put_there(rig, REGION, WEBHOOK, auth_value="old", description="Theirs")
    item = run(rig, cells={"description": "Ours"}, overwrite=True)
    assert rig.kinds("acme") == ["look", "change_account_connector"]
    assert named(rig, *SETTERS) == [{"AuthValue": KEY, "Description": "Ours"}]
    assert item.changed == ["api_key", "description"]


def test_a_description_alone_is_set_alone(rig: Rig) -> None:
    put_there(rig, REGION, WEBHOOK, auth_value=KEY, description="Theirs")
    item = run(rig, cells={"description": "Ours"}, overwrite=True)
    assert named(rig, *SETTERS) == [{"Description": "Ours"}]
    assert (item.outcome, item.changed) == ("updated", ["description"])


def test_overwriting_sets_what_is_not_shown_once(rig: Rig) -> None:
    rig.switch("masks_sensitive", "always")
    rig.switch("masks_auth_value", "always")
    there = put_there(rig, REGION, ("WebhookSecret", "theirs"), auth_value="theirs")
    item = run(rig, overwrite=True)
    assert rig.kinds("acme") == ["look", "change_property", "change_account_connector"]
    assert (item.outcome, item.changed) == ("updated", ["property.WebhookSecret", "api_key"])
    assert item.shown_otherwise == ["property.WebhookSecret", "api_key"]
    assert holds(rig, there)["property.WebhookSecret"] == "whsec-of-acme-77ab"


def test_without_undo_nothing_of_what_was_there_is_kept(rig: Rig) -> None:
    put_there(rig, REGION, WEBHOOK, auth_value="old")
    item = run(rig, overwrite=True, no_undo=True)
    assert (item.outcome, item.undo) == ("updated", None)


# Other Names, other connectors.


def test_the_connector_under_another_name_is_left_alone_and_named(rig: Rig) -> None:
    put_there(rig, name="MailChimp 2")
    item = run(rig)
    assert rig.kinds("acme") == ["look"]
    assert (item.state, item.code) == ("failed", "present_under_other_name")
    assert item.message == "the account has this connector under the Name 'MailChimp 2': nothing was changed"
    assert rig.installs("acme") == 0


def test_beside_it_a_second_one_is_installed_where_that_is_asked_for(rig: Rig) -> None:
    put_there(rig, name="MailChimp 2")
    assert run(rig, beside=True).outcome == "created"


def test_names_of_other_rows_of_the_job_are_no_other_names(rig: Rig) -> None:
    put_there(rig, name="Second")
    job_id = rig.load(row("acme", name="Second"), row("acme", name="First"), no_look=False)
    job = rig.run(job_id)
    assert (job.installed, job.failed) == (2, 0)
    assert rig.installs("acme") == 1


def test_what_a_row_of_ours_has_made_under_another_name_is_no_other_name(rig: Rig) -> None:
    run(rig, cells={"name": "First"})
    assert run(rig, cells={"name": "Second"}).outcome == "created"


def test_what_a_row_of_ours_has_only_found_is_another_name(rig: Rig) -> None:
    put_there(rig, REGION, WEBHOOK, name="First", auth_value=KEY)
    assert run(rig, cells={"name": "First"}).outcome == "unchanged"
    assert run(rig, cells={"name": "Second"}).code == "present_under_other_name"


def test_the_name_on_another_connector_is_left_alone(rig: Rig) -> None:
    put_there(rig, connector=CRM)
    item = run(rig)
    assert (item.code, rig.kinds("acme")) == ("name_in_use", ["look"])


def test_of_two_that_match_none_is_changed(rig: Rig) -> None:
    rig.switch("name_check", False)
    put_there(rig, name=MAIL.upper())
    there = put_there(rig, name=MAIL.lower())
    item = run(rig)
    rig.simulator.call(lambda world: world.remove(world.get_account("acme"), connector_of(world, there)))
    assert (item.state, item.code, rig.kinds("acme")) == ("failed", "ambiguous", ["look"])
    assert (
        item.message
        == "two account connectors of this connector have the Name 'Northwind Mail': nothing was changed"
    )


def test_without_a_look_a_name_in_use_is_looked_at_and_filled_in(rig: Rig) -> None:
    put_there(rig, REGION, WEBHOOK)
    put_there(rig, name="MailChimp 2")
    job_id = rig.load(row("acme"), no_look=True)
    rig.run(job_id)
    assert rig.kinds("acme") == ["install", "look", "change_account_connector"]
    assert rig.item("acme").outcome == "filled_in"


# What Cyclr makes of a value.


def test_what_cyclr_normalises_is_no_difference(rig: Rig) -> None:
    rig.switch("normalises", True)
    rig.simulator.call(
        lambda world: world.add_connector(
            "Flags", "1.0", methods=[API_KEY], parameters=(Parameter(1, "Test", "Test", is_sensitive=False),)
        )
    )
    put_there(rig, ("Test", "True"), name="Flags", connector="Flags", auth_value=KEY)
    cells = {"connector": "Flags", "property_Region": "", "property_WebhookSecret": ""}
    assert run(rig, cells=cells | {"property.Test": "true"}).outcome == "unchanged"
    assert run(rig, cells=cells | {"property.Test": "false"}, overwrite=True).outcome == "updated"
    assert run(rig, cells=cells | {"property.Test": "FALSE"}).outcome == "unchanged"


def stuck(rig: Rig) -> None:
    """Cyclr takes a property and keeps the value that it had."""

    def stick(world: Any) -> None:
        def keep(account: Any, connector: Any, entry: Any, fields: Any) -> None:
            return None

        world.change_property = keep

    rig.simulator.call(stick)


def test_a_value_that_is_still_as_it_was_after_two_calls_is_not_taken(rig: Rig) -> None:
    there = put_there(rig, ("Region", "US"), WEBHOOK, auth_value=KEY)
    stuck(rig)
    item = run(rig, overwrite=True)
    assert rig.kinds("acme") == ["look", "change_property", "change_property"]
    assert (item.state, item.code, item.differs) == ("failed", "not_taken", ["property.Region"])
    assert item.message == "Cyclr took property.Region 2 times and still shows what was there before"
    assert (item.changed, item.account_connector_id) == (None, there)


def test_a_credential_that_does_not_authenticate_fails_the_row(rig: Rig) -> None:
    there = put_there(rig, REGION, WEBHOOK)
    answer = {
        "Id": there,
        "Name": MAIL,
        "AuthValue": None,
        "Authenticated": False,
        "Connector": {"Name": MAIL},
    }
    rig.fault(faults.garbage(json.dumps(answer)), call="change_account_connector", account_id="acme")
    item = run(rig)
    assert rig.kinds("acme") == ["look", "change_account_connector"]
    assert (item.state, item.code, item.differs) == ("failed", "not_authenticated", ["api_key"])
    assert item.message == "api_key was set, and Cyclr does not call it authenticated"


def test_so_does_one_of_a_connector_that_the_row_has_made(rig: Rig) -> None:
    answer = {"Id": 77, "Name": MAIL, "AuthValue": KEY, "Authenticated": False, "Connector": {"Name": MAIL}}
    answer["Properties"] = [{"Name": name, "Value": value, "Id": 5} for name, value in (REGION, WEBHOOK)]
    rig.fault(faults.garbage(json.dumps(answer)), call="install", account_id="acme")
    item = run(rig)
    assert (item.state, item.code, item.account_connector_id) == ("failed", "not_authenticated", 77)
    assert (item.steps_done, rig.kinds("acme")) == (["connector"], ["look", "install"])


# Methods.


def test_a_credential_is_not_set_where_cyclr_does_not_show_the_method(rig: Rig) -> None:
    basic = method("Basic", seed="tests")
    rig.simulator.call(
        lambda world: world.add_connector("Two", "1.0", methods=[API_KEY, basic], parameters=())
    )
    put_there(rig, name="Two", connector="Two")
    cells = {
        "connector": "Two",
        "authentication": "ApiKey",
        "property_Region": "",
        "property_WebhookSecret": "",
    }
    item = run(rig, cells=cells)
    assert (item.state, item.code, item.differs) == ("failed", "method_unknown", ["api_key"])
    assert rig.kinds("acme") == ["look"]
    assert run(rig, cells=cells, assume_method=True).outcome == "filled_in"


def test_where_we_have_installed_it_the_method_is_known(rig: Rig) -> None:
    basic = method("Basic", seed="tests")
    rig.simulator.call(
        lambda world: world.add_connector("Two", "1.0", methods=[API_KEY, basic], parameters=())
    )
    cells = {
        "connector": "Two",
        "authentication": "ApiKey",
        "property_Region": "",
        "property_WebhookSecret": "",
    }
    assert run(rig, cells=cells).outcome == "created"
    assert run(rig, cells=cells | {"api_key": "another-key"}, overwrite=True).outcome == "updated"


# Customers.


def test_only_a_row_whose_customer_can_authorise_waits_for_one(rig: Rig) -> None:
    put_there(rig, name=CRM, connector=CRM)
    bare = {"api_key": "", "property_Region": "", "property_WebhookSecret": ""}
    item = run(rig, cells=bare | {"connector": CRM})
    assert (item.outcome, item.is_authenticated) == ("unchanged", False)
    assert item.message == "waits for the customer's authorisation"
    put_there(rig)
    item = run(rig, cells=bare | {"authentication": "later"})
    assert (item.outcome, item.is_authenticated) == ("unchanged", False)
    assert item.message == "waits for its credential, which is given at Cyclr"
