import pytest

from tests.unit.intake.making import OPTIONS, source
from worker.domain.connectors import ConnectorRef
from worker.domain.options import RunOptions
from worker.domain.rows import NewAccount, RefusedRow
from worker.intake.rows import read_row


def read(text, options=OPTIONS):
    found = source(text)
    return [
        read_row(line, found.header, options)
        for line in found.lines()
        if not (line.is_empty or line.is_comment)
    ]


def problems(text, options=OPTIONS):
    return [str(problem) for row in read(text, options) for problem in getattr(row, "problems", ())]


def problem(column, value, others=""):
    """The problems of a row that is right but for one cell."""
    extra = (
        "".join(f",{pair.split('=')[0]}" for pair in others.split()),
        "".join(f",{pair.split('=')[1]}" for pair in others.split()),
    )
    return problems(f'account_id,connector,{column}{extra[0]}\nacme,MailChimp,"{value}"{extra[1]}\n')


def test_a_full_row_is_read():
    (row,) = read(
        "Account ID,connector,connector_version,name,description,authentication,api_key,property.Dc,"
        "account_name,account_description,account_timezone,reference,colour\n"
        "acme,MailChimp,v1,Mail,Ours,API key,sesame,us1,Acme,Big,Europe/London,r1,red\n"
    )
    assert row.number == 2
    assert row.account_id == "acme"
    assert row.connector == ConnectorRef("MailChimp", "v1")
    assert (row.name, row.description, row.authentication, row.reference) == ("Mail", "Ours", "API key", "r1")
    assert row.secrets == {"api_key": "sesame", "property.Dc": "us1"}
    assert row.account == NewAccount("Acme", "Big", "Europe/London")
    assert row.stored_at is None
    assert row.cells == (
        *("acme", "MailChimp", "v1", "Mail", "Ours", "API key", "[not exported]", "[not exported]"),
        *("Acme", "Big", "Europe/London", "r1", "red"),
    )


def test_empty_cells_are_none_and_missing_cells_are_empty():
    (row,) = read("account_id,connector,name,api_key,property.Dc,account_name\nacme,MailChimp\n")
    assert (row.name, row.account, row.secrets) == (None, None, {})
    assert row.cells == ("acme", "MailChimp", "", "", "", "")


def test_expires_is_sent_and_shown():
    (row,) = read("account_id,connector,access_token,expires\nacme,Books,t,2027-01-31T12:00:00.1234567Z\n")
    assert row.secrets == {"access_token": "t", "expires": "2027-01-31T12:00:00.1234567Z"}
    assert row.cells == ("acme", "Books", "[not exported]", "2027-01-31T12:00:00.1234567Z")


def test_cells_of_a_column_that_looks_like_a_misspelt_credential_are_not_shown():
    (row,) = read("account_id,connector,apikey\nacme,MailChimp,sesame\n")
    assert row.cells == ("acme", "MailChimp", "[not exported]")
    assert row.secrets == {}


def test_every_problem_of_a_row_is_found():
    assert problems("account_id,connector,username,expires\n,,joe,x\n") == [
        "row 2, column account_id: expected an account id, got an empty cell",
        "row 2, column connector: expected a connector's name or id, got an empty cell",
        "row 2, column access_token: expected one credential at most, got username and access_token: empty all but one",
        "row 2, column password: expected a password beside the username, got an empty cell; "
        "if it is meant to be empty give auth_value instead, the base64 of username and colon",
        "row 2, column access_token: expected an access token beside expires, got an empty cell",
        "row 2, column expires: expected a date such as 2027-01-31T12:00:00Z, got another text",
    ]


def test_the_column_is_named_as_the_spreadsheet_shows_it():
    assert problems("Account ID,Connector\n,MailChimp\n") == [
        "row 2, column Account ID: expected an account id, got an empty cell"
    ]


def test_a_connector_is_needed_from_somewhere():
    assert problems("account_id\nacme\n") == [
        "row 2, column connector: expected a connector's name or id, got no such column and no connector for all rows: add the column"
    ]
    (row,) = read("account_id\nacme\n", RunOptions(connector="MailChimp"))
    assert row.connector == ConnectorRef("MailChimp")


