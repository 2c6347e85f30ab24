import pytest

from tests.unit.intake.making import BOOKS, DESK, KEY, LOGIN, MAILCHIMP, OAUTH
from worker.domain.connectors import AuthMethod, Connector, Parameter
from worker.intake import fit_row


def connector(*methods):
    return Connector(1, "X", None, "Approved", methods)


def problems(connector, authentication=None, **values):
    fit = fit_row(
        2, authentication, {k.replace("property_", "property."): v for k, v in values.items()}, connector
    )
    return [str(problem) for problem in fit.problems]


def warnings(connector, **values):
    fit = fit_row(2, None, {k.replace("property_", "property."): v for k, v in values.items()}, connector)
    return [str(warning) for warning in fit.warnings]


def test_the_only_method_needs_no_name():
    fit = fit_row(2, None, {"api_key": "k"}, MAILCHIMP)
    assert (fit.authentication_id, fit.problems, fit.warnings) == (KEY.id, (), ())


@pytest.mark.parametrize("authentication", ["login", "BASIC", LOGIN.id])
def test_a_method_is_named_by_name_type_or_id(authentication):
    values = {"username": "u", "password": "p", "property.Subdomain": "s"}
    assert fit_row(2, authentication, values, DESK).authentication_id == LOGIN.id


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
    fit = fit_row(2, None, {}, BOOKS)
    assert (fit.authentication_id, fit.problems) == (OAUTH.id, ())


def test_later_names_no_method_where_there_are_several():
    fit = fit_row(2, "later", {"property.Subdomain": "s"}, DESK)
    assert (fit.authentication_id, fit.problems) == (None, ())


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


def test_oauth_app_credentials_are_not_supported_unless_they_are_declared():
    assert problems(BOOKS, property_ClientId="c") == [
        "row 2, column property.ClientId: OAuth app credentials that Books does not declare are not supported yet: "
        "set them in Cyclr's console"
    ]
    declared = (Parameter(1, "ClientId", "", True, True, True),)
    assert problems(Connector(1, "X", None, "Approved", (OAUTH,), declared), property_ClientId="c") == []
    assert problems(MAILCHIMP, api_key="k", property_ClientId="c") == [
        "row 2, column property.ClientId: MailChimp has no such property; expected one of Dc, Pin"
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
