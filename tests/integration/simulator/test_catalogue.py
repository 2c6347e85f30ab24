from typing import Any

from tests.integration.simulator.conftest import Cyclr


def names(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["Name"] for entry in entries]


def test_every_answer_forbids_sniffing(cyclr: Cyclr) -> None:
    answers = [cyclr.get("/accounts"), cyclr.get("/accounts/nobody"), cyclr.get("/nothing"), cyclr.install()]
    assert [answer.headers["x-content-type-options"] for answer in answers] == ["nosniff"] * 4


def test_a_connector_is_an_object_by_id_and_an_array_by_name(cyclr: Cyclr) -> None:
    by_id = cyclr.get("/connectors/501").json()
    assert by_id["Name"] == "Northwind Mail"
    assert cyclr.get("/connectors/Northwind%20Mail").json() == [by_id]
    assert cyclr.get("/connectors/northwind mail/v3").json() == [by_id]


def test_no_match_is_404_by_id_and_an_empty_array_by_name(cyclr: Cyclr) -> None:
    assert cyclr.get("/connectors/999").status_code == 404
    assert cyclr.get("/connectors/Nothing").json() == []
    assert cyclr.get("/connectors/Northwind%20Mail/v9").json() == []


def test_a_connector_says_its_methods_and_parameters(cyclr: Cyclr) -> None:
    connector = cyclr.get("/connectors/501").json()
    assert [entry["AuthType"] for entry in connector["Authentication"]] == ["ApiKey", "Basic"]
    region, endpoint = connector["Parameters"]
    assert (region["TargetName"], region["Name"], region["Values"]) == ("Region", "Data region", ["EU", "US"])
    assert (region["IsOptional"], region["IsAccountConnectorProperty"]) == (False, True)
    assert endpoint["IsAccountConnectorProperty"] is False


def test_lists_carry_icons_of_some_kilobytes(cyclr: Cyclr) -> None:
    icon = cyclr.get("/connectors").json()[0]["Icon"]
    assert icon.startswith("data:image/png;base64,")
    assert 3_000 < len(icon) < 5_000


def test_the_catalogue_is_searched_by_part_of_a_name_category_and_order(cyclr: Cyclr) -> None:
    assert names(cyclr.get("/connectors", query="WIND").json()) == ["Northwind Mail"]
    assert names(cyclr.get("/connectors", category="Email").json()) == ["Northwind Mail"]
    assert names(cyclr.get("/connectors", orderBy="Name").json()) == [
        "Draft Chat", "Northwind Mail", "Plain Tool",
    ]  # fmt: skip
    assert names(cyclr.get("/connectors", orderBy="Name", sortOrderAsc="false").json())[0] == "Plain Tool"


def test_a_page_of_the_catalogue_holds_just_as_many_as_asked_for(cyclr: Cyclr) -> None:
    cyclr.control("seed", connectors=[{"name": f"CRM {n}", "categories": ["CRMs"]} for n in range(40)])
    assert len(cyclr.get("/connectors", pageSize=30, page=1).json()) == 30
    crms = cyclr.get("/connectors", category="CRMs", pageSize=3, page=2).json()
    assert [connector["Categories"] for connector in crms] == [["CRMs"]] * 3
    found = cyclr.get("/connectors", query="Northwind Mail", includeCustomConnectors="false").json()
    assert names(found) == ["Northwind Mail"]


def test_the_catalogue_needs_an_account_header(cyclr: Cyclr) -> None:
    assert cyclr.get("/connectors", None).status_code == 401


def test_a_new_release_has_a_new_id_and_the_old_id_is_gone(cyclr: Cyclr) -> None:
    installed = cyclr.install(Name="Mail").json()
    new_id = cyclr.control("release", connector="Northwind Mail")["id"]
    assert new_id == 504
    assert cyclr.install("globex", connector="501", Name="Mail").status_code == 404
    assert cyclr.get("/connectors/501").status_code == 404
    assert cyclr.get("/connectors/Northwind%20Mail").json()[0]["Id"] == 504
    assert cyclr.install("globex", connector="504", Name="Mail").status_code == 200
    assert cyclr.get(f"/account/connectors/{installed['Id']}").json()["Connector"]["Id"] == 501


def test_a_new_release_may_have_other_methods_and_properties(cyclr: Cyclr) -> None:
    cyclr.control(
        "release",
        connector="Northwind Mail",
        methods=[{"auth_type": "OAuth2", "oauth2_type": "ClientCredentials"}],
        parameters=[{"target_name": "Zone", "is_sensitive": True}],
    )
    connector = cyclr.get("/connectors/Northwind%20Mail").json()[0]
    assert [entry["OAuth2Type"] for entry in connector["Authentication"]] == ["ClientCredentials"]
    assert [(p["TargetName"], p["IsSensitive"]) for p in connector["Parameters"]] == [("Zone", True)]


