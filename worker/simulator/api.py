"""Which function answers a call. Trailing slashes and another case of a path work. Source: reference section 1 [live-test]."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from worker.simulator import installed, offers, partner, using
from worker.simulator.exchange import Asked, Refused, Reply
from worker.simulator.world import World

Answer = Callable[[World, Asked], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """`path`: in lower case. `kind`: what the ledger and the faults call it."""

    method: str
    path: str
    kind: str
    answer: Answer


def no_such_path(_: World, __: Asked) -> Reply:
    raise Refused(404, "No HTTP resource was found that matches the request URI.")


V1 = "/v1.0"
ACCOUNT = f"{V1}/accounts/{{account_id}}"
INSTALLED = f"{V1}/account/connectors/{{connector_id}}"
PROPERTY = f"{INSTALLED}/properties/{{property_id}}"
METHOD = f"{INSTALLED}/methods/{{method_id}}"
FIELD = f"{INSTALLED}/fields/{{field_id}}"
CUSTOM = f"{V1}/account/connectors/custom"

ROUTES = (
    Route("POST", "/oauth/token", "token", partner.issue_token),
    Route("GET", "/oauth/token", "token", partner.issue_token),  # with a form in its body, as one client does
    Route("GET", "/connectorauth/updateaccountconnectoroauth", "authorise", partner.authorise_by_customer),
    Route("GET", f"{V1}/accounts", "accounts", partner.list_accounts),
    Route("POST", f"{V1}/accounts", "create_account", partner.create_account),
    Route("GET", ACCOUNT, "account", partner.get_account),
    Route("PUT", ACCOUNT, "change_account", partner.change_account),
    Route("DELETE", ACCOUNT, "delete_account", partner.delete_account),
    Route("GET", f"{ACCOUNT}/subaccounts", "other", partner.list_sub_accounts),
    Route("GET", f"{ACCOUNT}/usage", "other", partner.get_usage),
    Route("GET", f"{ACCOUNT}/users", "other", partner.list_users),
    Route("PUT", f"{ACCOUNT}/users", "other", partner.add_user),
    Route("DELETE", f"{ACCOUNT}/users", "other", partner.remove_user),
    Route("PUT", f"{V1}/users", "other", partner.set_password),
    Route("POST", f"{ACCOUNT}/signintoken", "sign_in", partner.issue_sign_in_token),
    Route("GET", f"{V1}/connectors", "connectors", offers.list_connectors),
    Route("GET", f"{V1}/connectors/{{reference}}", "connectors", offers.find_connectors),
    Route("GET", f"{V1}/connectors/{{reference}}/methods", "methods", offers.list_methods),
    Route("GET", f"{V1}/connectors/{{reference}}/{{version}}", "connectors", offers.find_connectors),
    Route("GET", f"{V1}/connectors/{{reference}}/{{version}}/methods", "methods", offers.list_methods),
    Route("GET", f"{V1}/methods/{{method_id}}", "methods", offers.get_method),
    Route("POST", f"{V1}/connectors/{{reference}}/install", "install", offers.install),
    Route("GET", CUSTOM, "other", using.list_custom_connectors),
    Route("POST", CUSTOM, "other", using.add_custom_connector),
    Route("GET", f"{CUSTOM}/{{custom_id}}", "other", using.get_custom_connector),
    Route("DELETE", f"{CUSTOM}/{{custom_id}}", "other", using.remove_custom_connector),
    Route("GET", f"{V1}/account/connectors", "look", installed.list_account_connectors),
    Route("GET", INSTALLED, "account_connector", installed.get_account_connector),
    Route("PUT", INSTALLED, "change_account_connector", installed.change_account_connector),
    Route("DELETE", INSTALLED, "remove_account_connector", installed.remove_account_connector),
    Route("PUT", f"{INSTALLED}/deauthenticate", "deauthenticate", installed.deauthenticate),
    Route("GET", f"{INSTALLED}/properties", "properties", installed.list_properties),
    Route("POST", f"{INSTALLED}/properties", "add_property", installed.add_property),
    Route("GET", PROPERTY, "property", installed.get_property),
    Route("PUT", PROPERTY, "change_property", installed.change_property),
    Route("DELETE", PROPERTY, "remove_property", installed.remove_property),
    Route("GET", METHOD, "other", using.call_method),
    Route("POST", METHOD, "other", using.call_method),
    Route("POST", f"{METHOD}/body", "other", using.call_method),
    Route("POST", f"{INSTALLED}/test/{{method_id}}", "other", using.call_method),
    Route("POST", f"{INSTALLED}/triggers/{{trigger_id}}", "other", using.fire_trigger),
    Route("GET", f"{INSTALLED}/fields", "other", using.list_fields),
    Route("POST", f"{INSTALLED}/fields", "other", using.add_field),
    Route("GET", FIELD, "other", using.get_field),
    Route("PUT", FIELD, "other", using.change_field),
    Route("DELETE", FIELD, "other", using.remove_field),
)
NO_SUCH_PATH = Route("*", "/", "other", no_such_path)


class Way(NamedTuple):
    """A route, and the parts of the path by name, decoded."""

    route: Route
    parts: Mapping[str, str]


class Router:
    """Finds the first route that fits, in the order of `ROUTES`."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, int], list[tuple[Route, Sequence[str]]]] = {}
        for route in ROUTES:
            pattern = _segments(route.path)
            self._routes.setdefault((route.method, len(pattern)), []).append((route, pattern))

    def find(self, method: str, raw_path: str) -> Way:
        """`raw_path`: as it was sent, so that an encoded slash is no other part."""
        segments = _segments(raw_path)
        for route, pattern in self._routes.get((method, len(segments)), ()):
            if all(_fits(*pair) for pair in zip(pattern, segments, strict=True)):
                named = zip(pattern, segments, strict=True)
                return Way(route, {part[1:-1]: unquote(text) for part, text in named if _is_variable(part)})
        return Way(NO_SUCH_PATH, {})


def _segments(path: str) -> list[str]:
    return path.rstrip("/").split("/")


def _is_variable(part: str) -> bool:
    return part.startswith("{")


def _fits(part: str, text: str) -> bool:
    return bool(text) if _is_variable(part) else part == text.lower()
