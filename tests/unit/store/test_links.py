from datetime import UTC, datetime

import pytest

from worker.domain.connectors import AuthMethod
from worker.store.links import Link

LINK = Link("0a1b2c3d4e5f", 71, 2, datetime(2026, 1, 16, 3, 4, 5, tzinfo=UTC))


def test_a_link_says_the_same_after_its_way_through_a_text():
    assert LINK.to_text() == "0a1b2c3d4e5f.71.2.1768532645"
    assert Link.from_text(LINK.to_text()) == LINK


@pytest.mark.parametrize("text", ["", "a.b.c", "a.1.2.3.4", "a.x.0.1", "a.1.0.soon"])
def test_another_text_is_no_link(text: str):
    with pytest.raises(ValueError):
        Link.from_text(text)


@pytest.mark.parametrize(
    ("auth_type", "oauth2_type", "is_for_customers"),
    [
        ("OAuth2", "AuthorisationCode", True),
        ("OAuth2", "PasswordCredentials", True),
        ("OAuth2", "Unknown", True),
        ("OAuth2", None, True),
        ("OAuth1", "Unknown", True),
        ("OAuth2", "ClientCredentials", False),
        ("ApiKey", "AuthorisationCode", False),
        ("Basic", None, False),
        ("None", None, False),
    ],
)
def test_the_method_says_whether_a_customer_authorises(
    auth_type: str, oauth2_type: str | None, *, is_for_customers: bool
):
    assert AuthMethod("m", "Method", auth_type, oauth2_type).is_for_customers is is_for_customers
