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
