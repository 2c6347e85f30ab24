"""`cyclr-bulk run`: exit codes, what is said where, the result file, and how to go on."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import openpyxl

from tests.end_to_end.cli.desk import MAIL, Desk
from worker.simulator.faults import refused
from worker.simulator.world import Install, World

RESULT_HEADER = (
    "account id;connector;api key;property.Region;property.WebhookSecret;reference;colour;_job;_row;_state;"
    "_outcome;_code;_message;_account_connector_id;_attempts;_authenticated;_differs;_changed;_account_created"
)


def test_every_row_has_its_result_and_the_result_file_is_an_input(desk: Desk) -> None:
    desk.file(
        "accounts.csv",
        "account id;connector;api key;property.Region;property.WebhookSecret;reference;colour\r\n"
        "acme;Northwind Mail;key-1-5f1c;EU;whsec-1-77ab;=1+1;red\r\n"
        "globex;Northwind Mail;key-2-5f1c;US;whsec-2-77ab;@two;\r\n"
        "hooli;Harbour CRM;;;;+3;\r\n"
        "nobody;Northwind Mail;key-4-5f1c;EU;whsec-4-77ab;four;\r\n",
    )
    desk.secrets |= {f"key-{n}-5f1c" for n in (1, 2, 4)} | {f"whsec-{n}-77ab" for n in (1, 2, 4)}
    desk.fault(
        refused(403, "The plan of this account is full."), call="install", account_id="globex", count=1
    )

    said = desk.say("run", "accounts.csv", "--yes", "--skip-invalid")
    assert said.code == 1
    assert said.out.splitlines() == [
        "2 created, 1 failed, 1 refused at intake.",
        "  waiting:    1 row for the customer's authorisation",
        "Failed, by reason:",
        "        1  5e0916f9  refused: The plan of this account is full. (row 3)",
        "What to do:",
        "  refused: Mend what the message names, then retry.",
        "Results, one line for every row: accounts.results.csv",
    ]
    rows = read_rows(desk.folder / "accounts.results.csv", RESULT_HEADER)
    job_id = rows[0][7]
    host = desk.simulator.base_url.removeprefix("http://")
    assert said.err.splitlines() == [
        f"Home folder: {desk.folder}/home",
        "No Valkey or Redis is to be had here, so the installs run in this process.",
        "accounts.csv: 4 rows (UTF-8, semicolon)",
        "  connectors: Northwind Mail 3.0 (2), Harbour CRM v1 (1)",
        "  methods:    ApiKey (2), OAuth2 (1)",
        "  properties: Region (2), WebhookSecret (2)",
        "  calls:      10 (3 looks, at most 3 installs or 6 changes of what is there); about 1 s at 500 calls/s",
        "  warning: column colour: unknown, it is ignored",
        "  row 5, column account id: Cyclr has no account 'nobody': correct the id, or fill in account_name"
        " in this row to have the account created",
        "1 problem.",
        f"Install or fill in 3 connectors at {host}. 1 row with a problem is left out."
        " It takes about 1 s at 500 calls/s.",
        f"{job_id}: 0 of 3: 0 done, 0 failed, 0 retrying",
        "To try the failed rows again, mend what their messages name (refused rows need their credentials"
        " filled in again) and run the result file:",
        "  cyclr-bulk run accounts.results.csv",
    ]
    hidden = "[not exported]"
    assert [[*row[:7], *row[8:12]] for row in rows] == [
        ["acme", MAIL, hidden, "EU", hidden, "'=1+1", "red", "2", "done", "created", ""],
        ["globex", MAIL, hidden, "US", hidden, "'@two", "", "3", "failed", "", "refused"],
        ["hooli", "Harbour CRM", "", "", "", "'+3", "", "4", "done", "created", ""],
        ["nobody", MAIL, hidden, hidden, hidden, "four", "", "5", "refused", "", "refused_at_intake"],
    ]
    assert rows[2][15] == "no"
    assert rows[3][12] == (
        "column account id: Cyclr has no account 'nobody': correct the id, or fill in account_name in this row"
        " to have the account created"
    )

    assert desk.say("results", job_id, "-o", "exported.csv").code == 0
    assert read_rows(desk.folder / "exported.csv", RESULT_HEADER) == rows

    again = desk.say("run", "accounts.results.csv", "--yes", "--skip-invalid")
    assert again.code == 1
    [first, *_] = json.loads(desk.say("jobs", "--json").out)[1:]
    assert first["id"] == job_id
    earlier = f"2 rows were done by job {job_id} on {first['finished_at'][:10]} and were not looked at again; `--look-again` does."
    assert earlier in again.err.splitlines()
    assert json.loads(desk.say("jobs", "--json").out)[0]["done_by"] == {job_id: 2}
    assert again.out.splitlines() == [
        earlier,
        "1 created, 0 failed, 1 refused at intake, 2 done by an earlier job.",
        "Results, one line for every row: accounts.results-2.csv",
    ]
    assert sorted(desk.installs()) == ["acme", "globex", "hooli"]
    later = read_rows(desk.folder / "accounts.results-2.csv", RESULT_HEADER)
    assert [(row[0], row[5], row[8], row[9]) for row in later] == [
        ("acme", "'=1+1", "2", "done"),
        ("globex", "'@two", "3", "done"),
        ("hooli", "'+3", "4", "done"),
        ("nobody", "four", "5", "refused"),
    ]


def read_rows(path: Path, header: str) -> list[list[str]]:
    text = path.read_text(encoding="utf-8-sig")
    assert text.splitlines()[0] == header
    return list(csv.reader(text.splitlines()[1:], delimiter=";"))


def test_the_first_rows_then_the_rest(desk: Desk) -> None:
    file = desk.mail_file("acme", "globex", "initech", "umbrella")
    said = desk.say("run", file, "--first", "2", "--yes", "--results", "out.csv")
    assert said.code == 3
    assert said.out.splitlines() == [
        "2 created, 0 failed, 2 not done yet.",
        "Results, one line for every row: out.csv",
    ]
    assert [row["_state"] for row in desk.results("out.csv")] == [
        "done",
        "done",
        "queued",
        "queued",
    ]
    job_id = desk.results("out.csv")[0]["_job"]
    assert said.err.splitlines()[-3:] == [
        f"Job {job_id} is paused: the first rows asked for are done. 2 rows are left.",
        "Look at what became of them; for the rest, resume it:",
        "  cyclr-bulk run accounts.csv --results out.csv",
    ]
    assert sorted(desk.installs()) == ["acme", "globex"]

    checked = desk.say("check", file)
    assert checked.code == 0
    assert checked.out.splitlines()[-2:] == [
        f"This is job {job_id} of accounts.csv, 2 of 4 rows done. Go on with:",
        "  cyclr-bulk run accounts.csv",
    ]

    other = desk.say("run", file, "--beside", "--yes")
    assert (other.code, other.out) == (2, "")
    assert other.err.splitlines()[-3:] == [
        f"This file was begun with other options: job {job_id} of accounts.csv, 2 of 4 rows done."
        " Go on with them:",
        "  cyclr-bulk run accounts.csv",
        "Nothing was changed.",
    ]

    edited = desk.say("check", desk.mail_file("umbrella", name="edited.csv"))
    assert edited.code == 2
    ways_on = [
        f"1 row of this file is still to be done by job {job_id} of accounts.csv,",
        "2 of 4 rows done, paused (the first rows asked for are done).",
        "Let it go on to its end, then check this file again:",
        f"  cyclr-bulk resume {job_id}",
        "Or end it, then check this file again (nothing is installed twice):",
        f"  cyclr-bulk cancel {job_id}",
    ]
    assert edited.out.splitlines()[-8:] == [
        f"  row 2: still to be done by job {job_id}: let that job end first, or cancel it",
        "1 problem.",
        *ways_on,
    ]
    more = desk.say("run", desk.mail_file("initech", "umbrella", "stark", name="edited.csv"), "--yes")
    assert (more.code, more.out) == (2, "")
    lines = more.err.splitlines()
    assert (
        f"  rows 2-3: still to be done by job {job_id}: let that job end first, or cancel it (2 rows)"
        in lines
    )
    assert lines[-8:] == [
        ways_on[0].replace("1 row of this file is", "2 rows of this file are"),
        ways_on[1],
        *(line.replace("check this", "run this") for line in ways_on[2:]),
        "Or add --skip-invalid to install only the other row.",
        "Nothing was changed.",
    ]
    assert "Correct the file" not in more.err + edited.out

    last = desk.say("run", file, "--yes", "--results", "out.csv")
    assert (last.code, last.out.splitlines()[0]) == (0, "4 created, 0 failed.")
    assert f"This is job {job_id} of accounts.csv, 2 of 4 rows done." in last.err
    assert sorted(desk.installs()) == ["acme", "globex", "initech", "umbrella"]
    assert {row["_job"] for row in desk.results("out.csv")} == {job_id}
    assert [path.name for path in desk.folder.glob("*results*")] == []


def test_what_is_taken_as_written_is_asked_again_and_needed_no_more(desk: Desk) -> None:
    file = desk.mail_file("acme", "globex")
    said = desk.say("run", file, "--first", "1", "--yes", "--as-written", "account_id")
    assert said.code == 3
    assert said.err.splitlines()[-1] == "  cyclr-bulk run accounts.csv --as-written account_id"
    # The rows are loaded, and not judged again.
    last = desk.say("run", file, "--yes")
    assert (last.code, last.out.splitlines()[0]) == (0, "2 created, 0 failed.")


def test_leaves_accounts_alone_that_have_the_connector_under_another_name(desk: Desk) -> None:
    def put_there(world: World) -> None:
        [release] = world.releases_named(MAIL)
        world.add_installed("acme", release, Install(name="Old mail", auth_value="made-up"))

    desk.simulator.call(put_there)
    file = desk.file("bare.csv", "account_id,api_key\nacme,key-1-5f1c\nglobex,key-2-5f1c\n")
    desk.secrets |= {"key-1-5f1c", "key-2-5f1c"}
    said = desk.say("run", file, "--yes", "--connector", MAIL)
    assert said.code == 1
    assert desk.installs() == ["globex"]
    assert [
        (row["account_id"], row["_outcome"], row["_code"]) for row in desk.results("bare.results.csv")
    ] == [
        ("acme", "", "present_under_other_name"),
        ("globex", "created", ""),
    ]
    beside = "cyclr-bulk run bare.results.csv --connector 'Northwind Mail' --beside"
    assert said.err.splitlines()[-2:] == [
        "To use the connector that is there, put its Name into the column name and run the result file; to install a second one"
        " beside it:",
        f"  {beside}",
    ]
    again = desk.say(*shlex.split(beside)[1:], "--yes")
    assert (again.code, desk.installs()) == (0, ["globex", "acme"])


def have_mail(world: World, *account_ids: str, key: str | None, region: str | None = "EU") -> None:
    [release] = world.releases_named(MAIL)
    properties = [("Region", region)] if region else []
    for account_id in account_ids:
        world.add_installed(account_id, release, Install(name=MAIL, auth_value=key, properties=properties))


def test_what_differs_is_left_alone_and_set_by_the_command_that_is_named(desk: Desk) -> None:
    desk.secrets |= {"key-1-5f1c", "key-2-5f1c", "old-key-9d0e"}
    desk.simulator.call(lambda world: have_mail(world, "acme", key="old-key-9d0e"))
    desk.simulator.call(lambda world: have_mail(world, "globex", key=None))
    file = desk.file(
        "in.csv", "account_id,api_key,property.Region\nacme,key-1-5f1c,EU\nglobex,key-2-5f1c,EU\n"
    )
    said = desk.say("run", file, "--yes", "--connector", MAIL, "--assume-method")
    assert said.code == 1
    assert said.out.splitlines()[:2] == ["1 filled in, 1 failed.", "  changed:    api_key (1)"]
    overwrite = "cyclr-bulk run in.results.csv --connector 'Northwind Mail' --overwrite --assume-method"
    # Nothing in the row is to be mended, so no other command is named.
    assert said.err.splitlines()[-2:] == [
        "To set the values of the rows over those that are there:",
        f"  {overwrite}",
    ]
    assert [(row["_code"], row["_differs"], row["_changed"]) for row in desk.results("in.results.csv")] == [
        ("differs", "api_key", ""),
        ("", "", "api_key"),
    ]
    again = desk.say(*shlex.split(overwrite)[1:], "--yes")
    assert again.code == 0
    [asked] = [
        line
        for line in again.err.splitlines()
        if line.startswith("Install, fill in or change 1 connector at")
    ]
    kept_until = r"At most 2 values that are there are overwritten; what they were is kept until \d{4}-\d\d-\d\d \d\d:\d\d UTC\."
    assert re.search(kept_until, asked)
    assert again.out.splitlines()[1:3] == [
        "1 updated, 0 failed, 1 done by an earlier job.",
        "  changed:    api_key (1)",
    ]
    assert desk.installs() == []


def test_new_keys_for_what_an_earlier_job_has_installed_are_set_by_the_command_that_is_named(
    desk: Desk,
) -> None:
    desk.secrets |= {"key-1-5f1c", "new-1-5f1c"}
    first = desk.file("first.csv", "account_id,api_key\nacme,key-1-5f1c\n")
    options = ("--connector", MAIL, "--assume-method")
    assert desk.say("run", first, "--yes", *options).code == 0
    later = desk.file("later.csv", "account_id,api_key\nacme,new-1-5f1c\n")
    assert desk.say("run", later, "--yes", *options).code == 1
    # The target is done by the first job; what is asked for now came after it.
    again = desk.say("run", "later.results.csv", "--yes", "--overwrite", *options)
    assert again.code == 0
    assert again.out.splitlines()[:2] == ["1 updated, 0 failed.", "  changed:    api_key (1)"]
    assert desk.installs() == ["acme"]


def test_an_update_changes_what_is_there_and_creates_nothing(desk: Desk) -> None:
    desk.secrets |= {"key-1-5f1c", "key-2-5f1c", "old-key-9d0e"}
    desk.simulator.call(lambda world: have_mail(world, "acme", key="old-key-9d0e"))
    file = desk.file("keys.csv", "account_id,api_key\nacme,key-1-5f1c\nglobex,key-2-5f1c\n")
    said = desk.say("update", file, "--yes", "--no-undo", "--connector", MAIL)
    assert said.code == 1
    assert "Update 2 connectors at" in said.err
    assert "At most 2 values that are there are overwritten, and nothing of them is kept." in said.err
    assert said.out.splitlines()[0] == "1 updated, 1 failed."
    install = "cyclr-bulk run keys.results.csv --connector 'Northwind Mail' --no-undo"
    assert said.err.splitlines()[-2:] == ["To install what is not there:", f"  {install}"]
    [job] = json.loads(desk.say("jobs", "--json").out)
    assert job["operation"] == "update"
    lines = desk.say("items", job["id"], "--state", "done").out.splitlines()
    assert lines == ["row 2  acme  Northwind Mail  done  updated  api_key was set"]
    assert desk.say("items", job["id"], "--outcome", "filled_in").out == ""
    assert desk.installs() == []
    again = desk.say(*shlex.split(install)[1:], "--yes")
    assert (again.code, desk.installs()) == (0, ["globex"])


def test_an_update_that_changed_nothing_it_meant_to_ends_with_1(desk: Desk) -> None:
    desk.secrets |= {"token-1-5f1c", "token-2-9d0e"}

    def have_tokens(world: World) -> None:
        [release] = world.releases_named("Harbour CRM")
        world.add_installed(
            "acme", release, Install(name="Harbour CRM", auth_value='{"AccessToken":"token-2-9d0e"}')
        )

    desk.simulator.call(have_tokens)
    file = desk.file("tokens.csv", "account_id,connector,access_token\nacme,Harbour CRM,token-1-5f1c\n")
    said = desk.say("update", file, "--yes")
    assert (said.code, said.out.splitlines()[0]) == (1, "1 unchanged, 0 failed.")
    assert said.err.splitlines()[-1] == (
        "1 row changed nothing, though it names something else than is there: OAuth tokens, which are replaced with"
        " --replace-tokens only."
    )
    again = desk.say("update", file, "--yes", "--replace-tokens")
    assert (again.code, again.out.splitlines()[0]) == (0, "1 updated, 0 failed.")


def test_a_file_that_was_begun_by_update_goes_on_with_update(desk: Desk) -> None:
    desk.secrets |= {"key-1-5f1c", "key-2-5f1c", "old-key-9d0e"}
    desk.simulator.call(lambda world: have_mail(world, "acme", "globex", key="old-key-9d0e"))
    file = desk.file("keys.csv", "account_id,api_key\nacme,key-1-5f1c\nglobex,key-2-5f1c\n")
    held = desk.say("update", file, "--yes", "--first", "1", "--connector", MAIL)
    assert held.code == 3
    assert held.err.splitlines()[-1] == "  cyclr-bulk update keys.csv --connector 'Northwind Mail'"
    other = desk.say("run", file, "--yes", "--connector", MAIL)
    assert other.code == 2
    assert other.err.splitlines()[-2:] == [
        "  cyclr-bulk update keys.csv --connector 'Northwind Mail'",
        "Nothing was changed.",
    ]
    rest = desk.say("update", file, "--yes", "--connector", MAIL)
    assert (rest.code, rest.out.splitlines()[0]) == (0, "2 updated, 0 failed.")


def test_stops_where_too_many_rows_fail_and_merges_their_reasons(desk: Desk) -> None:
    account_ids = [f"customer-{number:03d}" for number in range(300)]

    def let_down(world: World) -> None:
        for account_id in account_ids:
            world.add_account(account_id)
            message = f"The plan of '{account_id}' includes 3 connectors."
            world.faults.add(refused(403, message), call="install", account_id=account_id)

    desk.simulator.call(let_down)
    said = desk.say(
        "run", desk.mail_file(*account_ids), "--yes", CYCLR_CALLS_PER_SECOND="100", CYCLR_BURST="10"
    )
    job_id = desk.results("accounts.results.csv")[0]["_job"]
    failed = sum(row["_state"] == "failed" for row in desk.results("accounts.results.csv"))
    assert said.code == 3
    assert 50 <= failed < 300
    assert said.out.splitlines() == [
        f"0 done, {failed} failed, {300 - failed} not done yet.",
        "Failed, by reason:",
        f"  {failed:>7}  c31677b1  refused: The plan of '…' includes 3 connectors. (row 2 and {failed - 1} more)",
        "What to do:",
        "  refused: Mend what the message names, then retry.",
        "Results, one line for every row: accounts.results.csv",
    ]
    assert f"Job {job_id} is paused: too many of the rows tried so far have failed." in said.err
    assert said.err.endswith(
        "Read why they failed and mend what that names, then resume it:\n  cyclr-bulk run accounts.csv\n"
    )


def test_the_results_are_kept_where_their_place_is_gone(desk: Desk) -> None:
    (desk.folder / "away").mkdir()

    def take_away(world: World) -> None:
        record = world.record

        def record_and_take_away(*words: object) -> None:
            shutil.rmtree(desk.folder / "away", ignore_errors=True)
            record(*words)

        world.record = record_and_take_away

    desk.simulator.call(take_away)
    said = desk.say("run", desk.mail_file("acme"), "--yes", "--results", "away/out.csv")
    [kept] = (desk.folder / "home").glob("*.results.csv")
    assert said.code == 0
    assert said.out.splitlines() == ["1 created, 0 failed.", f"Results, one line for every row: {kept}"]
    assert "The result file away/out.csv could not be written: No such file or directory." in said.err
    assert [row["account_id"] for row in csv.DictReader(kept.read_text("utf-8-sig").splitlines())] == ["acme"]


def test_nothing_is_installed_from_a_file_with_problems(desk: Desk) -> None:
    file = desk.file("bad.csv", "account_id,connector\nacme,Harbour CRM\nnobody,Harbour CRM\n")
    said = desk.say("run", file, "--yes")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines()[-2:] == [
        "1 problem.",
        "Nothing was changed. Correct the file, or add --skip-invalid to leave 1 row out.",
    ]
    assert desk.installs() == []


def test_without_a_terminal_yes_is_needed(desk: Desk) -> None:
    said = desk.say("run", desk.mail_file("acme"))
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines() == [
        "There is no terminal to ask on: add --yes to begin without a question.",
        "Nothing was changed.",
    ]


def test_no_other_file_is_lost_to_the_results(desk: Desk) -> None:
    file = desk.mail_file("acme")
    said = desk.say("run", file, "--yes", "--results", file)
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines() == [
        "accounts.csv: this is the input; name another file with --results",
        "Nothing was changed.",
    ]


def test_warnings_and_references_are_told_of_the_job_later(desk: Desk) -> None:
    lines = "".join(
        f"{each},Northwind Mail,key-{each}-5f1c,MOON,order of {each}\n" for each in ("acme", "globex")
    )
    desk.file("in.csv", f"account_id,connector,api_key,property.Region,reference,colour\n{lines}")
    desk.secrets |= {"key-acme-5f1c", "key-globex-5f1c"}
    assert desk.say("run", "in.csv", "--yes").code == 0
    [job] = json.loads(desk.say("jobs", "--json").out)
    status = desk.say("status", job["id"])
    assert status.out.splitlines()[-3:] == [
        "3 warnings of its check:",
        "  column colour: unknown, it is ignored",
        "  rows 2-3, column property.Region: expected one of EU, US, got 'MOON' (2 rows)",
    ]
    told = json.loads(desk.say("status", job["id"], "--json").out)
    assert told["warning_count"] == job["warning_count"] == 3
    assert told["warnings"] == [
        {
            "row": None,
            "column": "colour",
            "message": "unknown, it is ignored",
            "count": None,
            "rows": None,
        },
        {
            "row": 2,
            "column": "property.Region",
            "message": "expected one of EU, US, got 'MOON'",
            "count": 2,
            "rows": [[2, 3]],
        },
    ]
    listed = [json.loads(line) for line in desk.say("items", job["id"], "--json").out.splitlines()]
    assert [item["reference"] for item in listed] == ["order of acme", "order of globex"]


def test_many_warnings_are_told_by_their_first_and_where_the_others_are(desk: Desk) -> None:
    rows = "".join(f"acme,Northwind Mail,key-5f1c,M{number},n{number}\n" for number in range(1, 26))
    desk.file("in.csv", f"account_id,connector,api_key,property.Region,name\n{rows}")
    desk.secrets.add("key-5f1c")
    assert desk.say("run", "in.csv", "--yes").code == 0
    [job] = json.loads(desk.say("jobs", "--json").out)
    lines = desk.say("status", job["id"]).out.splitlines()
    assert lines[-22] == "25 warnings of its check:"
    assert lines[-2] == "  row 21, column property.Region: expected one of EU, US, got 'M20'"
    assert lines[-1] == f"  and others: `cyclr-bulk status {job['id']} --json` has the first 25"


def test_a_refused_row_of_a_result_file_names_the_option_of_the_command(desk: Desk) -> None:
    desk.file(
        "in.csv",
        "account_id,account_name,connector,api_key,property.Region\n12345.0,New,Northwind Mail,key-1,EU\nacme,,Northwind Mail,key-2,EU\n",
    )
    assert desk.say("run", "in.csv", "--yes", "--skip-invalid").code == 1
    refused_row = desk.results("in.results.csv")[0]
    assert refused_row["_message"].endswith(
        "write the id that is meant, or run with `--as-written account_id`"
    )


def test_results_may_be_a_workbook_which_is_an_input_again(desk: Desk) -> None:
    file = desk.mail_file("acme", "globex")
    assert desk.say("run", file, "--yes", "--results", "out.xlsx").code == 0
    (desk.folder / "other.xlsx").write_bytes(b"PK")
    said = desk.say("run", "out.xlsx", "--yes", "--results", "other.xlsx")
    assert (said.code, "it exists and is no result file of cyclr-bulk" in said.err) == (2, True)
    said = desk.say("run", "out.xlsx", "--yes", "--results", "out-2.xlsx")
    assert said.code == 0
    assert len(desk.installs()) == 2
    book = openpyxl.load_workbook(desk.folder / "out.xlsx")
    assert [row[0].value for row in book["cyclr-bulk results"].iter_rows()] == [
        "account_id",
        "acme",
        "globex",
    ]
