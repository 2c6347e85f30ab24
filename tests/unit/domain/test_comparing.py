"""What differs between a row and the account connector that is there already: names, never values."""

import pytest

from worker.domain.comparing import differences
from worker.domain.connectors import AccountConnector


def found(**fields: object) -> AccountConnector:
    values: dict[str, object] = {
        "id": 7,
        "name": "Mail",
        "connector_name": "Mail",
        "is_authenticated": True,
        "auth_value": "key-1",
        "description": "Main",
        "properties": (("Region", "EU"), ("Extra", "x")),
    }
    return AccountConnector(**(values | fields))  # type: ignore[arg-type]


ROW = {"api_key": "key-1", "property.Region": "EU"}


def test_the_same_differs_in_nothing() -> None:
    assert differences(found(), ROW, "Main") == ()


def test_what_the_row_leaves_open_differs_in_nothing() -> None:
    assert differences(found(), {}, None) == ()


@pytest.mark.parametrize(
    ("there", "differing"),
    [
        (found(auth_value="key-2"), ("api_key",)),
        (found(auth_value=None, is_authenticated=False), ("api_key",)),
        (found(properties=(("Region", "US"),)), ("property.Region",)),
        (found(properties=()), ("property.Region",)),
        (found(description=None), ("description",)),
        (
            found(auth_value="key-2", properties=(), description="Other"),
            ("api_key", "property.Region", "description"),
        ),
    ],
)
def test_names_the_columns_that_differ(there: AccountConnector, differing: tuple[str, ...]) -> None:
    assert differences(there, ROW, "Main") == differing


def test_a_credential_that_cyclr_does_not_show_cannot_differ() -> None:
    assert differences(found(auth_value=None, is_authenticated=True), ROW, None) == ()


def test_a_login_is_compared_as_it_is_sent_and_named_by_both_columns() -> None:
    row = {"username": "svc", "password": "pw"}
    assert differences(found(auth_value="c3ZjOnB3"), row, None) == ()
    assert differences(found(auth_value="c3ZjOnB4"), row, None) == ("username", "password")


def test_an_empty_description_is_none() -> None:
    assert differences(found(description=None), {}, "") == ()
