import hashlib
from typing import Any

import pytest

from tests.integration.simulator.conftest import API_KEY, Cyclr


def test_an_install_echoes_the_credential_in_clear_and_is_authenticated(cyclr: Cyclr) -> None:
    body = {"Name": "Mail", "Description": "d", "AuthenticationId": API_KEY.id, "AuthValue": "made-up-key"}
    answer = cyclr.install(**body, Properties=[{"Name": "Region", "Value": "EU", "Id": 0}]).json()
    assert (answer["Name"], answer["Description"], answer["AuthValue"]) == ("Mail", "d", "made-up-key")
    assert answer["Authenticated"] is True
    assert answer["Connector"]["Name"] == "Northwind Mail"
    assert answer["Properties"] == [
        {"Name": "Region", "Value": "EU", "Id": 40, "AccountConnectorId": answer["Id"]}
    ]
    assert cyclr.get("/account/connectors").json() == [answer]
    assert cyclr.get(f"/account/connectors/{answer['Id']}").json() == answer


def test_an_install_without_a_credential_waits_unless_none_is_needed(cyclr: Cyclr) -> None:
    assert cyclr.install().json()["Authenticated"] is False
    assert cyclr.install(connector="503").json()["Authenticated"] is True


def test_an_install_by_name_takes_the_connectors_name_where_none_is_sent(cyclr: Cyclr) -> None:
    answer = cyclr.install(connector="Northwind%20Mail").json()
    assert (answer["Name"], answer["Connector"]["Id"]) == ("Northwind Mail", 501)


@pytest.mark.parametrize(
    ("connector", "body", "message"),
    [
        ("502", {}, "Connector 502 is a draft and cannot be installed."),
        (
            "501",
            {"Properties": [{"Name": "Dont exist", "Value": "x"}]},
            "There is not a connector property that matches name 'Dont exist'.",
        ),
        (
            "501",
            {"Properties": [{"Name": "EndpointUrl", "Value": "x"}]},
            "Connector property name 'EndpointUrl' is not an account connector property.",
        ),
        ("501", {"AuthenticationId": "nonsense"}, "AuthenticationId is not one of this connector."),
        ("501", {"Properties": ["Region"]}, "The request is invalid."),
    ],
)
def test_an_install_is_refused_with_cyclrs_words(
    cyclr: Cyclr, connector: str, body: dict[str, Any], message: str
) -> None:
    answer = cyclr.install(connector=connector, **body)
    assert (answer.status_code, answer.json()) == (400, {"Message": message})
    assert cyclr.names() == []


def test_the_first_property_that_is_wrong_is_named_before_a_name_in_use(cyclr: Cyclr) -> None:
    cyclr.install(Name="Mail")
    wrong = [{"Name": "EndpointUrl"}, {"Name": "Missing"}]
    assert "'EndpointUrl'" in cyclr.install(Name="Mail", Properties=wrong).json()["Message"]


def test_a_name_in_use_is_refused_without_regard_to_case_and_per_account(cyclr: Cyclr) -> None:
    assert cyclr.install(Name="Mail").status_code == 200
    answer = cyclr.install(Name=" mAIL ")
    assert answer.status_code == 400
    assert answer.json()["Message"].startswith("Account connector name ")
    assert answer.json()["Message"].endswith(" is in use.")
    assert cyclr.install("globex", Name="Mail").status_code == 200
    assert cyclr.install(Name="Mail 2").status_code == 200


def test_without_the_name_check_doubles_arise_and_are_counted(cyclr: Cyclr) -> None:
    cyclr.control("switches", name_check=False)
    cyclr.install(Name="Mail")
    cyclr.install(Name="mail")
    assert cyclr.names() == ["Mail", "mail"]
    assert cyclr.http.get("/_sim/counts").json()["doubles"] == 1


def test_an_install_with_an_empty_body_takes_the_connectors_name_and_one_with_null_is_500(
    cyclr: Cyclr,
) -> None:
    assert cyclr.call("POST", "/connectors/501/install", content=b"null").status_code == 500
    assert cyclr.names() == []
    answer = cyclr.call("POST", "/connectors/501/install", content=b"")
    assert (answer.status_code, answer.json()["Name"]) == (200, "Northwind Mail")


