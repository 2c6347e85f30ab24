"""Whether a row fits its connector: the catalogue's rules. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from worker.domain.connectors import AuthMethod, Connector, Parameter
from worker.domain.rows import AUTH_COLUMNS, PROPERTY_PREFIX, Problem, Warning_
from worker.domain.targets import fold
from worker.intake.rows import LATER, credential_kinds

_CREDENTIAL_OF = {"basic": "username", "apikey": "api_key", "oauth2": "access_token"}
_SAID = {"username": "username and password"}
_MUST_HAVE = frozenset({"basic", "apikey"})
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Fit:
    """What came of it. `authentication_id`: the method to name at install; None names none."""

    authentication_id: str | None
    problems: tuple[Problem, ...]
    warnings: tuple[Warning_, ...]


def fit_row(
    number: int, authentication: str | None, values: Mapping[str, str | None], connector: Connector
) -> Fit:
    """How a row fits its connector.

    `values`: canonical column -> value for the auth and property columns that are not empty; None is a value
    that is not at hand.
    """
    method, problems = _choose_method(number, authentication, connector)
    problems.extend(_credential_problems(number, authentication, values, method, connector))
    problems.extend(_property_problems(number, values, connector))
    warnings = tuple(_property_warnings(number, values, connector))
    return Fit(None if method is None else method.id, tuple(problems), warnings)


def _choose_method(
    number: int, authentication: str | None, connector: Connector
) -> tuple[AuthMethod | None, list[Problem]]:
    methods = connector.methods
    if authentication is None or fold(authentication) == LATER:
        if len(methods) == 1:
            return methods[0], []
        if not methods or authentication is not None:
            return None, []
        reason = (
            f"{connector.name} offers several methods, expected one of {_listed(methods)}, got an empty cell"
        )
        return None, [Problem(number, "authentication", reason)]
    if not methods:
        reason = f"{connector.name} offers no method to choose from: leave the cell empty"
        return None, [Problem(number, "authentication", reason)]
    matching = tuple(method for method in methods if method.answers_to(authentication))
    if len(matching) == 1:
        return matching[0], []
    if matching:
        ids = ", ".join(f"{method.id} ({method.name})" for method in matching)
        reason = f"it means several methods of {connector.name}: give the id of one, {ids}"
        return None, [Problem(number, "authentication", reason)]
    # The cell is not shown: in a line that lost a cell a credential may stand here.
    reason = f"expected a method of {connector.name}, one of {_listed(methods)}, or {LATER}; got another text"
    return None, [Problem(number, "authentication", reason)]


def _listed(methods: tuple[AuthMethod, ...]) -> str:
    return ", ".join(f"'{method.name}' ({method.auth_type})" for method in methods)


def _credential_problems(
    number: int,
    authentication: str | None,
    values: Mapping[str, str | None],
    method: AuthMethod | None,
    connector: Connector,
) -> Iterator[Problem]:
    if method is None:
        return
    auth_type = fold(method.auth_type)
    of = f"the method '{method.name}' ({method.auth_type}) of {connector.name}"
    fitting = _CREDENTIAL_OF.get(auth_type)
    kinds = credential_kinds(frozenset(values).intersection(AUTH_COLUMNS))
    if not kinds:
        is_later = authentication is not None and fold(authentication) == LATER
        if auth_type in _MUST_HAVE and not is_later:
            reason = f"{of} needs {_said(fitting)}, got no credential; or write {LATER} in the column authentication"
            yield Problem(number, fitting, reason)
        return
    for kind in kinds:
        if auth_type == "none":
            yield Problem(number, kind, f"{of} takes no credential, got {_said(kind)}: empty the cell")
        elif kind not in ("auth_value", fitting) and auth_type in {*_CREDENTIAL_OF, "oauth1", "authfields"}:
            yield Problem(number, kind, f"{of} takes {_said(fitting)}, got {_said(kind)}")


def _said(kind: str | None) -> str:
    return "auth_value" if kind is None else _SAID.get(kind, kind)


def _property_problems(
    number: int, values: Mapping[str, str | None], connector: Connector
) -> Iterator[Problem]:
    for column in values:
        if not column.startswith(PROPERTY_PREFIX):
            continue
        target_name = column.removeprefix(PROPERTY_PREFIX)
        parameter = connector.find_parameter(target_name)
        is_oauth2 = any(fold(method.auth_type) == "oauth2" for method in connector.methods)
        if parameter is None and target_name in ("ClientId", "ClientSecret") and is_oauth2:
            reason = (
                f"OAuth app credentials that {connector.name} does not declare are not supported yet: "
                "set them in Cyclr's console"
            )
            yield Problem(number, column, reason)
        elif parameter is None:
            yield Problem(number, column, f"{connector.name} has no such property; {_declared(connector)}")
        elif not parameter.is_account_property:
            reason = f"it is not an account property of {connector.name}; {_declared(connector)}"
            yield Problem(number, column, reason)


def _declared(connector: Connector) -> str:
    names = ", ".join(parameter.target_name for parameter in connector.account_properties)
    return f"expected one of {names}" if names else "it has none"


def _property_warnings(
    number: int, values: Mapping[str, str | None], connector: Connector
) -> Iterator[Warning_]:
    for parameter in connector.account_properties:
        column = f"{PROPERTY_PREFIX}{parameter.target_name}"
        value = values.get(column)
        if column not in values and not parameter.is_optional:
            reason = (
                f"{connector.name} needs this property, and it is not given: it may not work until it is set"
            )
            yield Warning_(number, column, reason)
        elif value is not None and parameter.choices and value not in parameter.choices:
            yield Warning_(
                number,
                column,
                f"expected one of {', '.join(parameter.choices)}, got {_shown(parameter, value)}",
            )


def _shown(parameter: Parameter, value: str) -> str:
    if parameter.is_sensitive:
        return "another value"
    return f"'{value}'" if len(value) <= _SHOWN_CHARACTERS else f"'{value[:_SHOWN_CHARACTERS]}...'"
