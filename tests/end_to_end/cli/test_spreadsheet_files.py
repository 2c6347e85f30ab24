"""Files as spreadsheets leave them, by the commands and by what reaches Cyclr."""

import csv
import io
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.cli.desk import CLIENT_ID, CLIENT_SECRET, Desk
from worker.simulator.catalogue import method
from worker.simulator.faults import refused
from worker.simulator.server import SimulatorThread
from worker.simulator.world import World

NOTES, BIRCH = "Maple Notes", "Birch Desk"
ACCOUNTS = (
    *("acme-1", "globex-2", "initech-3", "hooli-4", "stark-6", "wayne-7", "00123", "123", "1234567890123450"),
)


def world() -> World:
    made = World(credentials={CLIENT_ID: CLIENT_SECRET})
    for account_id in ACCOUNTS:
        made.add_account(account_id)
    api_key = method("ApiKey", seed="sheets")
    made.add_connector(NOTES, "1.0", methods=[api_key])
    made.add_connector(BIRCH, "1.1", methods=[api_key])
    made.add_connector(BIRCH, "1.10", methods=[api_key])
    made.add_connector("Cedar", "3.0", methods=[api_key])
    made.add_connector(
        "Oak", "2.0", methods=[method("OAuth2", seed="sheets", oauth2_type="AuthorisationCode")]
    )
    return made


@pytest.fixture
def sheets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.chdir(tmp_path)
    with SimulatorThread(world()) as simulator:
        desk = Desk(tmp_path, simulator)
        yield desk
        desk.assert_no_secret_was_said()


def said_of(desk: Desk, text: str, *words: str, code: int) -> list[str]:
    """What `check` says of the rows of a file."""
    desk.file("in.csv", text)
    said = desk.say("check", "in.csv", *words)
    assert said.code == code, said.out
    return [
        line.strip() for line in said.out.splitlines() if re.search(r"\brows? ", line) and "column" in line
    ]


def keys(desk: Desk) -> dict[tuple[str, str], str]:
    """(account, Name) -> the key that stands there in Cyclr."""
    return desk.simulator.call(
        lambda made: {
            (account.id, each.name): each.auth_value
            for account in made.accounts.values()
            for each in account.connectors.values()
        }
    )


def test_errors_of_a_spreadsheet_are_problems_in_every_column(sheets: Desk) -> None:
    text = (
        "account_id,connector,api_key\nacme-1,Maple Notes,key-1\n#N/A,Maple Notes,key-2\n#REF!,Maple Notes,key-3\n"
        "globex-2,Maple Notes,#N/A\ninitech-3,Maple Notes,#NAME?\n"
    )
    advice = "stands here: mend the formula there, and export the sheet again"
    assert said_of(sheets, text, code=2) == [
        f"row 3, column account_id: a spreadsheet's error (#N/A) {advice}",
        f"row 4, column account_id: a spreadsheet's error (#REF!) {advice}",
        f"row 5, column api_key: a spreadsheet's error (#N/A) {advice}",
        f"row 6, column api_key: a spreadsheet's error (#NAME?) {advice}",
    ]


def test_a_formula_and_an_apostrophe_are_no_account_ids(sheets: Desk) -> None:
    text = (
        'account_id,account_name,connector,api_key\n"=""00123""",Leading Zero Ltd,Maple Notes,key-1\n'
        '="00456",Other Ltd,Maple Notes,key-2\n\'00457,Third Ltd,Maple Notes,key-3\n'
    )
    rows = [line.partition(":")[0] for line in said_of(sheets, text, code=2)]
    assert rows == ["rows 2-3, column account_id", "row 4, column account_id"]


@pytest.mark.parametrize(
    "ids",
    [
        ("01/03/2026", "1-Mar", "2026-03-01 00:00:00"),
        ("12345.0", '"12,345"', "TRUE"),
        ("acme–1", "hooli 4", "initесh-3"),
    ],
)
def test_a_doubted_id_is_a_problem_where_an_account_would_be_created(
    sheets: Desk, ids: tuple[str, ...]
) -> None:
    text = "account_id,account_name,connector,api_key\n" + "".join(
        f"{id_},New,Maple Notes,key\n" for id_ in ids
    )
    problems = said_of(sheets, text, code=2)
    assert [line.partition(":")[0] for line in problems] == [f"row {n}, column account_id" for n in (2, 3, 4)]
    assert all(line.endswith("or run with `--as-written account_id`") for line in problems)
    warned = said_of(sheets, text, "--as-written", "account_id", code=0)
    assert [line.partition(": row")[0] for line in warned] == ["warning"] * 3
    said = sheets.say("run", "in.csv", "--yes", "--as-written", "account_id")
    assert said.code == 0
    assert len(keys(sheets)) == 3


