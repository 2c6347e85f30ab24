"""`cyclr-bulk connectors`, `accounts` and `template`: what was asked for on stdout, the rest on stderr."""

import csv
import io
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


def test_lists_the_accounts_that_cyclr_has(desk: Desk) -> None:
    said = desk.say("accounts")
    assert (said.code, said.err) == (0, "6 accounts.\n")
    assert said.out.splitlines() == [
        "acme  acme",
        "globex  globex",
        "initech  initech",
        "umbrella  umbrella",
        "hooli  hooli",
        "stark  stark",
    ]


def test_finds_accounts_by_any_part_of_id_or_name_without_case(desk: Desk) -> None:
    desk.simulator.call(lambda world: world.add_account("0081", "ACME Benelux"))
    said = desk.say("accounts", "Cme")
    assert (said.code, said.out) == (0, "acme  acme\n0081  ACME Benelux\n")
    assert said.err == "2 accounts with 'Cme' in id or name.\n"
    none = desk.say("accounts", "zeppelin")
    assert (none.code, none.out, none.err) == (0, "", "0 accounts with 'zeppelin' in id or name.\n")


def test_sub_accounts_are_said_to_be_some_with_what_that_means(desk: Desk) -> None:
    desk.simulator.call(lambda world: world.add_account("acme-uk", "Acme UK", parent_id="acme"))
    assert desk.say("accounts", "acme").out == "acme  acme\n"
    said = desk.say("accounts", "acme", "--sub-accounts")
    assert (said.code, said.out) == (0, "acme  acme\nacme-uk  Acme UK  sub-account of acme\n")
    assert said.err.splitlines() == [
        "2 accounts with 'acme' in id or name.",
        "warning: 1 sub-account. Each can use what is installed in its parent: a row for it makes a connector that "
        "nobody needs.",
    ]
    assert json.loads(desk.say("accounts", "acme", "--sub-accounts", "--json").out) == [
        {"id": "acme", "name": "acme", "parent_id": None},
        {"id": "acme-uk", "name": "Acme UK", "parent_id": "acme"},
    ]


def test_a_name_from_cyclr_does_not_write_to_the_terminal_what_it_likes(desk: Desk) -> None:
    desk.simulator.call(lambda world: world.add_account("odd", "Odd\x1b[2J\nacme-2  Acme"))
    said = desk.say("accounts", "odd")
    assert "\x1b" not in said.out
    assert len(said.out.splitlines()) == 1


def test_a_template_has_a_line_for_each_account_and_is_a_file_to_fill(desk: Desk) -> None:
    desk.simulator.call(lambda world: world.add_account("acme-uk", "=Acme, UK"))
    said = desk.say("template", "Northwind Mail", "--accounts", "acme")
    assert (said.code, said.err) == (0, "2 accounts with 'acme' in id or name.\n")
    head, example, *rows = csv.reader(io.StringIO(said.out))
    assert head == [
        *("account_id", "connector", "connector_version", "name", "api_key", "property.Region"),
        *("property.WebhookSecret", "account_name", "reference", "x_account_name"),
    ]
    assert (example[0], example[-1]) == ("# example: acme-1", "")
    assert rows == [
        ["acme", "Northwind Mail", "3.0", "", "", "", "", "", "", "acme"],
        ["acme-uk", "Northwind Mail", "3.0", "", "", "", "", "", "", "'=Acme, UK"],
    ]
    desk.file("accounts.csv", said.out.replace("3.0,,,,", "3.0,,key-of-this-account,EU,"))
    checked = desk.say("check", "accounts.csv")
    assert checked.code == 0
    assert "accounts.csv: 2 rows (UTF-8, comma)\n" in checked.out
    assert "x_account_name" not in checked.out


def test_a_template_for_all_accounts_needs_no_query(desk: Desk) -> None:
    said = desk.say("template", "Northwind Mail", "--accounts")
    assert (said.code, said.err) == (0, "6 accounts.\n")
    assert [line.split(",")[0] for line in said.out.splitlines()[2:]] == [
        *("acme", "globex", "initech", "umbrella", "hooli", "stark"),
    ]


def test_a_query_without_accounts_is_told_what_it_is_for(desk: Desk) -> None:
    said = desk.say("template", "Northwind", "Mail")
    assert (said.code, said.out) == (2, "")
    assert "QUERY says which accounts get a line: --accounts QUERY" in said.err