def test_one_connector_for_all_rows_conflicts_with_a_column_that_has_values():
    text = "account_id,connector\nacme,MailChimp\nbeta,\n"
    assert problems(text, RunOptions(connector="Desk")) == [
        "row 2, column connector: expected an empty cell, since the connector Desk is given for all rows; "
        "use one of the two"
    ]


@pytest.mark.parametrize("column", ["account_id", "connector"])
@pytest.mark.parametrize("value", ["1.23E+15", "1,23e+15", "1E+15"])
def test_a_rounded_number_is_a_problem(column, value):
    row = {"account_id": "acme", "connector": "MailChimp", column: f'"{value}"'}
    assert problems(f"account_id,connector\n{row['account_id']},{row['connector']}\n") == [
        f"row 2, column {column}: a spreadsheet has rounded a long number ({value}): "
        "format the column as text, then fill it in again"
    ]


def test_a_rounded_credential_is_a_problem_that_does_not_show_it():
    assert problem("api_key", "1.23E+15") == [
        "row 2, column api_key: a spreadsheet has rounded a long number: "
        "format the column as text, then fill it in again"
    ]


def test_a_name_may_look_like_a_rounded_number():
    assert problem("name", "1.23E+15") == []


def test_at_most_one_credential():
    assert problem("api_key", "k", "auth_value=v access_token=t") == [
        "row 2, column api_key: expected one credential at most, got auth_value, api_key and access_token: "
        "empty all but one"
    ]


def test_basic_needs_both_parts_and_no_colon_in_the_username():
    assert problem("password", "p") == [
        "row 2, column username: expected a username beside the password, got an empty cell"
    ]
    assert problem("username", "a:b", "password=p") == [
        "row 2, column username: expected no colon: Basic authentication ends the username there"
    ]


def test_later_and_a_credential_exclude_each_other():
    assert problem("authentication", "Later", "api_key=k") == [
        "row 2, column authentication: 'later' means that no credential is given now, got api_key: "
        "empty one of the two"
    ]
    assert problem("authentication", "later") == []


def test_a_refresh_token_needs_its_access_token():
    assert problem("refresh_token", "r", "expires=2027-01-01") == [
        "row 2, column access_token: expected an access token beside refresh_token and expires, got an empty cell"
    ]


def test_account_columns_need_the_name():
    assert problem("account_timezone", "Europe/London", "account_description=d") == [
        "row 2, column account_name: expected the account's name beside account_description and account_timezone, "
        "got an empty cell"
    ]


def test_a_time_zone_is_one_that_exists():
    assert problem("account_timezone", "London", "account_name=Acme") == [
        "row 2, column account_timezone: expected the name of a time zone such as Europe/London, got another text"
    ]


def test_lengths_are_bounded():
    assert problem("name", "n" * 251) == ["row 2, column name: expected at most 250 characters, got 251"]
    assert problem("api_key", "k" * 50_001) == [
        "row 2, column api_key: expected at most 50,000 characters, got 50,001"
    ]


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("name", "a\x07b", "U+0007"),
        ("name", "a\nb", "U+000A"),
        ("api_key", "a\x85b", "U+0085"),
        ("reference", "\x1b[31mred", "U+001B"),
    ],
)
def test_control_characters_are_refused(column, value, code):
    assert problem(column, value) == [
        f"row 2, column {column}: expected text, got an invisible character ({code}): fill it in again"
    ]


def test_an_invisible_character_is_refused_in_an_id_and_allowed_in_a_name():
    assert problems("account_id,connector\nac\u200bme,MailChimp\n") == [
        "row 2, column account_id: an account id cannot hold an invisible character (U+200B): type the id anew"
    ]
    assert problem("account_name", "می\u200cخواهم") == []


@pytest.mark.parametrize("column", ["description", "api_key", "property.Key"])
def test_texts_and_keys_may_have_lines(column):
    assert problem(column, "one\ntwo\tthree") == []


