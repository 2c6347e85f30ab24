from typing import Any

import pytest

from worker.cyclr import shapes
from worker.cyclr.answers import Unexpected
from worker.domain.connectors import AuthMethod, InstalledProperty, Parameter

INSTALLED: dict[str, Any] = {
    "Id": 54321,
    "Name": "Installed Example",
    "Description": None,
    "AuthValue": "in-clear",
    "Authenticated": True,
    "Connector": {"Id": 7, "Name": "Example", "Version": "1.0"},
    "Properties": [{"Name": "isSandbox", "Value": "true", "Id": 41, "AccountConnectorId": 54321}],
    "CustomFields": [],
}


def test_an_account_connector_keeps_what_is_compared() -> None:
    found = shapes.account_connector(INSTALLED)
    assert found.id == 54321
    assert found.name == "Installed Example"
    assert found.connector_name == "Example"
    assert found.is_authenticated
    assert found.auth_value == "in-clear"
    assert found.properties == (InstalledProperty("isSandbox", "true", 41),)
    assert "true" not in repr(found.properties)
    assert "in-clear" not in repr(found)


def test_a_sign_in_token_is_kept_and_never_shown() -> None:
    found = shapes.sign_in({"Token": "a/b+c=", "ExpiresAtUtc": "2017-12-08T11:02:48.7436471Z"})
    assert found.token == "a/b+c="
    assert "a/b" not in repr(found)


@pytest.mark.parametrize("data", [{}, {"Token": None}, {"Token": " "}, {"Token": "a\nb"}, ["a"]])
def test_what_is_no_sign_in_token_is_not_taken_for_one(data: Any) -> None:
    with pytest.raises(Unexpected):
        shapes.sign_in(data)


@pytest.mark.parametrize(
    "change",
    [
        {"Id": "54321"},
        {"Id": True},
        {"Id": None},
        {"Id": 1.5},
        {"Name": 5},
        {"Connector": "Example"},
        {"Connector": {}},
        {"Connector": {"name": "Example"}},
    ],
)
def test_an_entry_that_cannot_be_read_is_not_taken_for_another(change: dict[str, Any]) -> None:
    with pytest.raises(Unexpected):
        shapes.account_connector(INSTALLED | change)


@pytest.mark.parametrize("missing", ["Id", "Name", "Connector"])
def test_an_entry_without_what_identifies_it_is_an_error(missing: str) -> None:
    with pytest.raises(Unexpected):
        shapes.account_connector({k: v for k, v in INSTALLED.items() if k != missing})


def test_an_entry_that_has_no_name_or_connector_is_nobodys() -> None:
    found = shapes.account_connector(INSTALLED | {"Name": None, "Connector": None, "Properties": None})
    assert (found.name, found.connector_name, found.properties) == ("", "", ())


@pytest.mark.parametrize(
    ("value", "text"), [("x", "x"), (None, None), (True, "true"), (5, "5"), (["x"], "x"), ([], "")]
)
def test_a_property_value_is_read_as_text(value: Any, text: str | None) -> None:
    entry = INSTALLED | {"Properties": [{"Name": "p", "Value": value}]}
    assert shapes.account_connector(entry).properties == (InstalledProperty("p", text),)


@pytest.mark.parametrize("id_", [None, "41", True, 0, -1, 2**63])
def test_what_is_no_id_of_a_property_is_none(id_: Any) -> None:
    entry = INSTALLED | {"Properties": [{"Name": "p", "Value": "x", "Id": id_}]}
    assert shapes.account_connector(entry).properties == (InstalledProperty("p", "x"),)


def test_a_property_that_was_set_has_a_name_and_an_id() -> None:
    answer = {"Name": "p", "Value": "x", "Id": 41, "AccountConnectorId": 54321}
    assert shapes.account_property(answer) == InstalledProperty("p", "x", 41)
    for missing in ("Name", "Id"):
        with pytest.raises(Unexpected):
            shapes.account_property({name: value for name, value in answer.items() if name != missing})


def test_a_connector_keeps_methods_and_parameters() -> None:
    found = shapes.connector(
        {
            "Id": 12,
            "Name": "Access CRM",
            "Description": "A CRM",
            "Status": "Approved",
            "Version": "v3",
            "Authentication": [
                {"Id": "0c-1", "AuthName": "Key", "AuthType": "ApiKey", "OAuth2Type": "Unknown"}
            ],
            "Parameters": [
                {
                    "Id": 41,
                    "Name": "Sandbox?",
                    "TargetName": "isSandbox",
                    "IsAccountConnectorProperty": True,
                    "IsSensitive": False,
                    "IsOptional": False,
                    "Values": ["true", "false"],
                },
                {"Id": 42, "Name": "Key", "TargetName": "integratorKey"},
            ],
        }
    )
    assert (found.release_id, found.name, found.version, found.status) == (12, "Access CRM", "v3", "Approved")
    assert found.methods == (AuthMethod("0c-1", "Key", "ApiKey", "Unknown"),)
    assert found.parameters == (
        Parameter(
            41,
            "isSandbox",
            "Sandbox?",
            is_account_property=True,
            is_sensitive=False,
            is_optional=False,
            choices=("true", "false"),
        ),
        Parameter(42, "integratorKey", "Key", is_account_property=False, is_sensitive=True, is_optional=True),
    )


def test_a_single_connector_reads_as_a_list_of_one() -> None:
    assert len(shapes.connectors({"Id": 1, "Name": "a"})) == 1
    assert shapes.connectors([]) == ()


@pytest.mark.parametrize(
    "data", [{}, {"access_token": ""}, {"access_token": 5}, {"access_token": "a\r\nb"}, []]
)
def test_a_grant_without_a_usable_token_is_none(data: Any) -> None:
    with pytest.raises(Unexpected):
        shapes.grant(data)


def test_a_grant_shows_no_token() -> None:
    grant = shapes.grant({"access_token": "in-clear", "expires_in": "1209599"})
    assert grant.lives_s == 1209599.0
    assert repr(grant) == "Grant()"