def test_booleans_bind_from_text(cyclr: Cyclr) -> None:
    answer = cyclr.install(Name="M", isPartnerIntegrationConnector="true").json()
    assert answer["IsPartnerIntegrationConnector"] is True


def test_an_install_keeps_that_it_is_the_partners_own(cyclr: Cyclr) -> None:
    assert cyclr.install(Name="Theirs").json()["IsPartnerIntegrationConnector"] is False
    mine = cyclr.install(Name="Ours", IsPartnerIntegrationConnector=True).json()
    assert mine["IsPartnerIntegrationConnector"] is True
    assert cyclr.get(f"/account/connectors/{mine['Id']}").json() == mine


@pytest.mark.parametrize(
    "content",
    [
        b'{"name": "it\'s", "PROPERTIES": [{"name": "Region", "VALUE": 7}]}',
        b"{'Name': 'it\\'s', 'Properties': [{'Name': 'Region', 'Value': '7'}]}",
        b'\xef\xbb\xbf{"nAME": "it\'s", "properties": [{"NAME": "Region", "Value": "7"}]}',
    ],
)
def test_any_case_of_names_numbers_and_single_quotes_bind(cyclr: Cyclr, content: bytes) -> None:
    answer = cyclr.call("POST", "/connectors/501/install", content=content).json()
    assert answer["Name"] == "it's"
    assert [(p["Name"], p["Value"]) for p in answer["Properties"]] == [("Region", "7")]


@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff", b'"text"'])
def test_a_body_that_is_no_object_is_refused(cyclr: Cyclr, content: bytes) -> None:
    answer = cyclr.call("POST", "/connectors/501/install", content=content)
    assert (answer.status_code, answer.json()) == (400, {"Message": "The request is invalid."})


def test_a_put_changes_only_what_it_names_and_a_credential_authenticates(cyclr: Cyclr) -> None:
    path = f"/account/connectors/{cyclr.install(Name='Mail').json()['Id']}"
    described = cyclr.call("PUT", path, json={"Description": "d"}).json()
    assert (described["Name"], described["Description"], described["Authenticated"]) == ("Mail", "d", False)
    body = {"AuthValue": "k", "Properties": [{"Name": "Region", "Value": "US"}]}
    changed = cyclr.call("PUT", path, json=body).json()
    assert (changed["Description"], changed["Authenticated"]) == ("d", True)
    assert cyclr.call("PUT", path, json={}).json() == changed


def test_an_unknown_account_connector_is_404_for_each_call(cyclr: Cyclr) -> None:
    calls = [
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("PUT", "/deauthenticate"),
        ("GET", "/properties"),
        ("POST", "/properties"),
    ]
    answers = [cyclr.call(verb, f"/account/connectors/1{path}", json={}) for verb, path in calls]
    assert [answer.status_code for answer in answers] == [404] * 6


def test_account_connectors_are_listed_thirty_to_a_page_with_icon_values_and_parameters(cyclr: Cyclr) -> None:
    cyclr.control("switches", name_check=False)
    for _ in range(31):
        cyclr.install(AuthValue="k", Properties=[{"Name": "Region", "Value": "EU"}])
    page = cyclr.get("/account/connectors", pageSize=30, page=1).json()
    assert len(page) == 30
    first = page[0]
    assert first["Connector"]["Icon"].startswith("data:image/png;base64,")
    assert [parameter["TargetName"] for parameter in first["Connector"]["Parameters"]] == [
        "Region", "EndpointUrl",
    ]  # fmt: skip
    assert [entry["Value"] for entry in first["Properties"]] == ["EU"]


def test_a_credential_of_any_form_is_kept_as_it_is(cyclr: Cyclr) -> None:
    for value in ("bm90IGEgbG9naW4=", "{}", '{"AccessToken": "a"}', " padded "):
        assert cyclr.install(Name=value, AuthValue=value).json()["AuthValue"] == value


def test_a_property_is_matched_by_its_target_name_whatever_id_is_sent(cyclr: Cyclr) -> None:
    by_label = cyclr.install(Name="M", Properties=[{"Name": "Data region", "Value": "EU", "Id": 1}])
    assert by_label.status_code == 400
    by_target = cyclr.install(Name="M", Properties=[{"Name": "Region", "Value": "EU", "Id": 99}])
    assert (by_target.status_code, by_target.json()["Properties"][0]["Id"]) == (200, 40)