def test_too_many_cells_are_a_problem_that_stands_alone_and_shows_no_shifted_secret():
    (row,) = read("account_id,connector,account_name,api_key,reference\n,MailChimp,Acme, Inc,sesame,r1\n")
    assert isinstance(row, RefusedRow)
    assert [str(problem) for problem in row.problems] == [
        "row 2: expected 5 cells as in the header, got 6; a value that holds the delimiter stands in quotes"
    ]
    assert row.cells == ("", "MailChimp", "Acme", "[not exported]", "[not exported]")


def test_too_many_cells_are_a_problem_even_if_the_last_ones_are_empty():
    assert problems("account_id,connector,account_name,api_key,reference\nacme,MailChimp,Acme, Inc,k,\n") == [
        "row 2: expected 5 cells as in the header, got 6, the last of them empty; a value that holds the delimiter stands "
        "in quotes, and no delimiters behind the last column"
    ]


def test_empty_cells_below_empty_header_cells_do_no_harm():
    assert problems("account_id,connector,,\nacme,MailChimp,,\n") == []
    assert problems("account_id,connector,,\nacme,MailChimp,,x\n") == [
        "row 2: expected 2 cells as in the header, got 4; a value that holds the delimiter stands in quotes"
    ]


def test_a_withheld_value_needs_a_result_file():
    assert problem("api_key", "[not exported]") == [
        "row 2, column api_key: [not exported] is no value and can be looked up only by a result file, "
        "with its columns _job, _row and _state: fill it in"
    ]


def test_a_withheld_value_needs_the_row_that_holds_it():
    header = "account_id,connector,api_key,_job,_row,_state\n"
    assert problems(f"{header}acme,M,[not exported],,,failed\n") == [
        "row 2, column api_key: [not exported] is no value and can be looked up only by _job and _row of the result file: "
        "fill it in"
    ]
    for job, row, column in [
        ("", "2", "_job"),
        ("j1", "", "_row"),
        ("j1", "x", "_row"),
        ("j1", "2.0", "_row"),
    ]:
        assert problems(f"{header}acme,M,[not exported],{job},{row},failed\n") == [
            f"row 2, column {column}: expected what the result file said here, got another text: put it back; or empty _job "
            "and _row, and write all values, to make this a new row"
        ]


def test_a_row_of_a_result_file_names_the_item_that_holds_its_secrets():
    filled, withheld = read(
        "account_id,connector,api_key,property.Dc,_job,_row,_state\n"
        "acme,M,new,us1,j1,2,failed\nbeta,M,[Not Exported],us1,j1,3,failed\n"
    )
    assert filled.stored_at == ("j1", 2)
    assert withheld.stored_at == ("j1", 3)
    assert withheld.secrets == {"property.Dc": "us1"}


def test_the_stand_in_for_secrets_is_refused_wherever_else_it_stands():
    assert problem("name", "[not exported]") == [
        "row 2, column name: [not exported] stands where a value is not shown: fill it in"
    ]


def test_a_withheld_credential_counts_as_one():
    assert problems(
        "account_id,connector,api_key,auth_value,_job,_row,_state\nacme,M,[not exported],v,j1,2,failed\n"
    ) == [
        "row 2, column api_key: expected one credential at most, got auth_value and api_key: empty all but one"
    ]


UPDATE = RunOptions(operation="update")


def test_an_update_needs_one_thing_to_change_and_no_more():
    for column, value in (
        *(("api_key", "k"), ("auth_value", "v"), ("property.Dc", "us1"), ("description", "d")),
        ("access_token", "t"),
    ):
        (row,) = read(f"account_id,connector,{column}\nacme,MailChimp,{value}\n", UPDATE)
        assert not isinstance(row, RefusedRow)
    text = "account_id,connector,name,authentication,reference,api_key\nacme,MailChimp,Mail,later,r1,\n"
    assert problems(text, UPDATE) == [
        "row 2: it names nothing to change: expected a credential, a property or a description"
    ]
    assert problems(text) == []


def test_an_update_creates_no_account():
    text = "account_id,connector,api_key,account_name,account_timezone\nacme,MailChimp,k,Acme,Europe/London\n"
    assert problems(text, UPDATE) == [
        "row 2, column account_name: an update creates no account: empty the cell",
        "row 2, column account_timezone: an update creates no account: empty the cell",
    ]
    assert problems(text) == []