def test_rounded_ids_are_a_warning_where_cyclr_has_the_account(sheets: Desk) -> None:
    text = (
        "account_id,account_name,connector,api_key\n1234567890123450,Long Ltd,Maple Notes,key-1\n"
        "9876543210987650,Longer Ltd,Maple Notes,key-2\n5555444433332220,Third Ltd,Maple Notes,key-3\n"
    )
    told = [line.partition(": '")[0] for line in said_of(sheets, text, code=2)]
    assert told == [
        "warning: row 2, column account_id",
        "row 3, column account_id",
        "row 4, column account_id",
    ]
    assert len(said_of(sheets, text, "--as-written", "account_id", code=0)) == 3


def test_one_long_id_that_ends_in_a_zero_is_not_doubted(sheets: Desk) -> None:
    text = "account_id,account_name,connector,api_key\n9876543210987650,Long,Maple Notes,key-1\n9876543210987651,B,Maple Notes,k\n"
    assert said_of(sheets, text, code=0) == []


def test_lines_that_begin_with_a_hash_and_look_like_rows_are_named(sheets: Desk) -> None:
    text = "account_id,connector,api_key\n#1001,Maple Notes,key-1\n#1002,Maple Notes,key-2\n# a note\nacme-1,Maple Notes,key-3\n"
    told = said_of(sheets, text, code=0)
    assert [line.partition(" ('")[0] for line in told] == [
        "warning: row 2, column account_id: the line begins with #",
        "warning: row 3, column account_id: the line begins with #",
    ]


def test_a_header_in_the_middle_is_a_problem(sheets: Desk) -> None:
    text = "account_id,connector,api_key\nacme-1,Maple Notes,k\nAccount ID,Connector,API key\nhooli-4,Maple Notes,k\n"
    sheets.file("in.csv", text)
    said = sheets.say("check", "in.csv")
    assert "  row 3: the header is repeated here: remove this row" in said.out.splitlines()


def test_a_version_that_a_spreadsheet_has_shortened_fits_where_no_other_does(sheets: Desk) -> None:
    text = "account_id,connector,connector_version,api_key\nacme-1,Cedar,3,key-1\n"
    assert said_of(sheets, text, code=0) == [
        "warning: row 2, column connector_version: it has no version 3, and this was read as 3.0, which a spreadsheet may have "
        "shortened to it"
    ]


def test_a_version_that_may_be_two_is_a_problem_that_names_both(sheets: Desk) -> None:
    text = "account_id,connector,connector_version,api_key\nacme-1,Birch Desk,1.1,key-1\nhooli-4,Birch Desk,1.10,key-2\n"
    (problem,) = said_of(sheets, text, code=2)
    assert problem == (
        "row 2, column connector: connector Birch Desk has versions that a spreadsheet takes for the same number, "
        "1.1 (id 502), 1.10 (id 503): write the id of one into the column connector and leave connector_version empty, or run "
        "with `--as-written connector_version`"
    )
    assert said_of(sheets, text, "--as-written", "connector_version", code=0) == []
    said_of(sheets, text.replace("Birch Desk,1.1,", "502,,"), code=0)
    assert sheets.say("run", "in.csv", "--yes").code == 0
    assert sorted(effect.connector for effect in sheets.simulator.ledger.effects_of("installed")) == [
        BIRCH,
        BIRCH,
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<html><body><table><tr><th>account_id</th>", "this is HTML, not CSV: export the sheet as CSV"),
        (
            '[{"account_id":"acme-1"}]',
            "this is JSON, not CSV: export the sheet as CSV, or hand the list to the HTTP API",
        ),
        (
            "Customers to onboard,,\nExported 30/11/2026,,\naccount_id,connector,api_key\nacme-1,Maple Notes,key-1\n",
            "the column names stand in row 3: delete the rows above it",
        ),
    ],
)
def test_what_is_no_table_is_called_what_it_is(sheets: Desk, text: str, said: str) -> None:
    sheets.file("in.csv", text)
    assert said in sheets.say("check", "in.csv").out


@pytest.mark.parametrize("mark", ["sep=;\r\n", "\ufeff\ufeff", "\ufeffsep=;\r\n"])
def test_marks_above_the_header_are_read(sheets: Desk, mark: str) -> None:
    assert (
        said_of(sheets, mark + "account_id;connector;api_key\r\nacme-1;Maple Notes;key-1\r\n", code=0) == []
    )


def test_the_accounts_that_would_be_created_are_shown(sheets: Desk) -> None:
    text = "account_id,account_name,connector,name,api_key\n" + "".join(
        f"new-{n // 2},New,Maple Notes,n{n},k\n" for n in range(14)
    )
    sheets.file("in.csv", text)
    assert (
        "  accounts:   7 to be created first: new-0, new-1, new-2, new-3, new-4 and 2 more"
        in sheets.say("check", "in.csv").out
    )


