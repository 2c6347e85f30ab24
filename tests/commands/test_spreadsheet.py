"""A file goes through a real spreadsheet program and comes back: the template filled in, the result file run again."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.spreadsheet import ENGLISH, GERMAN, PROGRAM, Spreadsheet, Takes
from tests.end_to_end.cli.desk import MAIL, Desk, Said
from worker.simulator.catalogue import method
from worker.simulator.faults import refused
from worker.simulator.world import World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(PROGRAM is None, reason="LibreOffice is not installed here: no soffice on the PATH"),
]

FULL = "The plan of this account is full."
SHORTENED = "column connector_version: it has no version 3, and this was read as 3.0, which a spreadsheet may have shortened to it"
WHICH = (
    "connector Parcel Lane has versions that a spreadsheet takes for the same number, 1.1 (id 504), 1.10 (id 505):"
    " write the id of one into the column connector and leave connector_version empty"
)


@pytest.fixture(scope="module")
def spreadsheet(tmp_path_factory: pytest.TempPathFactory) -> Spreadsheet:
    return Spreadsheet(tmp_path_factory.mktemp("spreadsheet"))


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> Spreadsheet:
    return Spreadsheet(tmp_path_factory.mktemp("german"), GERMAN)


@pytest.fixture(autouse=True)
def accounts(desk: Desk) -> None:
    """Cyclr has `123` beside `00123`."""

    def add(world: World) -> None:
        for account_id in ("00123", "123", "acme-1", "acme-2"):
            world.add_account(account_id)

    desk.simulator.call(add)


def fill_in(desk: Desk, *account_ids: str, name: str = "accounts.csv", **cells: str) -> Path:
    """The template of the mail connector, with a row for each account below its example. `cells`: of every row."""
    template = desk.say("template", MAIL).out
    columns = next(csv.reader(template.splitlines()))
    out = io.StringIO(newline="")
    out.write(template)
    rows = csv.writer(out)
    for account_id in account_ids:
        key, secret = f"key-of-{account_id}-5f1c", f"whsec-of-{account_id}-77ab"
        desk.secrets |= {key, secret}
        row = {
            "account_id": account_id,
            "connector": MAIL,
            "connector_version": "3.0",
            "name": MAIL,
            "api_key": key,
            "property.Region": "EU",
            "property.WebhookSecret": secret,
            **cells,
        }
        rows.writerow([row.get(column, "") for column in columns])
    return desk.folder / desk.file(name, out.getvalue())


def refuse_once(desk: Desk, *account_ids: str) -> None:
    for account_id in account_ids:
        desk.fault(refused(403, FULL), call="install", account_id=account_id, count=1)


def read(path: Path) -> tuple[str, list[list[str]]]:
    """The delimiter, and the rows with the header."""
    text = path.read_text(encoding="utf-8-sig")
    delimiter = ";" if ";" in text.splitlines()[0] else ","
    return delimiter, list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def columns_of(path: Path, *names: str) -> list[tuple[str, ...]]:
    """The cells of these columns, of all rows that are no comments."""
    _, (header, *rows) = read(path)
    places = [header.index(name) for name in names]
    return [tuple(row[place] for place in places) for row in rows if not row[0].startswith("#")]


def write_again(path: Path, change: Callable[[list[list[str]]], object]) -> None:
    """By hand. `change` gets the rows, the header among them."""
    delimiter, rows = read(path)
    change(rows)
    with path.open("w", encoding="utf-8", newline="") as text:
        csv.writer(text, delimiter=delimiter).writerows(rows)


def auth_values(desk: Desk) -> dict[str, list[str | None]]:
    """What Cyclr holds as the AuthValue of the account connectors of each account that has any."""

    def ask(world: World) -> dict[str, list[str | None]]:
        return {
            account.id: [each.auth_value for each in account.connectors.values()]
            for account in world.accounts.values()
            if account.connectors
        }

    return desk.simulator.call(ask)


def found(said: Said) -> list[str]:
    """What a check or a run said of rows."""
    return [
        line.strip()
        for line in (said.out + said.err).splitlines()
        if line.startswith(("  row ", "  rows ", "  warning: "))
    ]


def parcels(world: World) -> None:
    for version in ("1.1", "1.10"):
        world.add_connector("Parcel Lane", version, methods=[method("ApiKey", seed="cli")])
    world.add_connector("Letter Box", "2.50", methods=[method("ApiKey", seed="cli")])


# What a person fills in.


def test_a_template_that_was_filled_in_and_saved_checks_as_before(
    desk: Desk, spreadsheet: Spreadsheet
) -> None:
    file = fill_in(desk, "acme-1")
    before = desk.say("check", "accounts.csv")
    spreadsheet.save(file)
    assert columns_of(file, "account_id", "connector_version") == [("acme-1", "3")]
    after = desk.say("check", "accounts.csv")
    assert (before.code, after.code) == (0, 0)
    assert before.out.splitlines()[1:] == [
        "accounts.csv: 1 row (UTF-8, comma)",
        "  1 comment line left out",
        "  connectors: Northwind Mail 3.0 (1)",
        "  methods:    ApiKey (1)",
        "  properties: Region (1), WebhookSecret (1)",
        "  calls:      4 (1 look, at most 1 install or 3 changes of what is there); about 1 s at 500 calls/s",
        "No problems. Begin with:",
        "  cyclr-bulk run accounts.csv",
    ]
    warning = f"  warning: row 3, {SHORTENED}"
    assert found(after) == [warning.strip()]
    assert [line for line in after.out.splitlines() if line != warning] == before.out.splitlines()


def test_columns_that_are_taken_as_text_stay_as_they_were_filled_in(
    desk: Desk, spreadsheet: Spreadsheet
) -> None:
    file = fill_in(desk, "00123", reference="0042")
    spreadsheet.save(file, takes="text")
    assert columns_of(file, "account_id", "connector_version", "reference") == [("00123", "3.0", "0042")]
    said = desk.say("run", "accounts.csv", "--yes")
    assert (said.code, found(said)) == (0, [])
    assert auth_values(desk) == {"00123": ["key-of-00123-5f1c"]}


def test_a_version_that_became_another_one_is_told_and_nothing_is_installed(
    desk: Desk, spreadsheet: Spreadsheet
) -> None:
    desk.simulator.call(parcels)
    desk.file(
        "sheet.csv", "account_id,connector,connector_version,api_key\nacme-1,Parcel Lane,1.10,key-1-5f1c\n"
    )
    desk.secrets.add("key-1-5f1c")
    sheet = desk.folder / "sheet.csv"
    spreadsheet.save(sheet)
    assert columns_of(sheet, "connector_version") == [("1.1",)]
    said = desk.say("run", "sheet.csv", "--yes")
    assert (said.code, desk.installs()) == (2, [])
    assert found(said) == [f"row 2, column connector: {WHICH}, or run with `--as-written connector_version`"]


def test_an_address_keeps_its_lines(desk: Desk, spreadsheet: Spreadsheet) -> None:
    desk.file(
        "addresses.csv",
        "account_id,connector,api_key,property.Region,description,address\r\n"
        'acme-1,Northwind Mail,key-1-5f1c,EU,"Acme Ltd\r\n1, Mill Lane\r\n00123 Leeds","""The Mill""\nLeeds"\r\n'
        'acme-2,Northwind Mail,key-2-5f1c,EU,"Acme Inc\n\n2 High Street",\r\n',
    )
    desk.secrets |= {"key-1-5f1c", "key-2-5f1c"}
    refuse_once(desk, "acme-1")
    spreadsheet.save(desk.folder / "addresses.csv")
    assert desk.say("run", "addresses.csv", "--yes").code == 1
    results = desk.folder / "addresses.results.csv"
    spreadsheet.save(results)
    said = desk.say("run", "addresses.results.csv", "--yes")
    assert (said.code, found(said)) == (0, ["warning: column address: unknown, it is ignored"])

    def descriptions(world: World) -> list[str | None]:
        return [
            each.description
            for account_id in ("acme-1", "acme-2")
            for each in world.accounts[account_id].connectors.values()
        ]

    assert desk.simulator.call(descriptions) == [
        "Acme Ltd\n1, Mill Lane\n00123 Leeds",
        "Acme Inc\n\n2 High Street",
    ]
    last = desk.folder / "addresses.results-2.csv"
    assert columns_of(last, "address", "_row", "_state") == [
        ('"The Mill"\nLeeds', "2", "done"),
        ("", "3", "done"),
    ]


