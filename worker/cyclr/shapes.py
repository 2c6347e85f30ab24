"""Cyclr's JSON, reduced to the few fields that are kept. Source: reference sections 3 and 5 to 9.

Each function takes parsed JSON and raises `Unexpected` where it is something else.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from worker.cyclr.answers import Unexpected
from worker.domain.connectors import AccountConnector, AuthMethod, Connector, Parameter


class Grant(NamedTuple):
    """What the token endpoint gives. `lives_s`: None where it does not say."""

    access_token: str
    lives_s: float | None

    def __repr__(self) -> str:
        return "Grant()"


def grant(data: Any) -> Grant:
    token = _object(data, "token").get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token.strip():
        raise Unexpected("the token has no access_token")
    return Grant(token.strip(), _seconds(data.get("expires_in")))


class SignIn(NamedTuple):
    """A sign-in token: whoever holds it is signed in, so it goes to the customer's browser and nowhere else."""

    token: str

    def __repr__(self) -> str:
        return "SignIn()"


def sign_in(data: Any) -> SignIn:
    token = _text(_object(data, "sign-in token"), "Token", "sign-in token")
    if not token.isascii() or not token.isprintable() or not token.strip():
        raise Unexpected("the sign-in token is empty or holds characters that no token has")
    return SignIn(token)


def account_id(data: Any) -> str:
    return _text(_object(data, "account"), "Id", "account")


def account_connector(data: Any) -> AccountConnector:
    """Strict where "absent" depends on it: an entry that cannot be read must not look like none."""
    fields = _object(data, "account connector")
    return AccountConnector(
        id=_number(fields, "Id", "account connector"),
        name=_nullable_text(fields, "Name", "account connector"),
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
    return _nullable_text(_object(connector_fields, "Connector"), "Name", "Connector")


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
        name=_text(fields, "Name", "connector"),
        version=_optional_text(fields.get("Version")),
        status=_optional_text(fields.get("Status")) or "",
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
        choices=tuple(v for v in fields.get("Values") or () if isinstance(v, str)),
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
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unexpected(f"the {what} has no integer {key}")
    return value


def _text(fields: dict[str, Any], key: str, what: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise Unexpected(f"the {what} has no {key}")
    return value


def _nullable_text(fields: dict[str, Any], key: str, what: str) -> str:
    return "" if key in fields and fields[key] is None else _text(fields, key, what)


def _optional_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _value(value: Any) -> str:
    """A property's value as text: one page of Cyclr's documentation shows a list, every real call a string."""
    if isinstance(value, list):
        return _value(value[0]) if len(value) == 1 else ",".join(_value(v) for v in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _seconds(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
