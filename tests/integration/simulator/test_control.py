import hashlib
from typing import Any

import pytest

from tests.integration.simulator.conftest import Cyclr


def test_accounts_connectors_and_installed_ones_are_seeded(cyclr: Cyclr) -> None:
    seeded = cyclr.control(
        "seed",
        accounts=[{"id": "late", "name": "Late"}],
        connectors=[
            {"name": "New", "methods": [{"auth_type": "ApiKey"}], "parameters": [{"target_name": "P"}]}
        ],
        installed=[
            {
                "account_id": "late",
                "connector": "New",
                "name": "N",
                "auth_value": "k",
                "properties": {"P": "v"},
            }
        ],
    )
    assert seeded == {"connector_ids": [504], "installed_ids": [6508]}
    assert cyclr.http.get("/_sim/installed").json() == {
        "late": [
            {
                "Id": 6508,
                "Name": "N",
                "connector": "New",
                "authenticated": True,
                "auth_value_sha256": hashlib.sha256(b"k").hexdigest(),
                "properties": ["P"],
                "state": {
                    "Name": "N",
                    "Description": None,
                    "AuthValue": hashlib.sha256(b"k").hexdigest(),
                    "Authenticated": "true",
                    "property.P": hashlib.sha256(b"v").hexdigest(),
                },
            }
        ]
    }
    assert cyclr.ledger.effects == []


def test_ids_of_accounts_connectors_and_account_connectors_can_be_chosen(cyclr: Cyclr) -> None:
    seeded = cyclr.control(
        "seed",
        accounts=[{"id": "JO-Test-1234567890"}],
        connectors=[{"name": "Access CRM", "id": 504}, {"name": "Next"}],
        installed=[
            {"account_id": "JO-Test-1234567890", "connector": "Access CRM", "id": 1874},
            {"account_id": "acme", "connector": 504, "id": 6508},
            {"account_id": "acme", "connector": "Next"},
        ],
    )
    assert seeded == {"connector_ids": [504, 505], "installed_ids": [1874, 6508, 6509]}
    assert cyclr.get("/account/connectors/1874", "JO-Test-1234567890").json()["Connector"]["Id"] == 504
    assert cyclr.install(Name="Mail").json()["Id"] == 6510


@pytest.mark.parametrize(
    "asked",
    [
        {"accounts": [{"id": "acme"}]},
        {"connectors": [{"name": "Again", "id": 501}]},
        {"installed": [{"account_id": "acme", "connector": 501, "id": 7}] * 2},
    ],
)
def test_an_id_that_is_taken_is_refused(cyclr: Cyclr, asked: dict[str, Any]) -> None:
    assert cyclr.http.post("/_sim/seed", json=asked).status_code == 400


def test_the_ledger_is_read_from_an_index_on(cyclr: Cyclr) -> None:
    begun = cyclr.http.get("/_sim/ledger").json()
    assert [call["kind"] for call in begun["calls"]] == ["token"]
    cyclr.install(Name="Mail")
    since = {"since": begun["next_call"], "effects_since": begun["next_effect"]}
    more = cyclr.http.get("/_sim/ledger", params=since).json()
    assert [call["name"] for call in more["calls"]] == ["Mail"]
    assert [effect["kind"] for effect in more["effects"]] == ["installed"]
    assert (more["next_call"], more["next_effect"]) == (2, 1)


def test_counts_tell_calls_effects_and_faults_apart(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="server_error", count=1, call="install")
    cyclr.install(Name="Mail")
    cyclr.install(Name="Mail")
    assert cyclr.http.get("/_sim/counts").json() == {
        "calls": {"token": 1, "install": 2},
        "effects": {"installed": 1},
        "faults": {"server_error": 1},
        "accounts": 2,
        "doubles": 0,
    }


def test_the_faults_in_force_tell_how_often_they_struck(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="throttled", retry_after=2, count=3, call="install")
    cyclr.control("faults", kind="silence", account_id="globex")
    cyclr.install(Name="Mail")
    assert cyclr.http.get("/_sim/faults").json() == {
        "faults": [
            {"id": 1, "kind": "throttled", "call": "install", "account_id": None, "hits": 1, "left": 2},
            {"id": 2, "kind": "silence", "call": "any", "account_id": "globex", "hits": 0, "left": None},
        ]
    }


def test_the_ledger_keeps_the_time_for_which_a_caller_was_told_to_wait(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="throttled", retry_after=2, count=1, call="install")
    cyclr.install(Name="Mail")
    cyclr.install(Name="Mail")
    assert [call.retry_after for call in cyclr.ledger.calls_of("install")] == ["2", None]


def test_an_unknown_switch_is_refused_and_nothing_is_set(cyclr: Cyclr) -> None:
    answer = cyclr.http.post("/_sim/switches", json={"name_check": False, "nmae_check": True})
    assert answer.status_code == 400
    assert "nmae_check" in answer.json()["error"]
    assert cyclr.control("switches")["name_check"] is True


@pytest.mark.parametrize(
    ("switch", "value", "wanted"),
    [
        ("name_check", "no", "true or false"),
        ("max_page_size", True, "a number"),
        ("away", "504", "reset or 503 or null"),
        ("put_properties", "append", "merge or replace"),
        ("masks_sensitive", True, "never or in_reads or always"),
        ("lists_declared", None, "once_set or empty or null"),
    ],
)
def test_a_switch_says_what_it_may_be(cyclr: Cyclr, switch: str, value: object, wanted: str) -> None:
    answer = cyclr.http.post("/_sim/switches", json={"normalises": True, switch: value})
    assert answer.json()["error"] == f"ValueError: {switch}: expected {wanted}, got {value}"
    assert cyclr.control("switches")["normalises"] is False


def test_controls_are_not_in_the_ledger(cyclr: Cyclr) -> None:
    cyclr.control("switches")
    assert [call.kind for call in cyclr.ledger.calls] == ["token"]
