"""`cyclr-bulk check`: what was found, all that is wrong, exit 0 or 2, and nothing changed."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from openpyxl import Workbook

from tests.end_to_end.cli.desk import CLIENT_ID, MAIL, Desk

SHEET = [
    ["account_id", "connector", "api_key", "property.Region", "reference"],
    ["acme", "Northwind Mail", "key-1-5f1c", "EU", "Zoë"],
    ["globex", "Northwind Mail", "key-2-5f1c", "US", ""],
]


def sheet(delimiter: str, line_end: str = "\r\n") -> str:
    return line_end.join(delimiter.join(cells) for cells in SHEET) + line_end


def test_says_what_was_found_and_how_long_it_takes(desk: Desk) -> None:
    said = desk.say("check", desk.mail_file("acme", "globex"))
    assert said.code == 0
    assert said.out.splitlines() == [
        f"Home folder: {desk.folder}/home",
        "accounts.csv: 2 rows (UTF-8, comma)",
        "  connectors: Northwind Mail 3.0 (2)",
        "  methods:    ApiKey (2)",
        "  properties: Region (2), WebhookSecret (2)",
        "  calls:      8 (2 looks, at most 2 installs or 6 changes of what is there); about 1 s at 500 calls/s",
        "No problems. Begin with:",
        "  cyclr-bulk run accounts.csv",
    ]
    assert said.err == ""
    assert desk.installs() == []


def test_says_that_it_works_on_this_machine_where_a_deployment_is_set_up(desk: Desk) -> None:
    elsewhere = {"DATABASE_URL": "postgresql://db.example/bulk", "REDIS_URL": "redis://redis.example/0"}
    said = desk.say("check", desk.mail_file("acme"), **elsewhere, CYCLR_BULK_SEALING_KEYS=f"k1:{'A' * 43}=")
    assert said.code == 0
    assert said.out.splitlines()[0] == (
        "DATABASE_URL is left aside: this command works on this machine."
        " `cyclr-bulk submit` hands a file to the deployment."
    )


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (sheet(",", "\n").encode("utf-8-sig"), "UTF-8, comma"),
        (sheet("\t").encode("utf-16"), "UTF-16, tab"),
        (sheet(";").encode("cp1252"), "Windows-1252, semicolon"),
        (sheet("|").encode(), "UTF-8, pipe"),
    ],
)
def test_reads_what_spreadsheets_save(desk: Desk, content: bytes, found: str) -> None:
    (desk.folder / "sheet.csv").write_bytes(content)
    said = desk.say("check", "sheet.csv")
    assert said.code == 0
    assert f"sheet.csv: 2 rows ({found})" in said.out
    guessed = "  warning: the file is not UTF-8 (line 2), so it was read as Windows-1252"
    assert (guessed in said.out) is found.startswith("Windows")


def test_lists_every_problem_and_warning_at_once(desk: Desk) -> None:
    desk.file(
        "bad.csv",
        "account id,connector,api key,property.Region,colour\n"
        "acme,Northwind Mail,k-1-secret,EU,red\n"
        ",Northwind Mail,k-2-secret,EU,\n"
        "# globex,Northwind Mail,k-3-secret,EU,\n"
        "\n"
        "globex,Beacon Chat,k-4-secret,,\n"
        "nobody,Northwind Mail,k-5-secret,EU,\n"
        "initech,Northwind Mail,,EU,\n"
        "hooli,Northwind Mail,k-6-secret,MOON,\n",
    )
    desk.secrets |= {f"k-{n}-secret" for n in range(1, 7)}
    said = desk.say("check", "bad.csv")
    assert said.code == 2
    assert said.err == ""
    assert said.out.splitlines()[1:] == [
        "bad.csv: 6 rows (UTF-8, comma)",
        "  1 comment line left out, 1 empty line left out",
        "  connectors: Northwind Mail 3.0 (2)",
        "  methods:    ApiKey (2)",
        "  properties: Region (2)",
        "  calls:      6 (2 looks, at most 2 installs or 4 changes of what is there); about 1 s at 500 calls/s",
        "  warning: column colour: unknown, it is ignored",
        "  warning: row 4, column account id: the line begins with # ('# globex'), so it is left out as a comment,"
        " and it has cells where a row has them: take the # away if it is a row",
        "  warning: row 9, column property.Region: expected one of EU, US, got 'MOON'",
        "  row 3, column account id: expected an account id, got an empty cell",
        "  row 6, column connector: connector Beacon Chat is a draft, which Cyclr does not install",
        "  row 7, column account id: Cyclr has no account 'nobody': correct the id, or fill in account_name"
        " in this row to have the account created",
        "  row 8, column api key: the method 'ApiKey' (ApiKey) of Northwind Mail needs api_key, got no"
        " credential; or write later in the column authentication",
        "4 problems.",
        "Correct the file; or leave 4 rows out and go on with 2:",
        "  cyclr-bulk run bad.csv --skip-invalid",
    ]


def test_names_the_first_accounts_that_it_would_create_each_once(desk: Desk) -> None:
    new = ["new-1", "New-2", "new-3", "new-4", "new-5", "new-6", "new-7"]
    rows = [f"{each},Northwind Mail,,key-1-5f1c,Ltd\n" for each in ("acme", *new)]
    # The same account in other letters, with a connector of its own.
    rows.append("NEW-2,Northwind Mail,Second,key-1-5f1c,Ltd\n")
    desk.file("new.csv", "account_id,connector,name,api_key,account_name\n" + "".join(rows))
    desk.secrets.add("key-1-5f1c")
    said = desk.say("check", "new.csv")
    assert said.code == 0
    lines = said.out.splitlines()
    assert "  accounts:   7 to be created first: new-1, New-2, new-3, new-4, new-5 and 2 more" in lines
    # Each row of a new account makes the call.
    assert (
        "  calls:      18 (1 look, at most 9 installs or 1 change of what is there, 8 to create accounts); about 1 s at 500"
        " calls/s" in lines
    )


def test_says_what_an_update_takes_and_how_it_is_typed(desk: Desk) -> None:
    rows = "".join(f"{each},key-{each}-5f1c,US\n" for each in ("acme", "globex"))
    desk.file("keys.csv", f"account_id,api_key,property.Region\n{rows}")
    desk.secrets |= {"key-acme-5f1c", "key-globex-5f1c"}
    said = desk.say("check", "keys.csv", "--for", "update", "--connector", MAIL)
    assert said.code == 0
    assert said.out.splitlines()[-3:] == [
        "  calls:      6 (2 looks, at most 4 changes of what is there); about 1 s at 500 calls/s",
        "No problems. Begin with:",
        "  cyclr-bulk update keys.csv --connector 'Northwind Mail'",
    ]


def test_without_a_look_there_are_installs_alone(desk: Desk) -> None:
    said = desk.say("check", desk.mail_file("acme", "globex"), "--no-look")
    assert said.out.splitlines()[-3:] == [
        "  calls:      2 (2 installs); about 1 s at 500 calls/s",
        "No problems. Begin with:",
        "  cyclr-bulk run accounts.csv --no-look",
    ]


def test_what_is_taken_as_written_stands_in_the_command_that_installs_it(desk: Desk) -> None:
    columns = ("--as-written", "connector_version", "--as-written", "account_id")
    said = desk.say("check", desk.mail_file("acme"), *columns)
    assert said.code == 0
    assert said.out.splitlines()[-1] == (
        "  cyclr-bulk run accounts.csv --as-written account_id --as-written connector_version"
    )


def test_lists_the_first_thousand_problems_and_the_count(desk: Desk) -> None:
    rows = "".join(f"acme,{'n' * number},k\n" for number in range(251, 1_451))
    desk.file("long.csv", f"account_id,name,api_key\n{rows}")
    said = desk.say("check", "long.csv", "--connector", MAIL)
    lines = said.out.splitlines()
    assert said.code == 2
    assert "1,200 problems, of which these are the first 1,000." in lines
    assert sum(line.startswith("  row ") for line in lines) == 1_000
    assert lines[-1] == "Correct the file, then check it again."


def test_problems_that_say_the_same_of_many_rows_are_told_once(desk: Desk) -> None:
    desk.file("long.csv", "account_id,connector\n" + ",Northwind Mail\n" * 1_200)
    said = desk.say("check", "long.csv", "--connector", MAIL)
    assert [line for line in said.out.splitlines() if line.startswith("  row")] == [
        "  rows 2-1201, column account_id: expected an account id, got an empty cell (1,200 rows)",
        f"  rows 2-1201, column connector: expected an empty cell, since the connector {MAIL} is given for all rows;"
        " use one of the two (1,200 rows)",
    ]
    assert "2,400 problems." in said.out.splitlines()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "book.xlsx",
            b"PK\x03\x04" + bytes(100),
            "the workbook is damaged, or protected with a password (BadZipFile): save it again without one",
        ),
        ("empty.csv", b"", "the file is empty: expected a header line"),
        ("other.csv", b"id,connector\nx,y\n", "column account_id: expected this column, got id, connector"),
        ("gone.csv", None, "there is no such file"),
    ],
)
def test_names_the_file_that_is_none(desk: Desk, name: str, content: bytes | None, reason: str) -> None:
    if content is not None:
        (desk.folder / name).write_bytes(content)
    said = desk.say("check", name)
    assert said.code == 2
    first, second, *_ = said.out.splitlines()
    assert (first, second[: len(reason) + 2]) == (f"{name}: this file cannot be used.", f"  {reason}")
    assert said.err == "Nothing was changed.\n"


def test_says_the_files_own_problems_beside_all_that_is_wrong_with_the_settings(desk: Desk) -> None:
    desk.file("bad.csv", "account_id,connector,api_key\n,Northwind Mail,k-1-secret\n")
    said = desk.say(
        "check", "bad.csv", CYCLR_API_URL=None, CYCLR_CLIENT_ID=None, CYCLR_CALLS_PER_SECOND="fast"
    )
    assert said.code == 2
    assert said.out.splitlines() == [
        "bad.csv: 1 row (UTF-8, comma)",
        "  row 2, column account_id: expected an account id, got an empty cell",
        "1 problem.",
    ]
    assert said.err.splitlines() == [
        "Connectors and accounts were not checked, since Cyclr cannot be asked with these settings.",
        "Settings (environment or .env) need attention:",
        "  CYCLR_CALLS_PER_SECOND: expected a valid number, unable to parse string as a number",
        "  CYCLR_API_URL is not set: the API domain of your instance, such as https://api.cyclr.com",
        "  CYCLR_CLIENT_ID is not set: from Cyclr's console: Settings > OAuth Client Credentials",
        "Nothing was changed.",
    ]


def test_settings_may_stand_in_a_file(desk: Desk) -> None:
    desk.file(".env", f"CYCLR_CLIENT_ID={CLIENT_ID}\n")
    assert desk.say("check", desk.mail_file("acme"), CYCLR_CLIENT_ID=None).code == 0


def test_says_that_the_credentials_are_refused(desk: Desk) -> None:
    said = desk.say("check", desk.mail_file("acme"), CYCLR_CLIENT_SECRET="wrong-secret-77aa01")
    desk.secrets.add("wrong-secret-77aa01")
    host = desk.simulator.base_url.removeprefix("http://")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines() == [
        f"{host}: Cyclr refuses CYCLR_CLIENT_ID and CYCLR_CLIENT_SECRET (status 400)."
        " Check both in Cyclr's console, and that they belong to the region of CYCLR_API_URL.",
        "Nothing was changed.",
    ]


class Redirects(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(302)
        self.send_header("Location", "https://console.example/login")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def redirecting() -> Iterator[str]:
    """A host that sends everybody elsewhere."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirects) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_says_that_the_host_is_not_the_api(desk: Desk, redirecting: str) -> None:
    said = desk.say("check", desk.mail_file("acme"), CYCLR_API_URL=f"http://{redirecting}")
    assert said.code == 2
    assert said.err.splitlines() == [
        f"{redirecting}: Cyclr answers with a redirect (status 302): CYCLR_API_URL is wrong."
        " Give the API domain of your instance, such as https://api.cyclr.com, not the console's.",
        "Nothing was changed.",
    ]