def failed_results(desk: Desk, rows: list[list[str]], name: str) -> list[list[str]]:
    """Rows that were all refused once: their keys are kept. The result file, header first."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows([["account_id", "connector", "name", "api_key"], *rows])
    desk.file(f"{name}.csv", out.getvalue())
    desk.secrets |= {row[3] for row in rows if row[3]}
    desk.fault(refused(403, "Not today."), call="install", count=len(rows))
    assert desk.say("run", f"{name}.csv", "--yes").code == 1
    with (desk.folder / f"{name}.results.csv").open(encoding="utf-8-sig", newline="") as text:
        return list(csv.reader(text))


def run_table(desk: Desk, table: list[list[str]], name: str, *words: str) -> tuple[int, str]:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(table)
    desk.file(name, out.getvalue())
    said = desk.say("run", name, "--yes", *words)
    return said.code, said.err


def test_a_key_stays_in_its_account_when_a_spreadsheet_takes_the_zeros_away(sheets: Desk) -> None:
    header, row = failed_results(sheets, [["00123", NOTES, "Re", "key-of-00123"]], "a")
    code, said = run_table(sheets, [header, ["123", *row[1:]]], "b.csv")
    assert code == 2
    assert (
        f"row 2, column account_id: row 2 of job {row[4]} was for account 00123, this row says 123; put the id back"
        in said
    )
    assert keys(sheets) == {}
    assert run_table(sheets, [header, row], "c.csv")[0] == 0
    assert keys(sheets) == {("00123", "Re"): "key-of-00123"}


def test_a_row_without_a_credential_stays_in_its_account_too(sheets: Desk) -> None:
    header, row = failed_results(sheets, [["00123", "Oak", "", ""]], "a")
    assert run_table(sheets, [header, ["123", *row[1:]]], "b.csv")[0] == 2
    assert keys(sheets) == {}
    emptied = ["123", *row[1:4], "", "", *row[6:]]
    assert run_table(sheets, [header, emptied], "c.csv")[0] == 0
    assert set(keys(sheets)) == {("123", "Oak")}


def test_swallowed_keys_stand_in_no_file_of_the_home(sheets: Desk) -> None:
    text = (
        'account_id,connector,api_key,description\nacme-1,Maple Notes,SESAME-1,"5 inch\nglobex-2,Maple Notes,SESAME-2,x\n'
        'hooli-4,Maple Notes,SESAME-3,7"\nstark-6,Maple Notes,SESAME-4,y\n'
    )
    sheets.file("in.csv", text)
    sheets.secrets |= {f"SESAME-{n}" for n in range(1, 5)}
    said = sheets.say("run", "in.csv", "--yes", "--skip-invalid")
    assert said.code == 1
    assert "row 2, column description: rows 2 to 4 of the file stand in this cell" in said.err
    written = [path for path in (sheets.folder / "home").rglob("*") if path.is_file()]
    assert written
    assert not [
        path.name for path in (*written, sheets.folder / "in.results.csv") if b"SESAME" in path.read_bytes()
    ]
    assert keys(sheets) == {("stark-6", NOTES): "SESAME-4"}


def changed(draw: random.Random, table: list[list[str]], names: list[str]) -> list[list[str]]:
    """The table with rows sorted, lost, copied and counted on, and cells changed or swapped."""
    header, *rows = table
    rows = [list(row) for row in rows]
    for _ in range(draw.randint(1, 3)):
        match draw.randint(0, 6):
            case 0:
                draw.shuffle(rows)
            case 1 if len(rows) > 2:
                rows.pop(draw.randrange(len(rows)))
            case 2:
                rows.append(list(draw.choice(rows)))
            case 3:
                column = draw.randrange(6)
                values = [row[column] for row in rows]
                draw.shuffle(values)
                for row, value in zip(rows, values, strict=True):
                    row[column] = value
            case 4:
                draw.choice(rows)[0] = draw.choice(ACCOUNTS)
            case 5:
                draw.choice(rows)[2] = draw.choice([*names, "Other", ""])
            case 6:
                for number, row in enumerate(rows, start=2):
                    row[5] = str(number)
    return [header, *rows]


@pytest.mark.slow
def test_no_stored_key_reaches_another_account_connector_or_name(sheets: Desk) -> None:
    draw = random.Random(11)
    wrong: list[object] = []
    installed = 0
    for turn in range(8):
        names = [f"EU {turn}", f"US {turn}"]
        rows = [
            [account, NOTES, name, f"key of {account} {name}"]
            for account in ("00123", "123")
            for name in names
        ]
        rows.append(["acme-1", "Cedar", f"C {turn}", f"key of acme-1 C {turn}"])
        table = failed_results(sheets, rows, f"t{turn}")
        run_table(sheets, changed(draw, table, names), f"c{turn}.csv", "--skip-invalid")
        for (account, name), key in keys(sheets).items():
            # A new Name goes with its row's key; one that another row had does not.
            is_own = (
                key == f"key of {account} {name}"
                if name[-1].isdigit()
                else key.startswith(f"key of {account} ")
            )
            wrong += [] if is_own else [(turn, account, name, key)]
        installed += len(keys(sheets))
    assert wrong == []
    assert installed >= 60, "the changes left hardly a row to install"