# A result file that is run again.


def test_ids_that_stay_as_they_are_run_on_with_the_stored_keys(desk: Desk, spreadsheet: Spreadsheet) -> None:
    spreadsheet.save(fill_in(desk, "acme-1", "acme", "acme-2"))
    refuse_once(desk, "acme-1", "acme-2")
    said = desk.say("run", "accounts.csv", "--yes")
    assert (said.code, said.out.splitlines()[0]) == (1, "1 created, 2 failed.")

    spreadsheet.save(desk.folder / "accounts.results.csv")
    said = desk.say("run", "accounts.results.csv", "--yes")
    assert (said.code, said.out.splitlines()[1]) == (0, "2 created, 0 failed, 1 done by an earlier job.")
    assert found(said) == [f"warning: rows 2, 4, {SHORTENED} (2 rows)"]
    assert auth_values(desk) == {
        "acme": ["key-of-acme-5f1c"],
        "acme-1": ["key-of-acme-1-5f1c"],
        "acme-2": ["key-of-acme-2-5f1c"],
    }


def test_an_id_that_lost_its_zeros_gets_nothing_until_it_is_put_back(
    desk: Desk, spreadsheet: Spreadsheet
) -> None:
    fill_in(desk, "00123", "acme-1")
    refuse_once(desk, "00123", "acme-1")
    assert desk.say("run", "accounts.csv", "--yes").code == 1
    results = desk.folder / "accounts.results.csv"
    [job_id] = {job_id for (job_id,) in columns_of(results, "_job")}

    spreadsheet.save(results)
    assert columns_of(results, "account_id", "_row", "_state") == [
        ("123", "3", "failed"),
        ("acme-1", "4", "failed"),
    ]
    said = desk.say("run", "accounts.results.csv", "--yes")
    assert (said.code, said.out) == (2, "")
    assert found(said) == [
        f"warning: row 3, {SHORTENED}",
        f"row 2, column account_id: row 3 of job {job_id} was for account 00123, this row says 123; put the id back,"
        " or fill the credential in (api_key and property.WebhookSecret)",
    ]
    assert said.err.splitlines()[-2:] == [
        "1 problem.",
        "Nothing was changed. Correct the file, or add --skip-invalid to leave 1 row out.",
    ]
    assert auth_values(desk) == {}

    def put_back(rows: list[list[str]]) -> None:
        rows[1][rows[0].index("account_id")] = "00123"

    write_again(results, put_back)
    spreadsheet.save(results, takes="text")
    said = desk.say("run", "accounts.results.csv", "--yes")
    assert (said.code, said.out.splitlines()[0]) == (0, "2 created, 0 failed.")
    assert auth_values(desk) == {"00123": ["key-of-00123-5f1c"], "acme-1": ["key-of-acme-1-5f1c"]}
    assert desk.simulator.ledger.calls_of("install", "123") == []
    assert sorted(desk.installs()) == ["00123", "acme-1"]


