"""How Cyclr behaves where nobody knows: each way can be switched on."""

import json
from typing import Any

import pytest

from tests.integration.simulator.conftest import Cyclr

MASK = "********"
REGION = {"Name": "Region", "Value": "EU"}


@pytest.fixture
def crm(cyclr: Cyclr) -> str:
    """The path of an installed connector with a sensitive property, one that is not, and one of an OAuth app."""
    parameters = [
        {"target_name": "Region"},
        {"target_name": "Secret", "is_sensitive": True},
        {"target_name": "Zone"},
    ]
    seeded = cyclr.control(
        "seed",
        connectors=[{"name": "CRM", "methods": [{"auth_type": "ApiKey"}], "parameters": parameters}],
        installed=[
            {
                "account_id": "acme",
                "connector": "CRM",
                "auth_value": "key-1",
                "properties": {"Region": "EU", "Secret": "s-1", "ClientSecret": "c-1"},
            }
        ],
    )
    return f"/account/connectors/{seeded['installed_ids'][0]}"


def values(answer: dict[str, Any]) -> dict[str, str | None]:
    return {entry["Name"]: entry["Value"] for entry in answer["Properties"]}


def test_a_put_merges_properties_by_name_and_on_request_replaces_the_set(cyclr: Cyclr, crm: str) -> None:
    merged = cyclr.call("PUT", crm, json={"Properties": [{"Name": "Region", "Value": "US"}]}).json()
    assert values(merged) == {"Region": "US", "Secret": "s-1", "ClientSecret": "c-1"}
    cyclr.control("switches", put_properties="replace")
    replaced = cyclr.call("PUT", crm, json={"Properties": [{"Name": "Zone", "Value": "z"}]}).json()
    assert values(replaced) == {"Zone": "z"}
    assert values(cyclr.call("PUT", crm, json={"Description": "d"}).json()) == {"Zone": "z"}


@pytest.mark.parametrize(
    ("rule", "status", "listed"),
    [
        ("overwrite", 200, [("Region", "US")]),
        ("duplicate", 200, [("Region", "EU"), ("Region", "US")]),
        ("refuse", 400, [("Region", "EU")]),
    ],
)
def test_a_second_property_of_a_name_overwrites_doubles_or_is_refused(
    cyclr: Cyclr, rule: str, status: int, listed: list[tuple[str, str]]
) -> None:
    path = f"/account/connectors/{cyclr.install(Name='M', Properties=[REGION]).json()['Id']}/properties"
    cyclr.control("switches", same_property=rule)
    assert cyclr.call("POST", path, json={"Name": "Region", "Value": "US"}).status_code == status
    assert [(entry["Name"], entry["Value"]) for entry in cyclr.get(path).json()] == listed
    assert cyclr.call("POST", path, json={"Name": "Zone", "Value": "z"}).status_code == 200


@pytest.mark.parametrize(("masking", "in_put"), [("in_reads", "key-2"), ("always", MASK)])
def test_a_credential_is_masked_in_reads_or_in_every_answer(
    cyclr: Cyclr, crm: str, masking: str, in_put: str
) -> None:
    cyclr.control("switches", masks_auth_value=masking)
    assert cyclr.call("PUT", crm, json={"AuthValue": "key-2"}).json()["AuthValue"] == in_put
    read = cyclr.get(crm).json()
    assert (read["AuthValue"], read["Authenticated"]) == (MASK, True)
    assert cyclr.get("/account/connectors").json() == [read]
    assert values(read) == {"Region": "EU", "Secret": "s-1", "ClientSecret": "c-1"}


