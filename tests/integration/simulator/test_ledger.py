"""The ledger: what each call that changes something named, and what was there before and after."""

import hashlib
import random
from dataclasses import asdict

import pytest

from tests.integration.simulator.conftest import Cyclr, wait_until
from worker.simulator.ledger import Call, Effect, Ledger, State

REGION = {"Name": "Region", "Value": "EU"}


def test_an_install_has_nothing_before_and_all_that_it_named_after(cyclr: Cyclr) -> None:
    cyclr.install(Name="Mail", AuthValue="k", Properties=[REGION])
    (change,) = cyclr.ledger.changes()
    assert change.kind == "install"
    assert (change.by, change.account_id, change.account_connector_id) == ("caller", "acme", 6508)
    assert change.named == {"Name": "Mail", "AuthValue": "k", "property.Region": "EU"}
    assert (change.took_effect, change.before) == (True, None)
    assert change.after == {
        "Name": "Mail",
        "Description": None,
        "AuthValue": "k",
        "Authenticated": "true",
        "property.Region": "EU",
    }


def test_each_call_that_changes_names_its_fields_and_shows_what_they_were(cyclr: Cyclr) -> None:
    path = f"/account/connectors/{cyclr.install(Name='Mail').json()['Id']}"
    cyclr.call("PUT", path, json={"AuthValue": "k", "Description": "d"})
    property_id = cyclr.call("POST", f"{path}/properties", json=REGION).json()["Id"]
    cyclr.call("PUT", f"{path}/properties/{property_id}", json={"Value": "US", "Id": 0})
    cyclr.call("DELETE", f"{path}/properties/{property_id}", json={})
    cyclr.call("PUT", f"{path}/deauthenticate")
    cyclr.call("DELETE", path, json={})
    told = [(change.kind, change.named) for change in cyclr.ledger.changes("acme")]
    assert told == [
        ("install", {"Name": "Mail"}),
        ("change_account_connector", {"AuthValue": "k", "Description": "d"}),
        ("add_property", {"property.Region": "EU"}),
        ("change_property", {"property.Region": "US"}),
        ("remove_property", {"property.Region": None}),
        ("deauthenticate", {"AuthValue": None}),
        ("remove_account_connector", {}),
    ]
    changed = [sorted(effect.changed) for effect in cyclr.ledger.effects]
    assert changed == [
        ["AuthValue", "Authenticated", "Description", "Name"],
        ["AuthValue", "Authenticated", "Description"],
        ["property.Region"],
        ["property.Region"],
        ["property.Region"],
        ["AuthValue", "Authenticated"],
        ["AuthValue", "Authenticated", "Description", "Name"],
    ]
    states = [change.after for change in cyclr.ledger.changes()]
    assert [change.before for change in cyclr.ledger.changes()] == [None, *states[:-1]]
    assert states[-1] is None
    assert {change.account_connector_id for change in cyclr.ledger.changes()} == {6508}


def test_a_call_that_changed_nothing_is_there_with_what_it_named(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="server_error", call="install", count=1)
    cyclr.install(Name="Mail", AuthValue="k")
    cyclr.call("PUT", "/account/connectors/99", json={"AuthValue": "k2", "Odd": {"deep": 1}})
    told = [(c.took_effect, c.account_connector_id, c.named, c.before) for c in cyclr.ledger.changes()]
    assert told == [
        (False, None, {"Name": "Mail", "AuthValue": "k"}, None),
        (False, 99, {"AuthValue": "k2", "odd": '{"deep": 1}'}, None),
    ]
    assert cyclr.ledger.changes("globex") == []


def test_a_late_effect_belongs_to_its_call(cyclr: Cyclr) -> None:
    path = f"/account/connectors/{cyclr.install(Name='Mail').json()['Id']}"
    cyclr.control("faults", kind="late_effect", later_s=0.2, status=504, call="change_account_connector")
    assert cyclr.call("PUT", path, json={"AuthValue": "k"}).status_code == 504
    wait_until(lambda: len(cyclr.ledger.effects) == 2)
    assert cyclr.ledger.effects[-1].call == cyclr.ledger.calls_of("change_account_connector")[0].index


