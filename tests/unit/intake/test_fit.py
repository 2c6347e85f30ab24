import pytest

from tests.unit.intake.making import BOOKS, DESK, KEY, LOGIN, MAILCHIMP, OAUTH, OPTIONS
from worker.domain.connectors import AuthMethod, Connector, Parameter
from worker.domain.options import RunOptions
from worker.domain.rows import Way
from worker.intake import fit_row

UPDATE = RunOptions(operation="update")
UNDECLARED = RunOptions(allow_undeclared=True)


def connector(*methods):
    return Connector(1, "X", None, "Approved", methods)


def fit(connector, authentication=None, *, options=OPTIONS, **values):
    named = {column.replace("property_", "property."): value for column, value in values.items()}
    return fit_row(2, authentication, named, connector, options)


def problems(connector, authentication=None, **values):
    return [str(problem) for problem in fit(connector, authentication, **values).problems]


def warnings(connector, **values):
    return [str(warning) for warning in fit(connector, **values).warnings]


def test_the_only_method_needs_no_name():
    found = fit(MAILCHIMP, api_key="k")
    assert (found.authentication_id, found.problems, found.warnings) == (KEY.id, (), ())


@pytest.mark.parametrize("authentication", ["login", "BASIC", LOGIN.id])
def test_a_method_is_named_by_name_type_or_id(authentication):
    found = fit(DESK, authentication, username="u", password="p", property_Subdomain="s")
    assert found.authentication_id == LOGIN.id


def test_several_methods_and_none_named():
    assert problems(DESK, api_key="k") == [
        "row 2, column authentication: Desk offers several methods, expected one of 'API key' (ApiKey), "
        "'Login' (Basic), got an empty cell"
    ]


def test_a_method_that_is_not_offered_is_refused_without_showing_the_cell():
    assert problems(MAILCHIMP, "sesame", api_key="k") == [
        "row 2, column authentication: expected a method of MailChimp, one of 'API key' (ApiKey), or later; "
        "got another text"
    ]


def test_a_name_that_fits_several_methods_asks_for_the_id():
    two = connector(KEY, AuthMethod("id-2", "Second key", "ApiKey"))
    assert problems(two, "apikey", api_key="k") == [
        "row 2, column authentication: it means several methods of X: give the id of one, "
        "11111111-1111-1111-1111-111111111111 (API key), id-2 (Second key)"
    ]


def test_a_connector_without_methods_takes_no_name_for_one():
    assert problems(connector(), "ApiKey") == [
        "row 2, column authentication: X offers no method to choose from: leave the cell empty"
    ]
    assert problems(connector(), api_key="k") == []


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            KEY,
            "row 2, column api_key: the method 'API key' (ApiKey) of X needs api_key, got no credential; "
            "or write later in the column authentication",
        ),
        (
            LOGIN,
            "row 2, column username: the method 'Login' (Basic) of X needs username and password, "
            "got no credential; or write later in the column authentication",
        ),
    ],
)
def test_a_key_or_basic_row_needs_its_credential_unless_it_comes_later(method, message):
    assert problems(connector(method)) == [message]
    assert problems(connector(method), "Later") == []


def test_oauth_waits_for_the_customer():
    found = fit(BOOKS)
    assert (found.authentication_id, found.problems) == (OAUTH.id, ())


def test_later_names_no_method_where_there_are_several():
    found = fit(DESK, "later", property_Subdomain="s")
    assert (found.authentication_id, found.problems) == (None, ())


@pytest.mark.parametrize(
    ("method", "values", "message"),
    [
        (
            LOGIN,
            {"api_key": "k"},
            "column api_key: the method 'Login' (Basic) of X takes username and password, got api_key",
        ),
        (
            KEY,
            {"username": "u", "password": "p"},
            "column username: the method 'API key' (ApiKey) of X takes api_key, got username and password",
        ),
        (
            KEY,
            {"access_token": "t"},
            "column access_token: the method 'API key' (ApiKey) of X takes api_key, got access_token",
        ),
        (
            OAUTH,
            {"api_key": "k"},
            "column api_key: the method 'Sign in' (OAuth2) of X takes access_token, got api_key",
        ),
        (
            AuthMethod("i", "Old", "OAuth1"),
            {"access_token": "t"},
            "column access_token: the method 'Old' (OAuth1) of X takes auth_value, got access_token",
        ),
        (
            AuthMethod("i", "Open", "None"),
            {"auth_value": "v"},
            "column auth_value: the method 'Open' (None) of X takes no credential, got auth_value: empty the cell",
        ),
    ],
)
def test_a_credential_fits_its_method(method, values, message):
    assert problems(connector(method), **values) == [f"row 2, {message}"]