def test_sends_no_credential_over_plain_http_to_another_machine(desk: Desk) -> None:
    said = desk.say("check", desk.mail_file("acme"), CYCLR_API_URL="http://api.cyclr.example")
    assert said.code == 2
    assert (
        "  CYCLR_API_URL: plain http would send credentials unprotected to api.cyclr.example; use https,"
        " or name the host in CYCLR_ALLOW_HTTP_HOST" in said.err.splitlines()
    )


def test_names_the_home_that_cannot_be_used(desk: Desk) -> None:
    file = desk.mail_file("acme")
    said = desk.say("check", file, CYCLR_BULK_HOME=str(Path(file).absolute()))
    assert said.code == 2
    assert said.err.splitlines() == [
        f"home folder {desk.folder}/accounts.csv: expected a folder, got a file; choose another path",
        "Nothing was changed.",
    ]


def test_a_dotenv_file_in_utf_16_is_said_to_be_one(desk: Desk) -> None:
    (desk.folder / ".env").write_bytes("CYCLR_BURST=7\r\n".encode("utf-16"))
    said = desk.say("check", desk.mail_file("acme"))
    assert said.code == 2
    assert said.err.splitlines()[-3:] == [
        "Settings (environment or .env) need attention:",
        "  .env: expected text in UTF-8, got UTF-16: save it as UTF-8",
        "Nothing was changed.",
    ]


