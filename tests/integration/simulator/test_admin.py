"""Somebody at Cyclr's console changes things between two calls."""

from typing import Any

import pytest

from tests.integration.simulator.conftest import Cyclr
from worker.simulator.admin import DEEDS, NEEDED
from worker.simulator.ledger import State

REGION = {"Name": "Region", "Value": "EU"}


@pytest.fixture
def mail(cyclr: Cyclr) -> str:
    """The path of an installed connector with a credential and a property."""
    return (
        f"/account/connectors/{cyclr.install(Name='Mail', AuthValue='k', Properties=[REGION]).json()['Id']}"
    )


def state(cyclr: Cyclr) -> State | None:
    """What was there after the last thing that happened."""
    return cyclr.ledger.effects[-1].after


@pytest.mark.parametrize(
    ("asked", "changed"),
    [
        ({"do": "set_property", "name": "Region", "value": "US"}, {"property.Region": "US"}),
        ({"do": "set_property", "name": "Zone", "value": "z"}, {"property.Zone": "z"}),
        ({"do": "remove_property", "name": "Region"}, {"property.Region": None}),
        ({"do": "set_credential", "auth_value": "theirs"}, {"AuthValue": "theirs"}),
        ({"do": "describe", "description": "d"}, {"Description": "d"}),
        ({"do": "rename", "name": "Post"}, {"Name": "Post"}),
        ({"do": "deauthenticate"}, {"AuthValue": None, "Authenticated": "false"}),
        ({"do": "remove"}, None),
    ],
)
def test_each_deed_changes_what_it_says_and_is_the_admins(
    cyclr: Cyclr, mail: str, asked: dict[str, Any], changed: State | None
) -> None:
    before = state(cyclr)
    cyclr.control("admin", **asked)
    assert cyclr.get(mail).json()["Name"] == "Mail"
    change = cyclr.ledger.changes()[-1]
    assert (change.by, change.call, change.account_connector_id) == ("admin", None, 6508)
    assert change.before == before
    after = state(cyclr)
    if changed is None or before is None:
        assert after is None
    else:
        wanted = {**before, **changed}
        assert after is not None
        assert {name: after.get(name) for name in wanted} == wanted


def test_another_connector_is_installed_unless_its_name_is_in_use(cyclr: Cyclr, mail: str) -> None:
    cyclr.control("admin", do="install", connector="Plain Tool", name="Theirs")
    cyclr.control("admin", do="install", connector="Plain Tool", name="mail")
    cyclr.get(mail)
    assert cyclr.names() == ["Mail", "Theirs"]


def test_it_is_done_after_the_nth_call_of_a_kind_in_an_account_and_once(cyclr: Cyclr, mail: str) -> None:
    cyclr.control("admin", do="rename", name="Post", call="look", account_id="acme", nth=2)
    cyclr.get("/account/connectors", "globex")
    cyclr.get(mail)
    seen = [cyclr.get("/account/connectors").json()[0]["Name"] for _ in range(3)]
    assert seen == ["Mail", "Mail", "Post"]
    assert cyclr.http.get("/_sim/admin").json() == {
        "plans": [{"id": 1, "do": "rename", "call": "look", "account_id": "acme", "hits": 1, "left": 0}]
    }


def test_what_is_there_may_be_deleted_just_before_it_would_be_changed(cyclr: Cyclr, mail: str) -> None:
    cyclr.control("admin", do="remove", call="change_account_connector", moment="before")
    assert cyclr.call("PUT", mail, json={"AuthValue": "k2"}).status_code == 404
    put = cyclr.ledger.changes()[-2:]
    assert [(c.by, c.took_effect) for c in put] == [("caller", False), ("admin", True)]


def test_it_is_done_though_the_answer_is_lost(cyclr: Cyclr, mail: str) -> None:
    cyclr.control("faults", kind="server_error", after_effect=True, call="change_account_connector")
    cyclr.control("admin", do="describe", description="d", call="change_account_connector")
    assert cyclr.call("PUT", mail, json={"AuthValue": "k2"}).status_code == 500
    assert [effect.by for effect in cyclr.ledger.effects] == ["caller", "caller", "admin"]


def test_it_is_done_to_the_account_connector_of_a_name(cyclr: Cyclr, mail: str) -> None:
    cyclr.install(Name="Second")
    cyclr.control("admin", do="remove", to="Second")
    cyclr.control("admin", do="remove", to="Nobody")
    cyclr.get(mail)
    assert cyclr.names() == ["Mail"]


def test_anything_is_done_by_dice_and_the_same_for_the_same_seed(cyclr: Cyclr) -> None:
    def deeds(account_id: str) -> list[tuple[str, list[str]]]:
        cyclr.http.delete("/_sim/admin")
        cyclr.control("admin", do="anything", count=None, share=0.5, seed=3, account_id=account_id)
        for _ in range(60):
            cyclr.get("/account/connectors", account_id)
        changes = [effect for effect in cyclr.ledger.effects if effect.account_id == account_id]
        assert {effect.by for effect in changes} == {"admin"}
        return [(effect.kind, sorted(effect.changed)) for effect in changes]

    done = deeds("acme")
    assert done == deeds("globex")
    assert 15 <= len(done) <= 45
    assert {kind for kind, _ in done} == {"installed", "changed", "removed", "deauthenticated"}


def test_the_admin_can_be_told_to_stop(cyclr: Cyclr, mail: str) -> None:
    cyclr.control("admin", do="remove", count=None)
    cyclr.http.delete("/_sim/admin")
    cyclr.get(mail)
    assert cyclr.names() == ["Mail"]


@pytest.mark.parametrize(
    "asked",
    [
        {"do": "nothing"},
        {"do": "rename"},
        {"do": "remove", "name": "Mail"},
        {"do": "remove", "call": "no_such"},
        {"do": "remove", "moment": "during"},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(cyclr: Cyclr, asked: dict[str, str]) -> None:
    assert cyclr.http.post("/_sim/admin", json=asked).status_code == 400


def test_each_deed_that_needs_something_is_one() -> None:
    assert set(NEEDED) <= set(DEEDS)