def test_a_second_property_of_a_name_has_its_id_in_the_ledger(cyclr: Cyclr) -> None:
    cyclr.control("switches", same_property="duplicate")
    path = f"/account/connectors/{cyclr.install(Name='Mail', Properties=[REGION]).json()['Id']}/properties"
    second = cyclr.call("POST", path, json={"Name": "Region", "Value": "US"}).json()["Id"]
    after = cyclr.ledger.effects[-1].after
    assert after is not None
    assert (after["property.Region"], after[f"property.Region ({second})"]) == ("EU", "US")


def test_another_process_is_told_all_but_the_values(cyclr: Cyclr) -> None:
    cyclr.install(Name="Mail", AuthValue="made-up-key", Properties=[{"Name": "Region", "Value": "hush"}])
    answer = cyclr.http.get("/_sim/ledger")
    told = Ledger(lambda: 0.0)
    told.calls = [Call(**entry) for entry in answer.json()["calls"]]
    told.effects = [Effect(**entry) for entry in answer.json()["effects"]]
    (change,) = told.changes()
    key, region = (hashlib.sha256(value).hexdigest() for value in (b"made-up-key", b"hush"))
    assert change.named == {"Name": "Mail", "AuthValue": key, "property.Region": region}
    assert change.after is not None
    assert (change.after["AuthValue"], change.after["property.Region"]) == (key, region)
    assert told.calls[-1].property_names == ("Region",)
    assert "made-up-key" not in answer.text
    assert "hush" not in answer.text


@pytest.mark.parametrize("secret", ["made-up-key", "hush"])
def test_what_is_printed_of_an_entry_holds_no_value(cyclr: Cyclr, secret: str) -> None:
    cyclr.install(Name="Mail", AuthValue="made-up-key", Properties=[{"Name": "Region", "Value": "hush"}])
    call, effect = cyclr.ledger.calls[-1], cyclr.ledger.effects[-1]
    assert secret in str(asdict(call)) + str(asdict(effect))
    assert secret not in repr(call) + repr(effect)


@pytest.mark.parametrize("seed", range(3))
def test_the_changes_of_an_account_connector_follow_each_other_to_what_it_is_now(
    cyclr: Cyclr, seed: int
) -> None:
    dice = random.Random(seed)
    cyclr.control(
        "switches",
        put_properties=dice.choice(("merge", "replace")),
        same_property=dice.choice(("overwrite", "duplicate")),
        normalises=dice.random() < 0.5,
        refreshes_tokens=True,
    )
    cyclr.control("faults", kind="server_error", after_effect=True, share=0.2, seed=seed)
    cyclr.control("faults", kind="server_error", share=0.2, seed=seed + 1)
    cyclr.control("admin", do="anything", share=0.3, count=None, seed=seed)
    tokens = '{"AccessToken": "a-0"}'
    for _ in range(80):
        there = cyclr.thread.call(lambda w: list(w.accounts["acme"].connectors))
        path = f"/account/connectors/{dice.choice(there) if there else 1}"
        verb, more, body = dice.choice(
            [
                ("PUT", "", {"AuthValue": dice.choice(("k", tokens)), "Properties": [REGION]}),
                ("PUT", "/deauthenticate", {}),
                ("POST", "/properties", {"Name": "Zone", "Value": " true "}),
                ("PUT", f"/properties/{dice.randint(40, 60)}", {"Value": "v"}),
                ("DELETE", f"/properties/{dice.randint(40, 60)}", {}),
                ("DELETE", "", {}),
            ]
        )
        cyclr.call(verb, f"{path}{more}", json=body)
        cyclr.install(Name=f"Mail {dice.randint(1, 9)}", AuthValue=tokens, Properties=[REGION])
    known: dict[int | None, State | None] = {}
    for change in cyclr.ledger.changes("acme"):
        if change.took_effect:
            assert change.before == known.get(change.account_connector_id)
            known[change.account_connector_id] = change.after
    now = cyclr.thread.call(lambda w: {c.id: c.state() for c in w.accounts["acme"].connectors.values()})
    assert {key: state for key, state in known.items() if state is not None} == now
    assert {change.by for change in cyclr.ledger.changes()} == {"caller", "admin", "cyclr"}