def test_what_is_doubtful_about_the_settings_is_said_once_and_changes_nothing(desk: Desk) -> None:
    desk.file(".env", "CYCLR_BRUST=7\n")
    (desk.folder / ".env").chmod(0o644)
    said = desk.say("check", desk.mail_file("acme"))
    assert said.code == 0
    assert said.err.splitlines()[:2] == [
        "warning: .env: its mode 644 lets others read what is in it; run chmod 600 .env",
        "warning: .env: CYCLR_BRUST is no setting and is ignored; did you mean CYCLR_BURST?",
    ]
    assert said.err.count("warning") == 2


def test_a_sheet_is_named_and_stands_in_the_next_command(desk: Desk) -> None:
    book = Workbook()
    book.remove(book.active)
    for name in ("November", "December"):
        page = book.create_sheet(name)
        page.append(["account_id", "connector", "api_key", "property.Region", "account_name"])
        page.append([f"of-{name.casefold()}", "Northwind Mail", "key-5f1c", "EU", "Acme"])
    book.save(desk.folder / "customers.xlsx")
    said = desk.say("check", "customers.xlsx", "--sheet", "December")
    assert said.code == 0
    assert said.out.splitlines()[-1] == "  cyclr-bulk run customers.xlsx --sheet December"
    said = desk.say("check", "customers.xlsx", "--sheet", "January")
    assert said.code == 2
    assert said.out.splitlines()[1] == "  there is no sheet 'January': it has 'November', 'December'"