@pytest.mark.parametrize("method", [KEY, LOGIN, OAUTH, AuthMethod("i", "Odd", "AuthFields")])
def test_an_auth_value_fits_every_method_that_takes_one(method):
    assert problems(connector(method), auth_value="v") == []


def test_a_type_that_is_not_known_is_not_judged():
    assert problems(connector(AuthMethod("i", "New", "Passkey")), api_key="k") == []


def test_an_undeclared_property_names_the_declared_ones():
    assert problems(MAILCHIMP, api_key="k", property_dc="us1") == [
        "row 2, column property.dc: MailChimp has no such property; expected one of Dc, Pin"
    ]
    assert problems(BOOKS, property_Dc="us1") == [
        "row 2, column property.Dc: Books has no such property; it has none"
    ]


def test_a_parameter_that_is_no_account_property_is_refused():
    assert problems(MAILCHIMP, api_key="k", property_EndpointUrl="u") == [
        "row 2, column property.EndpointUrl: it is not an account property of MailChimp; expected one of Dc, Pin"
    ]


def test_an_account_property_wins_over_a_parameter_of_the_same_name():
    parameters = (Parameter(1, "Id", "", False, False, True), Parameter(2, "Id", "", True, False, True))
    assert problems(Connector(1, "X", None, "Approved", (), parameters), property_Id="1") == []


def test_oauth_app_credentials_need_no_declaration_where_a_method_is_oauth_2():
    found = fit(BOOKS, property_ClientId="c", property_ClientSecret="s")
    assert (found.problems, found.warnings) == ((), ())
    declared = (Parameter(1, "ClientId", "", True, True, True),)
    assert problems(Connector(1, "X", None, "Approved", (OAUTH,), declared), property_ClientId="c") == []
    assert problems(MAILCHIMP, api_key="k", property_ClientId="c") == [
        "row 2, column property.ClientId: MailChimp has no such property; expected one of Dc, Pin"
    ]


def test_the_way_on_with_an_undeclared_property_is_named_by_each_place():
    (problem,) = fit(BOOKS, property_Dc="us1").problems
    assert problem.way is Way.UNDECLARED
    assert str(problem.told({Way.UNDECLARED: "or run with `--allow-undeclared`"})) == (
        "row 2, column property.Dc: Books has no such property; it has none, or run with `--allow-undeclared`"
    )


def test_undeclared_properties_are_taken_where_that_is_asked_for_and_warned_of():
    found = fit(MAILCHIMP, options=UNDECLARED, api_key="k", property_dc="us1", property_EndpointUrl="u")
    assert found.problems == ()
    assert [str(warning) for warning in found.warnings] == [
        "row 2, column property.dc: MailChimp does not declare this property, and Cyclr may refuse it",
        "row 2, column property.EndpointUrl: MailChimp does not declare this property, and Cyclr may refuse it",
    ]


def test_an_update_needs_no_credential_and_no_method():
    found = fit(DESK, options=UPDATE, property_Subdomain="s")
    assert (found.authentication_id, found.problems, found.warnings) == (None, (), ())
    assert fit(MAILCHIMP, options=UPDATE, property_Dc="us1").authentication_id == KEY.id


def test_a_credential_of_an_update_fits_its_method_too():
    assert problems(DESK, options=UPDATE, api_key="k") == problems(DESK, api_key="k")
    assert problems(DESK, "login", options=UPDATE, api_key="k") == [
        "row 2, column api_key: the method 'Login' (Basic) of Desk takes username and password, got api_key"
    ]


def test_an_update_leaves_what_it_does_not_name_and_warns_of_values_that_are_not_offered():
    assert warnings(DESK, options=UPDATE, description="d") == []
    assert warnings(MAILCHIMP, options=UPDATE, property_Dc="us9") == [
        "row 2, column property.Dc: expected one of us1, us2, got 'us9'"
    ]


def test_warns_of_a_required_property_that_is_missing():
    assert warnings(DESK) == [
        "row 2, column property.Subdomain: Desk needs this property, and it is not given: "
        "it may not work until it is set"
    ]
    assert warnings(DESK, property_Subdomain=None) == []


def test_warns_of_a_value_that_is_not_offered_and_shows_no_sensitive_one():
    assert warnings(MAILCHIMP, property_Dc="us9", property_Pin="7") == [
        "row 2, column property.Dc: expected one of us1, us2, got 'us9'",
        "row 2, column property.Pin: expected one of 1, 2, got another value",
    ]
    assert warnings(MAILCHIMP, property_Dc="us1", property_Pin="2") == []
