"""The routes: one function per endpoint, from what is asked to what Cyclr answers. Source: reference sections 3 to 9.

Checks come in the order token, account header, thing in the path, body.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from worker.simulator.accounts import Account, AccountConnector, Property
from worker.simulator.catalogue import ApiMethod, Release
from worker.simulator.exchange import DENIED, HTML, Asked, Refused, Reply, compact, found, is_guid, round_trip
from worker.simulator.world import Install, World

T = TypeVar("T")
Answer = Callable[[World, Asked], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """`path`: in lower case. `kind`: what the ledger and the faults call it."""

    method: str
    path: str
    kind: str
    answer: Answer


def _partner(world: World, asked: Asked) -> None:
    # A token restricted to one account is refused at the partner level [inferred].
    if world.tokens.authorise(asked.authorization).account_id is not None:
        raise Refused(401, DENIED)


def _acting_account(world: World, asked: Asked) -> Account:
    token = world.tokens.authorise(asked.authorization)
    return world.entitled_account(asked.header_account_id, token.account_id)


def _account_in_path(world: World, asked: Asked) -> Account:
    _partner(world, asked)
    return world.get_account(asked.path["account_id"])


def _installed(world: World, asked: Asked) -> tuple[Account, AccountConnector]:
    account = _acting_account(world, asked)
    return account, world.get_account_connector(account, asked.path["connector_id"])


def _listed(world: World, asked: Asked, entries: Sequence[T], as_text: Callable[[T], str]) -> Reply:
    if asked.query.get("sortorderasc", "").lower() == "false":
        entries = entries[::-1]
    shown, pages = world.page(entries, asked.query.get("page"), asked.query.get("pagesize"))
    headers: Mapping[str, str] = {"Total-Pages": str(pages)} if world.switches.total_pages else {}
    return Reply(200, f"[{','.join(map(as_text, shown))}]", headers=headers)


def _as_json_text(thing: Any) -> str:
    return compact(thing.as_json())


def _id_of(thing: Release | ApiMethod) -> int:
    return thing.id


def _stored_text(thing: Release) -> str:
    return thing.as_json_text


# Tokens.


def issue_token(world: World, asked: Asked) -> Reply:
    reject = world.switches.reject_credentials
    return found(world.tokens.issue(asked.body, world.accounts, reject=reject))


def issue_sign_in_token(world: World, asked: Asked) -> Reply:
    account = _account_in_path(world, asked)
    if username := asked.fields.text("username"):
        account.usernames[username] = None
        world.note_account("account_changed", account)
    token, expires_at = world.tokens.issue_sign_in(account.id)
    return found({"Token": token, "ExpiresAtUtc": round_trip(expires_at)})


def authorise_by_customer(world: World, asked: Asked) -> Reply:
    """The page of the service domain where a customer authorises an OAuth connector; here consent is given at once."""
    account = world.accounts.get(world.tokens.use_sign_in(asked.query.get("token", "")) or "")
    connector_id = asked.query.get("id", "")
    if account is None or not connector_id.isdecimal() or int(connector_id) not in account.connectors:
        return Reply(403, "<html><body>403 – Forbidden: Access is denied.</body></html>", HTML)
    connector = account.connectors[int(connector_id)]
    world.authorise(account, connector)
    return Reply(302, "", HTML, {"Location": asked.query.get("targetorigin", "/")})


# Accounts and users.


def list_accounts(world: World, asked: Asked) -> Reply:
    _partner(world, asked)
    return _listed(world, asked, world.get_listed_accounts(), _as_json_text)


def get_account(world: World, asked: Asked) -> Reply:
    return found(_account_in_path(world, asked).as_json())


def create_account(world: World, asked: Asked) -> Reply:
    _partner(world, asked)
    return found(world.create_account(asked.fields).as_json())


def change_account(world: World, asked: Asked) -> Reply:
    account = _account_in_path(world, asked)
    world.change_account(account, asked.fields)
    return found(account.as_json())


def delete_account(world: World, asked: Asked) -> Reply:
    world.delete_account(_account_in_path(world, asked))
    return found({})


def list_sub_accounts(world: World, asked: Asked) -> Reply:
    parent = _account_in_path(world, asked)
    children = [account for account in world.accounts.values() if account.parent_id == parent.id]
    return _listed(world, asked, children, _as_json_text)


def list_users(world: World, asked: Asked) -> Reply:
    return _listed(world, asked, list(_account_in_path(world, asked).usernames), compact)


def add_user(world: World, asked: Asked) -> Reply:
    account = _account_in_path(world, asked)
    account.usernames[asked.fields.text("username") or ""] = None
    world.note_account("account_changed", account)
    return found({})


def remove_user(world: World, asked: Asked) -> Reply:
    account = _account_in_path(world, asked)
    account.usernames.pop(asked.fields.text("username") or "", None)
    world.note_account("account_changed", account)
    return found({})


def set_password(world: World, asked: Asked) -> Reply:
    """Passwords are not kept: nobody can sign in here."""
    _partner(world, asked)
    username = asked.fields.text("username") or ""
    if not any(username in account.usernames for account in world.accounts.values()):
        world.not_found("user", username)
    return found({})


# The catalogue, and install.


def list_connectors(world: World, asked: Asked) -> Reply:
    """`query` matches like "contains" [inferred]. There are no custom connectors here."""
    _acting_account(world, asked)
    text, category = asked.query.get("query", "").lower(), asked.query.get("category")
    hits = [
        release
        for release in world.releases.values()
        if text in release.name.lower() and (category is None or category in release.categories)
    ]
    if asked.query.get("orderby", "").lower() == "name":
        hits.sort(key=lambda release: release.name.lower())
    return _listed(world, asked, hits, _stored_text)


def find_connectors(world: World, asked: Asked) -> Reply:
    """By id an object or 404; by name (and version) an array, empty for no match [inferred]."""
    _acting_account(world, asked)
    reference, version = asked.path["reference"], asked.path.get("version")
    if version is None and reference.isdecimal():
        release = world.find_release(reference) or world.not_found("connector", reference)
        return Reply(200, release.as_json_text)
    hits = world.releases_named(reference, version)
    return Reply(200, f"[{','.join(release.as_json_text for release in hits)}]")


def list_methods(world: World, asked: Asked) -> Reply:
    """Those of one release: of an id, or the newest of a name (and version). No match is 404 by name too [inferred]."""
    _acting_account(world, asked)
    reference, version = asked.path["reference"], asked.path.get("version")
    named = world.releases_named(reference, version)
    release = world.find_release(reference) if version is None else max(named, key=_id_of, default=None)
    if release is None:
        world.not_found("connector", reference)
    text, category = asked.query.get("query", "").lower(), asked.query.get("category")
    hits = [
        method
        for method in release.api_methods
        if text in method.name.lower() and category in (None, method.category)
    ]
    return _listed(world, asked, hits, _as_json_text)


def get_method(world: World, asked: Asked) -> Reply:
    """By the number that a release gave it, or by its unique identifier: that of the newest release."""
    _acting_account(world, asked)
    text = asked.path["method_id"]
    if not text.isdecimal() and not is_guid(text):
        raise Refused(400, "The request is invalid.")
    known = [
        method
        for release in world.releases.values()
        for method in release.api_methods
        if text.lower() in (str(method.id), method.unique_id)
    ]
    return found((max(known, key=_id_of, default=None) or world.not_found("method", text)).as_json())


def install(world: World, asked: Asked) -> Reply:
    account = _acting_account(world, asked)
    reference = asked.path["reference"]
    release = world.find_release(reference) or world.not_found("connector", reference)
    if asked.is_null:
        raise Refused(500, "An error has occurred.")  # [live-test, in a comment]
    fields = asked.fields
    wanted = Install(
        name=fields.text("name"),
        description=fields.text("description"),
        authentication_id=fields.text("authenticationid"),
        auth_value=fields.text("authvalue"),
        properties=fields.pairs("properties"),
        is_partner_integration=fields.flag("ispartnerintegrationconnector"),
    )
    return _changed(world, world.install(account, release, wanted))


# Account connectors and their properties.


def list_account_connectors(world: World, asked: Asked) -> Reply:
    connectors = world.account_connectors(_acting_account(world, asked))
    masks = world.switches.masks(is_read=True)
    return _listed(world, asked, connectors, lambda connector: connector.as_json_text(masks))


def get_account_connector(world: World, asked: Asked) -> Reply:
    _, connector = _installed(world, asked)
    return Reply(200, connector.as_json_text(world.switches.masks(is_read=True)))


def change_account_connector(world: World, asked: Asked) -> Reply:
    account, connector = _installed(world, asked)
    pairs = asked.fields.pairs("properties") if asked.fields.values.get("properties") is not None else None
    world.change(account, connector, asked.fields, pairs)
    return _changed(world, connector)


def remove_account_connector(world: World, asked: Asked) -> Reply:
    world.remove(*_installed(world, asked))
    return found({})


def deauthenticate(world: World, asked: Asked) -> Reply:
    account, connector = _installed(world, asked)
    world.deauthenticate(account, connector)
    return found({"Message": f"Connector '{connector.name}' successfully de-authenticated."})


def list_properties(world: World, asked: Asked) -> Reply:
    _, connector = _installed(world, asked)
    entries = list(connector.properties.values())
    if asked.query.get("orderby", "").lower() == "name":
        entries.sort(key=lambda entry: entry.name)
    masks = world.switches.masks(is_read=True)
    return _listed(world, asked, entries, lambda entry: compact(connector.property_as_json(entry, masks)))


def add_property(world: World, asked: Asked) -> Reply:
    account, connector = _installed(world, asked)
    name, value = asked.fields.text("name") or "", asked.fields.text("value")
    entry = world.add_property(account, connector, name, value)
    return found(connector.property_as_json(entry, world.switches.masks(is_read=False)))


def get_property(world: World, asked: Asked) -> Reply:
    _, connector, entry = _property_in_path(world, asked)
    return found(connector.property_as_json(entry, world.switches.masks(is_read=True)))


def change_property(world: World, asked: Asked) -> Reply:
    account, connector, entry = _property_in_path(world, asked)
    world.change_property(account, connector, entry, asked.fields)
    return found(connector.property_as_json(entry, world.switches.masks(is_read=False)))


def remove_property(world: World, asked: Asked) -> Reply:
    world.remove_property(*_property_in_path(world, asked))
    return found({})


def _changed(world: World, connector: AccountConnector) -> Reply:
    """What a call that changes an account connector answers."""
    return Reply(200, connector.as_json_text(world.switches.masks(is_read=False)))


def _property_in_path(world: World, asked: Asked) -> tuple[Account, AccountConnector, Property]:
    account, connector = _installed(world, asked)
    text = asked.path["property_id"]
    entry = connector.properties.get(int(text)) if text.isdecimal() else None
    return account, connector, entry or world.not_found("property", text)


def no_such_path(_: World, __: Asked) -> Reply:
    raise Refused(404, "No HTTP resource was found that matches the request URI.")


V1 = "/v1.0"
ACCOUNT = f"{V1}/accounts/{{account_id}}"
INSTALLED = f"{V1}/account/connectors/{{connector_id}}"
PROPERTY = f"{INSTALLED}/properties/{{property_id}}"

ROUTES = (
    Route("POST", "/oauth/token", "token", issue_token),
    Route("GET", "/oauth/token", "token", issue_token),  # with a form in its body, as one client does
    Route("GET", "/connectorauth/updateaccountconnectoroauth", "authorise", authorise_by_customer),
    Route("GET", f"{V1}/accounts", "accounts", list_accounts),
    Route("POST", f"{V1}/accounts", "create_account", create_account),
    Route("GET", ACCOUNT, "account", get_account),
    Route("PUT", ACCOUNT, "change_account", change_account),
    Route("DELETE", ACCOUNT, "delete_account", delete_account),
    Route("GET", f"{ACCOUNT}/subaccounts", "other", list_sub_accounts),
    Route("GET", f"{ACCOUNT}/users", "other", list_users),
    Route("PUT", f"{ACCOUNT}/users", "other", add_user),
    Route("DELETE", f"{ACCOUNT}/users", "other", remove_user),
    Route("PUT", f"{V1}/users", "other", set_password),
    Route("POST", f"{ACCOUNT}/signintoken", "sign_in", issue_sign_in_token),
    Route("GET", f"{V1}/connectors", "connectors", list_connectors),
    Route("GET", f"{V1}/connectors/{{reference}}", "connectors", find_connectors),
    Route("GET", f"{V1}/connectors/{{reference}}/methods", "methods", list_methods),
    Route("GET", f"{V1}/connectors/{{reference}}/{{version}}", "connectors", find_connectors),
    Route("GET", f"{V1}/connectors/{{reference}}/{{version}}/methods", "methods", list_methods),
    Route("GET", f"{V1}/methods/{{method_id}}", "methods", get_method),
    Route("POST", f"{V1}/connectors/{{reference}}/install", "install", install),
    Route("GET", f"{V1}/account/connectors", "look", list_account_connectors),
    Route("GET", INSTALLED, "account_connector", get_account_connector),
    Route("PUT", INSTALLED, "change_account_connector", change_account_connector),
    Route("DELETE", INSTALLED, "remove_account_connector", remove_account_connector),
    Route("PUT", f"{INSTALLED}/deauthenticate", "deauthenticate", deauthenticate),
    Route("GET", f"{INSTALLED}/properties", "properties", list_properties),
    Route("POST", f"{INSTALLED}/properties", "add_property", add_property),
    Route("GET", PROPERTY, "property", get_property),
    Route("PUT", PROPERTY, "change_property", change_property),
    Route("DELETE", PROPERTY, "remove_property", remove_property),
)
NO_SUCH_PATH = Route("*", "/", "other", no_such_path)