def test_writes_the_rows_with_problems_without_their_secrets(desk: Desk) -> None:
    desk.file(
        "bad.csv",
        "account_id;connector;api_key;reference\n"
        "acme;Northwind Mail;key-1-5f1c;=1+1\n"
        ";Nowhere;key-2-5f1c;=1+1\n"
        "globex;Northwind Mail;key-3-5f1c;x;too many\n",
    )
    said = desk.say("check", "bad.csv", "--problems", "problems.csv")
    assert said.code == 2
    assert "Rows with problems, to read and to sort: problems.csv (2)" in said.out.splitlines()
    path = desk.folder / "problems.csv"
    assert path.stat().st_mode & 0o777 == 0o600
    written = path.read_bytes().decode("utf-8-sig")
    assert "5f1c" not in written
    header, *rows = written.splitlines()
    assert header == "row;account_id;connector;reference;_problems"
    assert [row.split(";")[:4] for row in rows] == [
        ["3", "", "Nowhere", "'=1+1"],
        ["4", "globex", "Northwind Mail", "[not exported]"],
    ]
    assert "column account_id: expected an account id, got an empty cell" in rows[0]
    # It is written anew, and is no input; nothing else is replaced.
    assert desk.say("check", "bad.csv", "--problems", "problems.csv").code == 2
    said = desk.say("check", "problems.csv")
    assert said.out.splitlines() == [
        "problems.csv: this file cannot be used.",
        "  this is a list of problems, without the credentials: correct your own file",
        "1 problem.",
    ]
    said = desk.say("check", "bad.csv", "--problems", "bad.csv")
    assert said.code == 2
    assert said.err.splitlines()[0] == (
        "bad.csv: it exists and is no list of problems; name another file with --problems"
    )
