"""Cyclr's JSON, reduced to the few fields that are kept. Source: reference sections 3 and 5 to 9.

Each function takes parsed JSON and raises `Unexpected` where it is something else.
"""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from worker.cyclr.answers import Unexpected
from worker.domain.accounts import ListedAccount
from worker.domain.connectors import AccountConnector, AuthMethod, Connector, InstalledProperty, Parameter

LONGEST_NAME = 1_000  # of what is compared: folding takes the square of it, in the worst case
LONGEST_VERSION = 100
LONGEST_TOKEN = 16_000
LONGEST_SIGN_IN = 4_000  # it goes into an address
LARGEST_ID = 2**63 - 1  # what a database keeps
# What neither a database nor UTF-8 can hold.
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


class Grant(NamedTuple):
    """What the token endpoint gives. `lives_s`: None where it does not say."""

    access_token: str
    lives_s: float | None

    def __repr__(self) -> str:
        return "Grant()"


class SignIn(NamedTuple):
    """A sign-in token: whoever holds it is signed in, so it goes to the customer's browser and nowhere else."""

    token: str

    def __repr__(self) -> str:
        return "SignIn()"


class _Fields:
    """The fields of a JSON object. `what`: the object's name in the text of an `Unexpected`."""

    def __init__(self, data: Any, what: str) -> None:
        if not isinstance(data, dict):
            raise Unexpected(f"the {what} is not an object")
        self._data = data
        self._what = what

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def find(self, key: str) -> Any:
        """Whatever stands there; None where nothing does."""
        return self._data.get(key)

    def integer(self, key: str) -> int:
        value = self._data.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > LARGEST_ID:
            raise Unexpected(f"the {self._what} has no integer {key}")
        return value

    def text(self, key: str, longest: int | None = None) -> str:
        found = self.find_text(key, longest)
        if found is None:
            raise Unexpected(f"the {self._what} has no {key}")
        return found

    def text_or_null(self, key: str, longest: int | None = None) -> str:
        """Empty for a null, which must be there."""
        return "" if key in self and self._data[key] is None else self.text(key, longest)

    def find_text(self, key: str, longest: int | None = None) -> str | None:
        """None for what is no text."""
        value = self._data.get(key)
        if not isinstance(value, str):
            return None
        if longest is not None and len(value) > longest:
            raise Unexpected(f"the {self._what} has a {key} of more than {longest:,} characters")
        return _storable(value)

    def objects(self, key: str, what: str) -> "list[_Fields]":
        """Those of a list; none for a null."""
        entries = self._data.get(key)
        if entries is None:
            return []
        if not isinstance(entries, list):
            raise Unexpected(f"there is no list where a list of each {what} was expected")
        return [_Fields(entry, what) for entry in entries]


def grant(data: Any) -> Grant:
    fields = _Fields(data, "token")
    token = fields.find("access_token")
    if not isinstance(token, str) or not _is_token(token, LONGEST_TOKEN):
        raise Unexpected("the token has no access_token")
    return Grant(token.strip(), _seconds(fields.find("expires_in")))


def sign_in(data: Any) -> SignIn:
    token = _Fields(data, "sign-in token").text("Token")
    if not _is_token(token, LONGEST_SIGN_IN):
        raise Unexpected("the sign-in token is empty, too long or holds characters that no token has")
    return SignIn(token)


def _is_token(text: str, longest: int) -> bool:
    return len(text) <= longest and text.isascii() and text.isprintable() and bool(text.strip())


def account_id(data: Any) -> str:
    return _Fields(data, "account").text("Id")


def listed_account(data: Any) -> ListedAccount:
    """Only the id must be there: what Cyclr says of the rest helps people and decides nothing."""
    fields = _Fields(data, "account")
    # No answer with a parent was seen; one that says it is believed. Source: reference section 5.
    return ListedAccount(
        fields.text("Id"), fields.find_text("Name") or "", fields.find_text("ParentAccountId") or None
    )


def account_connector(data: Any) -> AccountConnector:
    """Strict where "absent" depends on it: an entry that cannot be read must not look like none."""
    fields = _Fields(data, "account connector")
    if "Connector" not in fields:
        raise Unexpected("the account connector has no Connector")
    connector = fields.find("Connector")
    return AccountConnector(
        id=fields.integer("Id"),
        name=fields.text_or_null("Name", LONGEST_NAME),
        connector_name=""
        if connector is None
        else _Fields(connector, "Connector").text_or_null("Name", LONGEST_NAME),
        is_authenticated=fields.find("Authenticated") is True,
        auth_value=fields.find_text("AuthValue"),
        description=fields.find_text("Description"),
        properties=tuple(_properties(fields.find("Properties"))),
    )


def account_property(data: Any) -> InstalledProperty:
    """One that a call has set: its id is what a second call would need."""
    fields = _Fields(data, "property")
    return InstalledProperty(fields.text("Name"), _value(fields.find("Value")), fields.integer("Id"))


def _properties(data: Any) -> Iterator[InstalledProperty]:
    for entry in data if isinstance(data, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("Name"), str):
            yield InstalledProperty(entry["Name"], _value(entry.get("Value")), _id(entry.get("Id")))


def _id(value: Any) -> int | None:
    is_one = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_ID
    return value if is_one else None


def _value(value: Any) -> str | None:
    """One page of Cyclr's documentation shows a list as a property's value, every real call a string."""
    if isinstance(value, list):
        return ",".join(map(_as_text, value))
    return None if value is None else _as_text(value)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # What has others within it is none.
    return "" if value is None or isinstance(value, list | dict) else str(value)


def connectors(data: Any) -> tuple[Connector, ...]:
    """All matches for a name; an id gives a single object."""
    return tuple(map(connector, data)) if isinstance(data, list) else (connector(data),)


def connector(data: Any) -> Connector:
    fields = _Fields(data, "connector")
    return Connector(
        release_id=fields.integer("Id"),
        name=fields.text("Name", LONGEST_NAME),
        version=fields.find_text("Version", LONGEST_VERSION),
        status=fields.find_text("Status", LONGEST_NAME) or "",
        methods=tuple(
            AuthMethod(
                id=method.text("Id"),
                name=method.find_text("AuthName") or "",
                auth_type=method.find_text("AuthType") or "",
                oauth2_type=method.find_text("OAuth2Type"),
            )
            for method in fields.objects("Authentication", "method")
        ),
        parameters=tuple(map(_parameter, fields.objects("Parameters", "parameter"))),
        description=fields.find_text("Description"),
    )


def _parameter(fields: _Fields) -> Parameter:
    target_name = fields.find_text("TargetName") or ""
    choices: Iterable[Any] = found if isinstance(found := fields.find("Values"), list) else ()
    return Parameter(
        id=fields.integer("Id"),
        target_name=target_name,
        label=fields.find_text("Name") or target_name,
        is_account_property=fields.find("IsAccountConnectorProperty") is True,
        # What does not say that it is no secret is one.
        is_sensitive=fields.find("IsSensitive") is not False,
        is_optional=fields.find("IsOptional") is not False,
        choices=tuple(_storable(choice) for choice in choices if isinstance(choice, str)),
        description=fields.find_text("Description"),
    )


def _storable(text: str) -> str:
    return text if text.isascii() and "\0" not in text else _NO_TEXT.sub("\ufffd", text)


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None