@pytest.mark.parametrize(("masking", "in_put"), [("in_reads", "s-2"), ("always", MASK)])
def test_sensitive_values_are_masked_in_reads_or_in_every_answer(
    cyclr: Cyclr, crm: str, masking: str, in_put: str
) -> None:
    cyclr.control("switches", masks_sensitive=masking)
    secret = next(e["Id"] for e in cyclr.get(f"{crm}/properties").json() if e["Name"] == "Secret")
    one = f"{crm}/properties/{secret}"
    assert cyclr.call("PUT", one, json={"Name": "Secret", "Value": "s-2"}).json()["Value"] == in_put
    assert cyclr.get(one).json()["Value"] == MASK
    read = cyclr.get(crm).json()
    assert values(read) == {"Region": "EU", "Secret": MASK, "ClientSecret": MASK}
    assert read["AuthValue"] == "key-1"
    assert cyclr.get(f"{crm}/properties").json() == read["Properties"]


def test_what_is_not_there_is_not_masked(cyclr: Cyclr) -> None:
    cyclr.control("switches", masks_auth_value="always", masks_sensitive="always")
    answer = cyclr.install(Name="M", Properties=[{"Name": "Region", "Value": None}]).json()
    assert (answer["AuthValue"], values(answer)) == (None, {"Region": None})


@pytest.mark.parametrize(("listed", "value"), [("empty", ""), ("null", None)])
def test_declared_properties_are_listed_from_the_install_on(
    cyclr: Cyclr, crm: str, listed: str, value: str | None
) -> None:
    cyclr.control("switches", lists_declared=listed)
    assert values(cyclr.install(Name="M").json()) == {"Region": value}
    before = cyclr.get(crm).json()
    assert values(before) == {"Region": "EU", "Secret": "s-1", "ClientSecret": "c-1", "Zone": value}
    zone = before["Properties"][3]["Id"]
    cyclr.call("PUT", f"{crm}/properties/{zone}", json={"Name": "Zone", "Value": "z"})
    assert values(cyclr.get("/account/connectors").json()[0])["Zone"] == "z"


def test_values_are_kept_as_sent_and_on_request_normalised(cyclr: Cyclr, crm: str) -> None:
    path = f"{crm}/properties"
    sent = {"Name": "Sandbox", "Value": " true "}
    assert cyclr.call("POST", path, json=sent).json()["Value"] == " true "
    cyclr.control("switches", normalises=True)
    added = cyclr.call("POST", path, json=sent).json()
    assert added["Value"] == "True"
    one = f"{path}/{added['Id']}"
    assert cyclr.call("PUT", one, json={"Name": "Sandbox", "Value": "FALSE"}).json()["Value"] == "False"
    held = {"Name": "Sandbox", "Value": '{"b": 1, "a": [true, 2]}'}
    assert cyclr.call("PUT", one, json=held).json()["Value"] == '{"a":[true,2],"b":1}'
    assert cyclr.call("PUT", crm, json={"AuthValue": " key-2 "}).json()["AuthValue"] == "key-2"
    pair = {"Name": "Region", "Value": " EU"}
    assert values(cyclr.call("PUT", crm, json={"Properties": [pair]}).json())["Region"] == "EU"
    assert values(cyclr.install(Name="M", Properties=[pair]).json()) == {"Region": "EU"}


def test_living_tokens_are_others_at_each_call_and_keys_stay(cyclr: Cyclr, crm: str) -> None:
    cyclr.control("switches", refreshes_tokens=True)
    tokens = {"AccessToken": "a-0", "RefreshToken": "r-0", "Expires": "2030-01-01T00:00:00Z"}
    sent = cyclr.install(Name="M", AuthValue=json.dumps(tokens)).json()
    assert json.loads(sent["AuthValue"]) == tokens
    path = f"/account/connectors/{sent['Id']}"
    reads = [json.loads(cyclr.get(path).json()["AuthValue"]) for _ in range(2)]
    assert [read["AccessToken"] for read in reads] == ["access-1", "access-2"]
    assert reads[0]["Expires"] == "2030-01-01T00:00:00Z"
    assert cyclr.get(crm).json()["AuthValue"] == "key-1"
    assert [effect.by for effect in cyclr.ledger.effects_of("refreshed")] == ["cyclr"] * 3