def test_two_ids_that_became_one_get_neither_key(desk: Desk, spreadsheet: Spreadsheet) -> None:
    fill_in(desk, "00123", "123")
    refuse_once(desk, "00123", "123")
    assert desk.say("run", "accounts.csv", "--yes").code == 1
    results = desk.folder / "accounts.results.csv"
    [job_id] = {job_id for (job_id,) in columns_of(results, "_job")}
    spreadsheet.save(results)
    said = desk.say("run", "accounts.results.csv", "--yes", "--skip-invalid")
    assert found(said) == [
        f"row 2, column account_id: row 3 of job {job_id} was for account 00123, this row says 123; put the id back,"
        " or fill the credential in (api_key and property.WebhookSecret)",
        "row 3: it repeats row 2: account '123' gets 'Northwind Mail' once; remove one of the two, or give it another name",
    ]
    assert auth_values(desk) == {}


def test_an_installed_row_whose_id_lost_its_zeros_is_not_installed_again(
    desk: Desk, spreadsheet: Spreadsheet
) -> None:
    desk.file("oauth.csv", "account_id,connector\n00123,Harbour CRM\nacme-1,Harbour CRM\n")
    refuse_once(desk, "acme-1")
    assert desk.say("run", "oauth.csv", "--yes").code == 1
    results = desk.folder / "oauth.results.csv"
    [job_id] = {job_id for (job_id,) in columns_of(results, "_job")}
    spreadsheet.save(results)
    said = desk.say("run", "oauth.results.csv", "--yes")
    assert said.code == 2
    assert found(said) == [
        f"row 2, column account_id: row 2 of job {job_id} was for account 00123, this row says 123; put the id back,"
        " or empty _job and _row to make this a new row",
    ]
    assert desk.installs() == ["00123"]


