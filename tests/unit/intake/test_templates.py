from dataclasses import replace

from tests.unit.intake.making import BOOKS, DESK, MAILCHIMP, OPTIONS, source
from worker.domain.accounts import ListedAccount
from worker.domain.connectors import AuthMethod, Connector, Parameter
from worker.intake import survey, template


def test_one_method_asks_for_its_credential():
    assert template(MAILCHIMP) == (
        "account_id,connector,name,api_key,property.Dc,property.Pin,account_name,reference\r\n"
        "# example: acme-1,MailChimp,MailChimp,the account's API key,us1 or us2,1 or 2,Acme Ltd,"
        "your own key for this row\r\n"
    )


def test_several_methods_ask_which_and_the_example_fills_in_the_first():
    assert template(DESK) == (
        "account_id,connector,connector_version,name,authentication,api_key,username,password,"
        "property.Subdomain,account_name,reference\r\n"
        "# example: acme-1,Desk,v2,Desk,API key,the account's API key,,,Subdomain (needed),Acme Ltd,"
        "your own key for this row\r\n"
    )


def test_oauth_asks_for_own_tokens_and_client_credentials_for_an_auth_value():
    assert template(BOOKS).startswith(
        "account_id,connector,name,access_token,refresh_token,expires,account_name,"
    )
    method = AuthMethod("i", "App", "OAuth2", "ClientCredentials")
    assert template(Connector(1, "X", None, "Approved", (method,))).splitlines() == [
        "account_id,connector,name,auth_value,account_name,reference",
        "# example: acme-1,X,X,{},Acme Ltd,your own key for this row",
    ]


def test_a_template_is_a_file_whose_only_line_is_skipped():
    found = source(template(DESK))
    assert found.warnings == ()
    counted = survey(found, OPTIONS)
    assert (counted.rows, counted.comments) == (0, 1)


def test_what_a_spreadsheet_would_run_is_left_out_and_a_comment_says_so():
    parameter = Parameter(1, "a;=cmd()", "Sub", True, False, True)
    connector = replace(MAILCHIMP, name="=cmd()", parameters=(parameter,))
    lines = template(connector).splitlines()
    assert lines == [
        "account_id,connector,name,api_key,account_name,reference",
        "# example: acme-1,,,the account's API key,Acme Ltd,your own key for this row",
        "# 1 column is left out: its name would be run as a formula by a spreadsheet",
        "# left empty: what Cyclr has for connector and name would be run as a formula by a spreadsheet",
    ]
    counted = survey(source("\r\n".join(lines)), OPTIONS)
    assert (counted.rows, counted.comments) == (0, 3)


def test_accounts_that_no_row_can_begin_with_are_left_out_and_counted():
    accounts = [
        ListedAccount("acme", "Acme"),
        ListedAccount("# acme", "A comment"),
        ListedAccount("=acme", "A formula"),
        ListedAccount("..", "No address names it"),
    ]
    assert template(MAILCHIMP, accounts).splitlines()[2:] == [
        "# 3 accounts are left out: their ids cannot stand at the beginning of a row",
        "acme,MailChimp,,,,,,,Acme",
    ]