def test_a_property_that_is_changed_keeps_the_id_of_its_path(cyclr: Cyclr) -> None:
    connector_id = cyclr.install(Name="M", Properties=[{"Name": "Region", "Value": "EU"}]).json()["Id"]
    path = f"/account/connectors/{connector_id}/properties/40"
    changed = cyclr.call("PUT", path, json={"Name": "Region", "Value": "US", "Id": 7}).json()
    assert changed == {"Name": "Region", "Value": "US", "Id": 40, "AccountConnectorId": connector_id}
    assert cyclr.call("PUT", path, json={"Name": "Region"}).json() == changed


def test_deauthenticating_says_so_and_drops_the_credential(cyclr: Cyclr) -> None:
    path = f"/account/connectors/{cyclr.install(Name='Mail', AuthValue='k').json()['Id']}"
    message = cyclr.call("PUT", f"{path}/deauthenticate").json()
    assert message == {"Message": "Connector 'Mail' successfully de-authenticated."}
    after = cyclr.get(path).json()
    assert (after["Authenticated"], after["AuthValue"]) == (False, None)


def test_a_removed_account_connector_is_404_and_frees_its_name(cyclr: Cyclr) -> None:
    path = f"/account/connectors/{cyclr.install(Name='Mail').json()['Id']}"
    assert cyclr.get(path, "globex").status_code == 404
    assert cyclr.call("DELETE", path, json={}).status_code == 200
    assert cyclr.call("DELETE", path).status_code == 404
    assert cyclr.install(Name="Mail").status_code == 200


def test_properties_are_listed_added_changed_and_removed(cyclr: Cyclr) -> None:
    connector_id = cyclr.install(Name="Mail").json()["Id"]
    path = f"/account/connectors/{connector_id}/properties"
    added = cyclr.call("POST", path, json={"Name": "Ad-hoc", "Value": "1", "Id": 0}).json()
    assert added == {"Name": "Ad-hoc", "Value": "1", "Id": 40, "AccountConnectorId": connector_id}
    assert cyclr.get(f"{path}/40").json() == added
    changed = cyclr.call("PUT", f"{path}/40", json={"Name": "Ad-hoc", "Value": "2", "Id": 0}).json()
    assert (changed["Id"], changed["Value"]) == (40, "2")
    assert cyclr.get(path, sortOrderAsc="true", orderBy="Name").json() == [changed]
    assert cyclr.call("DELETE", f"{path}/40").status_code == 200
    assert [effect.kind for effect in cyclr.ledger.effects] == ["installed", "changed", "changed", "changed"]
    assert [cyclr.call(verb, f"{path}/40", json={}).status_code for verb in ("GET", "PUT", "DELETE")] == [
        404
    ] * 3
    assert cyclr.get("/account/connectors/1/properties").status_code == 404


def test_the_ledger_knows_an_install_but_neither_its_credential_nor_its_values(cyclr: Cyclr) -> None:
    cyclr.install(Name="Mail", AuthValue="made-up-key", Properties=[{"Name": "Region", "Value": "hush-hush"}])
    call, effect = cyclr.ledger.calls[-1], cyclr.ledger.effects[-1]
    assert (call.kind, call.account_id, call.connector, call.name) == ("install", "acme", "501", "Mail")
    assert call.target == ("acme", "mail")
    assert (call.method, call.path, call.status, call.fault) == (
        "POST", "/v1.0/connectors/501/install", 200, None,
    )  # fmt: skip
    assert call.auth_value_sha256 == hashlib.sha256(b"made-up-key").hexdigest()
    assert call.property_names == ("Region",)
    assert call.answered_at is not None
    assert call.received_at <= effect.at <= call.answered_at
    assert (effect.kind, effect.account_id, effect.name, effect.connector) == (
        "installed", "acme", "Mail", "Northwind Mail",
    )  # fmt: skip
    told = cyclr.http.get("/_sim/ledger").text + cyclr.http.get("/_sim/installed").text
    assert "made-up-key" not in told
    assert "hush-hush" not in told
    assert cyclr.token not in told