def test_an_id_that_lost_its_zeros_is_told_again_where_the_row_was_left_out(
    desk: Desk, spreadsheet: Spreadsheet
) -> None:
    """Nobody has to give a credential here, so nothing else would hold the row back."""
    desk.file("oauth.csv", "account_id,connector\n00123,Harbour CRM\nacme-1,Harbour CRM\n")
    refuse_once(desk, "00123", "acme-1")
    assert desk.say("run", "oauth.csv", "--yes").code == 1
    results, later = desk.folder / "oauth.results.csv", desk.folder / "oauth.results-2.csv"
    [job_id] = {job_id for (job_id,) in columns_of(results, "_job")}
    spreadsheet.save(results)
    assert desk.say("run", "oauth.results.csv", "--yes", "--skip-invalid").code == 1
    said = desk.say("run", "oauth.results-2.csv", "--yes")
    assert said.code == 2
    assert found(said) == [
        f"row 2, column account_id: row 2 of job {job_id} was for account 00123, this row says 123; put the id back,"
        " or empty _job and _row to make this a new row",
    ]

    def put_back(rows: list[list[str]]) -> None:
        rows[1][0] = "00123"

    write_again(later, put_back)
    assert desk.say("run", "oauth.results-2.csv", "--yes").code == 0
    assert desk.installs() == ["acme-1", "00123"]


@pytest.mark.parametrize("takes", ["numbers", "text"])
def test_rows_may_be_sorted_and_deleted(desk: Desk, spreadsheet: Spreadsheet, takes: Takes) -> None:
    account_ids = ("acme-1", "globex", "acme-2", "initech", "hooli")
    fill_in(desk, *account_ids)
    refuse_once(desk, "acme-1", "globex", "acme-2", "hooli")
    assert desk.say("run", "accounts.csv", "--yes").code == 1
    results = desk.folder / "accounts.results.csv"

    def sort_and_delete(rows: list[list[str]]) -> None:
        del rows[2]  # globex
        rows[1:] = sorted(rows[1:], reverse=True)

    write_again(results, sort_and_delete)
    spreadsheet.save(results, takes=takes)
    said = desk.say("run", "accounts.results.csv", "--yes")
    assert (said.code, said.out.splitlines()[1]) == (0, "3 created, 0 failed, 1 done by an earlier job.")
    assert auth_values(desk) == {
        "acme-1": ["key-of-acme-1-5f1c"],
        "acme-2": ["key-of-acme-2-5f1c"],
        "hooli": ["key-of-hooli-5f1c"],
        "initech": ["key-of-initech-5f1c"],
    }
    assert columns_of(desk.folder / "accounts.results-2.csv", "account_id", "_state") == [
        ("initech", "done"),
        ("hooli", "done"),
        ("acme-2", "done"),
        ("acme-1", "done"),
    ]


def test_ids_that_were_sorted_without_the_other_columns_are_told(
    desk: Desk, spreadsheet: Spreadsheet
) -> None:
    fill_in(desk, "acme-2", "acme-1", "acme")
    refuse_once(desk, "acme-2", "acme-1", "acme")
    assert desk.say("run", "accounts.csv", "--yes").code == 1
    results = desk.folder / "accounts.results.csv"
    [job_id] = {job_id for (job_id,) in columns_of(results, "_job")}

    def sort_ids(rows: list[list[str]]) -> None:
        for row, account_id in zip(rows[1:], sorted(row[0] for row in rows[1:]), strict=True):
            row[0] = account_id

    write_again(results, sort_ids)
    spreadsheet.save(results)
    said = desk.say("run", "accounts.results.csv", "--yes")
    assert said.code == 2
    assert [line.partition(";")[0] for line in found(said) if "warning" not in line] == [
        f"row 2, column account_id: row 3 of job {job_id} was for account acme-2, this row says acme",
        f"row 4, column account_id: row 5 of job {job_id} was for account acme, this row says acme-2",
    ]
    assert auth_values(desk) == {}


def test_a_copied_row_is_told_and_may_be_made_a_new_one(desk: Desk, spreadsheet: Spreadsheet) -> None:
    fill_in(desk, "acme-1")
    refuse_once(desk, "acme-1")
    assert desk.say("run", "accounts.csv", "--yes").code == 1
    results = desk.folder / "accounts.results.csv"
    [job_id] = {job_id for (job_id,) in columns_of(results, "_job")}
    write_again(results, lambda rows: rows.append(["acme-2", *rows[1][1:]]))
    spreadsheet.save(results)
    said = desk.say("run", "accounts.results.csv", "--yes")
    assert said.code == 2
    assert [line for line in found(said) if "warning" not in line] == [
        f"row 2, column _row: another row refers to row 3 of job {job_id} too, and only one can be it: put the right _row"
        " back, or fill the credential in (api_key and property.WebhookSecret)",
        f"row 3, column _row: row 2 refers to row 3 of job {job_id} too, and only one can be it: put the right _row"
        " back, or fill the credential in (api_key and property.WebhookSecret)",
        f"row 3, column account_id: row 3 of job {job_id} was for account acme-1, this row says acme-2; put the id back,"
        " or fill the credential in (api_key and property.WebhookSecret)",
    ]

    def make_new(rows: list[list[str]]) -> None:
        new = dict.fromkeys(("_job", "_row"), "")
        new |= {"api_key": "key-of-acme-2-5f1c", "property.WebhookSecret": "whsec-of-acme-2-77ab"}
        rows[2] = [new.get(column, cell) for column, cell in zip(rows[0], rows[2], strict=True)]

    write_again(results, make_new)
    desk.secrets |= {"key-of-acme-2-5f1c"}
    spreadsheet.save(results)
    assert desk.say("run", "accounts.results.csv", "--yes").code == 0
    assert auth_values(desk) == {"acme-1": ["key-of-acme-1-5f1c"], "acme-2": ["key-of-acme-2-5f1c"]}
    # It would be found in the file that it was typed into.
    results.unlink()


