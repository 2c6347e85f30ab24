import hashlib

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
    assert seeded == {"connector_ids": [504]}
    assert cyclr.http.get("/_sim/installed").json() == {
        "late": [
            {
                "Id": 6508,
                "Name": "N",
                "connector": "New",
                "authenticated": True,
                "auth_value_sha256": hashlib.sha256(b"k").hexdigest(),
                "properties": ["P"],
            }
        ]
    }
    assert cyclr.ledger.effects == []


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


def test_controls_are_not_in_the_ledger(cyclr: Cyclr) -> None:
    cyclr.control("switches")
    assert [call.kind for call in cyclr.ledger.calls] == ["token"]
