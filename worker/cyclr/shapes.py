"""Cyclr's JSON, reduced to the few fields that are kept. Source: reference sections 3 and 5 to 9.

Each function takes parsed JSON and raises `Unexpected` where it is something else.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, overload

from worker.cyclr.answers import Unexpected
from worker.domain.connectors import AccountConnector, AuthMethod, Connector, Parameter

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


def grant(data: Any) -> Grant:
    token = _object(data, "token").get("access_token")
    if not isinstance(token, str) or not _is_token(token, LONGEST_TOKEN):
        raise Unexpected("the token has no access_token")
    return Grant(token.strip(), _seconds(data.get("expires_in")))


class SignIn(NamedTuple):
    """A sign-in token: whoever holds it is signed in, so it goes to the customer's browser and nowhere else."""

    token: str

    def __repr__(self) -> str:
        return "SignIn()"


def sign_in(data: Any) -> SignIn:
    token = _text(_object(data, "sign-in token"), "Token", "sign-in token")
    if not _is_token(token, LONGEST_SIGN_IN):
        raise Unexpected("the sign-in token is empty, too long or holds characters that no token has")
    return SignIn(token)


def _is_token(text: str, longest: int) -> bool:
    return len(text) <= longest and text.isascii() and text.isprintable() and bool(text.strip())


def account_id(data: Any) -> str:
    return _text(_object(data, "account"), "Id", "account")


def account_connector(data: Any) -> AccountConnector:
    """Strict where "absent" depends on it: an entry that cannot be read must not look like none."""
    fields = _object(data, "account connector")
    return AccountConnector(
        id=_number(fields, "Id", "account connector"),
        name=_short(_nullable_text(fields, "Name", "account connector"), "account connector", "Name"),
        connector_name=_connector_name(fields),
        is_authenticated=fields.get("Authenticated") is True,
        auth_value=_optional_text(fields.get("AuthValue")),
        description=_optional_text(fields.get("Description")),
        properties=tuple(_properties(fields.get("Properties"))),
    )


def _connector_name(fields: dict[str, Any]) -> str:
    if "Connector" not in fields:
        raise Unexpected("the account connector has no Connector")
    connector_fields = fields["Connector"]
    if connector_fields is None:
        return ""
    name = _nullable_text(_object(connector_fields, "Connector"), "Name", "Connector")
    return _short(name, "Connector", "Name")


def _properties(data: Any) -> Iterator[tuple[str, str]]:
    for entry in data if isinstance(data, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("Name"), str):
            yield entry["Name"], _value(entry.get("Value"))


def connectors(data: Any) -> tuple[Connector, ...]:
    """All matches for a name; an id gives a single object."""
    if isinstance(data, list):
        return tuple(connector(entry) for entry in data)
    return (connector(data),)


def connector(data: Any) -> Connector:
    fields = _object(data, "connector")
    return Connector(
        release_id=_number(fields, "Id", "connector"),
        name=_short(_text(fields, "Name", "connector"), "connector", "Name"),
        version=_short(_optional_text(fields.get("Version")), "connector", "Version", LONGEST_VERSION),
        status=_short(_optional_text(fields.get("Status")) or "", "connector", "Status"),
        methods=tuple(_auth_method(entry) for entry in _objects(fields.get("Authentication"), "method")),
        parameters=tuple(_parameter(entry) for entry in _objects(fields.get("Parameters"), "parameter")),
        description=_optional_text(fields.get("Description")),
    )


def _auth_method(fields: dict[str, Any]) -> AuthMethod:
    return AuthMethod(
        id=_text(fields, "Id", "method"),
        name=_optional_text(fields.get("AuthName")) or "",
        auth_type=_optional_text(fields.get("AuthType")) or "",
        oauth2_type=_optional_text(fields.get("OAuth2Type")),
    )


def _parameter(fields: dict[str, Any]) -> Parameter:
    target_name = _optional_text(fields.get("TargetName")) or ""
    return Parameter(
        id=_number(fields, "Id", "parameter"),
        target_name=target_name,
        label=_optional_text(fields.get("Name")) or target_name,
        is_account_property=fields.get("IsAccountConnectorProperty") is True,
        # What does not say that it is no secret is one.
        is_sensitive=fields.get("IsSensitive") is not False,
        is_optional=fields.get("IsOptional") is not False,
        choices=tuple(_plain(v) for v in _list(fields.get("Values")) if isinstance(v, str)),
        description=_optional_text(fields.get("Description")),
    )


def _object(data: Any, what: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise Unexpected(f"the {what} is not an object")
    return data


def _objects(data: Any, what: str) -> list[dict[str, Any]]:
    if data is None:
        return []
    if not isinstance(data, list):
        raise Unexpected(f"there is no list where a list of each {what} was expected")
    return [_object(entry, what) for entry in data]


def _number(fields: dict[str, Any], key: str, what: str) -> int:
    value = fields.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > LARGEST_ID:
        raise Unexpected(f"the {what} has no integer {key}")
    return value


def _text(fields: dict[str, Any], key: str, what: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise Unexpected(f"the {what} has no {key}")
    return _plain(value)


def _nullable_text(fields: dict[str, Any], key: str, what: str) -> str:
    return "" if key in fields and fields[key] is None else _text(fields, key, what)


def _optional_text(value: Any) -> str | None:
    return _plain(value) if isinstance(value, str) else None


def _plain(text: str) -> str:
    return text if text.isascii() and "\0" not in text else _NO_TEXT.sub("\ufffd", text)


@overload
def _short(text: str, what: str, key: str, longest: int = LONGEST_NAME) -> str: ...
@overload
def _short(text: str | None, what: str, key: str, longest: int = LONGEST_NAME) -> str | None: ...
def _short(text: str | None, what: str, key: str, longest: int = LONGEST_NAME) -> str | None:
    if text is not None and len(text) > longest:
        raise Unexpected(f"the {what} has a {key} of more than {longest:,} characters")
    return text


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _value(value: Any) -> str:
    """A property's value as text: one page of Cyclr's documentation shows a list, every real call a string."""
    return ",".join(map(_one_value, value)) if isinstance(value, list) else _one_value(value)


def _one_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # What has others within it is none.
    return "" if value is None or isinstance(value, list | dict) else str(value)


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None
