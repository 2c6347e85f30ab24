"""`cyclr-bulk connectors` and `cyclr-bulk template`: what was asked for on stdout, the rest on stderr."""

import json

from tests.end_to_end.cli.desk import Desk


def test_lists_the_catalogue_with_methods_and_account_properties(desk: Desk) -> None:
    said = desk.say("connectors", "mail")
    assert said.code == 0
    head, method, region, signing = said.out.splitlines()
    assert head.startswith("Northwind Mail  3.0  id ")
    assert head.endswith("  Approved")
    assert method.startswith("    method    ApiKey (ApiKey)  ")
    assert region == "    property  Region  required  one of: EU, US"
    assert signing == "    property  WebhookSecret  optional, sensitive"
    assert said.err == "1 connector with 'mail' in the name.\n"


def test_lists_the_whole_catalogue_as_json(desk: Desk) -> None:
    said = desk.say("connectors", "--json")
    found = {each["name"]: each for each in json.loads(said.out)}
    assert (said.code, said.err) == (0, "")
    assert {name: (each["version"], each["status"]) for name, each in found.items()} == {
        "Northwind Mail": ("3.0", "Approved"),
        "Harbour CRM": ("v1", "Approved"),
        "Beacon Chat": ("0.1", "Draft"),
    }
    assert [
        (p["target_name"], p["required"], p["sensitive"], p["choices"])
        for p in found["Northwind Mail"]["account_properties"]
    ] == [("Region", True, False, ["EU", "US"]), ("WebhookSecret", False, True, [])]
    assert [m["auth_type"] for m in found["Harbour CRM"]["methods"]] == ["OAuth2"]


def test_says_that_nothing_has_such_a_name(desk: Desk) -> None:
    said = desk.say("connectors", "zeppelin")
    assert (said.code, said.out, said.err) == (0, "", "0 connectors with 'zeppelin' in the name.\n")


def test_says_which_account_is_unknown(desk: Desk) -> None:
    said = desk.say("connectors", "--account", "nobody")
    host = desk.simulator.base_url.removeprefix("http://")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines() == [
        f"{host}: Cyclr found nothing (status 404): there is no account nobody. Check the account id.",
        "Nothing was listed.",
    ]


def test_a_template_is_a_file_whose_example_is_left_out(desk: Desk) -> None:
    said = desk.say("template", "Northwind Mail")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "account_id,connector,connector_version,name,api_key,property.Region,property.WebhookSecret,"
        "account_name,reference",
        "# example: acme-1,Northwind Mail,3.0,Northwind Mail,the account's API key,EU or US,"
        "Signing secret (may be empty),Acme Ltd,your own key for this row",
    ]
    desk.file("accounts.csv", said.out + "acme,Northwind Mail,3.0,,key-of-acme-1,EU,,,\r\n")
    checked = desk.say("check", "accounts.csv")
    assert checked.code == 0
    assert "accounts.csv: 1 row (UTF-8, comma)\n  1 comment line left out\n" in checked.out


def test_says_that_there_is_no_such_connector(desk: Desk) -> None:
    said = desk.say("template", "Zeppelin")
    assert (said.code, said.out) == (2, "")
    assert said.err == ("no connector Zeppelin in Cyclr's catalogue: check its name there\n")
