"""What a row does not name is never touched, however Cyclr takes a change."""

from typing import Any

import pytest

from tests.end_to_end.harness import Rig, row
from tests.end_to_end.there import FIELDS, LACKING, changes, ended, load, put_there, state
from worker.simulator.binding import Fields


@pytest.mark.parametrize("call", LACKING)
@pytest.mark.parametrize("options", [{}, {"overwrite": True}], ids=["filled-in", "overwritten"])
def test_only_what_the_row_lacks_is_named_and_changed(rig: Rig, call: str, options: dict[str, bool]) -> None:
    """Also where a PUT with Properties replaces all that there are."""
    rig.switch("put_properties", "replace")
    line = LACKING[call](rig, "acme")
    rig.simulator.call(add_theirs)
    before = state(rig, "acme")
    assert rig.run(load(rig, line, **options)).installed == 1
    assert ended(rig, "acme") == ("installed", "filled_in", [FIELDS[call]])
    [change] = changes(rig, "acme")
    field = {"api_key": "AuthValue"}.get(FIELDS[call], FIELDS[call])
    assert [name for name in change.named if name != "id"] == [field]
    after = state(rig, "acme")
    assert {name for name in after if after[name] != before.get(name)} - {"Authenticated"} == {field}
    assert set(before) <= set(after)


def add_theirs(world: Any) -> None:
    account = world.get_account("acme")
    [connector] = account.connectors.values()
    with world.acting("admin"):
        world.change(account, connector, Fields({"description": "of the customer"}), None)
        world.add_property(account, connector, "Theirs", "as it is")


@pytest.mark.parametrize("options", [{"overwrite": True}, {"operation": "update"}], ids=["run", "update"])
def test_what_a_row_names_is_replaced_and_nothing_else(rig: Rig, options: dict[str, object]) -> None:
    rig.switch("put_properties", "replace")
    put_there(
        rig, "acme", api_key="theirs-8c11", description="theirs", Region="US", WebhookSecret="theirs-31ab"
    )
    line = row("acme", property_WebhookSecret="", description="ours")
    assert rig.run(load(rig, line, **options)).installed == 1
    after = state(rig, "acme")
    assert (after["AuthValue"], after["Description"], after["property.Region"]) == (
        "key-of-acme-5f1c",
        "ours",
        "EU",
    )
    assert after["property.WebhookSecret"] == "theirs-31ab"
    assert [change.kind for change in changes(rig, "acme")] == ["change_property", "change_account_connector"]