def test_a_connectors_methods_are_listed_by_id_name_and_version(cyclr: Cyclr) -> None:
    by_id = cyclr.get("/connectors/501/methods").json()
    first = by_id[0]
    assert names(by_id) == ["List Contacts", "Add Contact", "Delete Contact", "Get Settings"]
    assert (first["Category"], first["EndPoint"], first["MethodType"]) == ("Contacts", "/contacts", "GET")
    assert len(first["MethodUniqueIdentifier"]) == 36
    assert [sorted(parameter) for parameter in first["Parameters"]] == [["Id", "Name", "TargetName"]] * 2
    assert cyclr.get("/connectors/Northwind%20Mail/methods").json() == by_id
    assert cyclr.get("/connectors/Northwind%20Mail/v3/methods").json() == by_id
    assert names(cyclr.get("/connectors/501/methods", category="Settings").json()) == ["Get Settings"]
    assert names(cyclr.get("/connectors/501/methods", query="delete").json()) == ["Delete Contact"]
    assert cyclr.get("/connectors/999/methods").status_code == 404


def test_a_method_keeps_its_unique_identifier_in_the_next_release_and_not_its_id(cyclr: Cyclr) -> None:
    old = cyclr.get("/connectors/501/methods").json()[0]
    assert cyclr.get(f"/methods/{old['Id']}").json() == old
    cyclr.control("release", connector="Northwind Mail")
    new = cyclr.get("/connectors/Northwind%20Mail/methods").json()[0]
    assert new["Id"] != old["Id"]
    assert new["MethodUniqueIdentifier"] == old["MethodUniqueIdentifier"]
    assert cyclr.get(f"/methods/{old['MethodUniqueIdentifier']}").json() == new


def test_a_malformed_guid_is_400_and_an_unknown_one_404(cyclr: Cyclr) -> None:
    assert cyclr.get("/methods/not-a-guid").status_code == 400
    assert cyclr.get("/methods/3d2e7a90-5f0c-4c60-9f0e-000000000000").status_code == 404
    assert cyclr.get("/methods/1").status_code == 404


def test_trailing_slashes_and_another_case_of_a_path_work(cyclr: Cyclr) -> None:
    assert cyclr.get("/connectors/501/").json() == cyclr.get("/connectors/501").json()
    assert cyclr.get("/Account/Connectors/").json() == []
    assert cyclr.call("POST", "/CONNECTORS/Northwind%20Mail/Install/", json={"Name": "M"}).status_code == 200
    assert len(cyclr.get("/connectors", PAGESIZE=2).json()) == 2
    assert [call.kind for call in cyclr.ledger.calls[-3:]] == ["look", "install", "connectors"]


def test_bodies_are_compact_json(cyclr: Cyclr) -> None:
    assert cyclr.get("/accounts/nobody").text == '{"Message":"The account nobody was not found."}'
    assert cyclr.call("POST", "/accounts", json={"Id": "acme", "Name": "A"}).text == (
        '{"Message":"ID already in use"}'
    )
    cyclr.call("PUT", "/accounts/acme/users", json={"UserName": "Jóna"})
    cyclr.call("PUT", "/accounts/acme/users", json={"UserName": "bo"})
    assert cyclr.get("/accounts/acme/users").text == '["Jóna","bo"]'
    installed = cyclr.install(Name="M").text
    assert installed.startswith('{"Id":6508,"Name":"M","Description":null,"AuthValue":null,')
    assert ',"CustomFields":[],"Connector":{"Id":501,"Name":"Northwind Mail",' in installed
    assert cyclr.get("/account/connectors").text == f"[{installed}]"
    cyclr.control("faults", kind="throttled")
    assert cyclr.get("/accounts").text == '{"Message":"Too many requests."}'


def test_pages_have_the_size_asked_and_say_how_many_there_are(cyclr: Cyclr) -> None:
    first, second = (cyclr.get("/connectors", page=page, pageSize=2) for page in (1, 2))
    assert [len(first.json()), len(second.json())] == [2, 1]
    assert first.headers["Total-Pages"] == "2"
    past = cyclr.get("/connectors", page=3, pageSize=2)
    assert (past.status_code, past.json()) == (200, [])


def test_the_default_and_the_largest_page_size_can_be_set_and_the_header_left_out(cyclr: Cyclr) -> None:
    cyclr.control("switches", default_page_size=1, max_page_size=2, total_pages=False)
    assert len(cyclr.get("/connectors").json()) == 1
    answer = cyclr.get("/connectors", pageSize=1_000)
    assert len(answer.json()) == 2
    assert "Total-Pages" not in answer.headers


def test_shifting_pages_hide_an_entry_from_a_reader_who_reads_once(cyclr: Cyclr) -> None:
    for name in "abcd":
        cyclr.install(Name=name)
    cyclr.control("switches", page_shifts=1)
    once = [
        e for page in (1, 2) for e in names(cyclr.get("/account/connectors", page=page, pageSize=2).json())
    ]
    again = [
        e for page in (1, 2) for e in names(cyclr.get("/account/connectors", page=page, pageSize=2).json())
    ]
    assert once == ["a", "b", "d", "a"]
    assert sorted(again) == ["a", "b", "c", "d"]