# A German spreadsheet: semicolons, and commas in numbers.


def test_a_version_with_a_comma_fits_where_it_can_mean_one_only(desk: Desk, german: Spreadsheet) -> None:
    """Versions with a point, as another program wrote them, are numbers to the German spreadsheet, which writes a comma."""
    desk.simulator.call(parcels)
    desk.file(
        "sheet.csv",
        "account_id,connector,connector_version,api_key\r\n"
        "acme-1,Letter Box,2.50,key-1-5f1c\r\n"
        "acme-1,Parcel Lane,1.1,key-2-5f1c\r\n"
        "acme-2,Parcel Lane,1.10,key-3-5f1c\r\n",
    )
    desk.secrets |= {"key-1-5f1c", "key-2-5f1c", "key-3-5f1c"}
    sheet = desk.folder / "sheet.csv"
    german.save(sheet, delimiter=",", language=ENGLISH)
    assert columns_of(sheet, "connector_version") == [("2,5",), ("1,1",), ("1,1",)]
    said = desk.say("run", "sheet.csv", "--yes")
    assert (said.code, desk.installs()) == (2, [])
    assert "sheet.csv: 3 rows (UTF-8, semicolon)" in said.err
    assert found(said) == [
        "warning: row 2, column connector_version: it has no version 2,5, and this was read as 2.50, which a spreadsheet"
        " may have shortened to it",
        f"rows 3-4, column connector: {WHICH} (2 rows)",
    ]

    def name_ids(rows: list[list[str]]) -> None:
        rows[2][1:3] = "504", ""
        rows[3][1:3] = "505", ""

    write_again(sheet, name_ids)
    german.save(sheet)
    assert desk.say("run", "sheet.csv", "--yes").code == 0

    def versions(world: World) -> list[tuple[str, str | None, str | None]]:
        return [
            (each.release.name, each.release.version, each.auth_value)
            for account_id in ("acme-1", "acme-2")
            for each in world.accounts[account_id].connectors.values()
        ]

    assert sorted(desk.simulator.call(versions)) == [
        ("Letter Box", "2.50", "key-1-5f1c"),
        ("Parcel Lane", "1.1", "key-2-5f1c"),
        ("Parcel Lane", "1.10", "key-3-5f1c"),
    ]


def test_a_german_result_file_runs_on_but_for_an_id_that_lost_its_point(
    desk: Desk, german: Spreadsheet
) -> None:
    def add(world: World) -> None:
        for account_id in ("12.345", "12345"):
            world.add_account(account_id)

    desk.simulator.call(add)
    german.save(fill_in(desk, "12.345", "acme-1"), takes="text", delimiter=",")
    refuse_once(desk, "12.345", "acme-1")
    assert desk.say("run", "accounts.csv", "--yes").code == 1
    results = desk.folder / "accounts.results.csv"
    [job_id] = {job_id for (job_id,) in columns_of(results, "_job")}
    german.save(results)
    assert columns_of(results, "account_id", "connector_version") == [("12345", "3.0"), ("acme-1", "3.0")]
    said = desk.say("run", "accounts.results.csv", "--yes", "--skip-invalid")
    assert (said.code, said.out.splitlines()[0]) == (1, "1 created, 0 failed, 1 refused at intake.")
    assert found(said) == [
        f"row 2, column account_id: row 3 of job {job_id} was for account 12.345, this row says 12345; put the id back,"
        " or fill the credential in (api_key and property.WebhookSecret)",
    ]
    assert auth_values(desk) == {"acme-1": ["key-of-acme-1-5f1c"]}
