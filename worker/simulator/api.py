"""The routes: one function per endpoint, from what is asked to what Cyclr answers. Source: reference sections 3 to 9.

Checks come in the order token, account header, thing in the path, body.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from worker.simulator.accounts import Account, AccountConnector, Property
from worker.simulator.catalogue import Release
from worker.simulator.exchange import DENIED, HTML, Asked, Refused, Reply, found, round_trip
from worker.simulator.world import Install, World

T = TypeVar("T")
Answer = Callable[[World, Asked], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """`kind`: what the ledger and the faults call it."""

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
    if asked.query.get("sortOrderAsc", "").lower() == "false":
        entries = entries[::-1]
    shown, pages = world.page(entries, asked.query.get("page"), asked.query.get("pageSize"))
    headers: Mapping[str, str] = {"Total-Pages": str(pages)} if world.switches.total_pages else {}
    return Reply(200, f"[{', '.join(map(as_text, shown))}]", headers=headers)


def _as_json_text(thing: Any) -> str:
    return json.dumps(thing.as_json())


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
        world.note("account_changed", account)
    token, expires_at = world.tokens.issue_sign_in(account.id)
    return found({"Token": token, "ExpiresAtUtc": round_trip(expires_at)})


def authorise_by_customer(world: World, asked: Asked) -> Reply:
    """The page of the service domain where a customer authorises an OAuth connector; here consent is given at once."""
    account = world.accounts.get(world.tokens.use_sign_in(asked.query.get("token", "")) or "")
    connector_id = asked.query.get("id", "")
    if account is None or not connector_id.isdecimal() or int(connector_id) not in account.connectors:
        return Reply(403, "<html><body>403 – Forbidden: Access is denied.</body></html>", HTML)
    connector = account.connectors[int(connector_id)]
    connector.is_authenticated = True
    world.note("authorised", account, connector)
    return Reply(302, "", HTML, {"Location": asked.query.get("targetOrigin", "/")})


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
    return _listed(world, asked, list(_account_in_path(world, asked).usernames), json.dumps)


def add_user(world: World, asked: Asked) -> Reply:
    account = _account_in_path(world, asked)
    account.usernames[asked.fields.text("username") or ""] = None
    world.note("account_changed", account)
    return found({})


def remove_user(world: World, asked: Asked) -> Reply:
    account = _account_in_path(world, asked)
    account.usernames.pop(asked.fields.text("username") or "", None)
    world.note("account_changed", account)
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
    if asked.query.get("orderBy", "").lower() == "name":
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
    return Reply(200, f"[{', '.join(release.as_json_text for release in hits)}]")


def install(world: World, asked: Asked) -> Reply:
    account = _acting_account(world, asked)
    reference = asked.path["reference"]
    release = world.find_release(reference) or world.not_found("connector", reference)
    if asked.bound is None:
        raise Refused(500, "An error has occurred.")  # no body or null [live-test, in a comment]
    fields = asked.fields
    wanted = Install(
        name=fields.text("name"),
        description=fields.text("description"),
        authentication_id=fields.text("authenticationid"),
        auth_value=fields.text("authvalue"),
        properties=fields.pairs("properties"),
    )
    return Reply(200, world.install(account, release, wanted).as_json_text())


# Account connectors and their properties.


def list_account_connectors(world: World, asked: Asked) -> Reply:
    connectors = list(_acting_account(world, asked).connectors.values())
    return _listed(world, asked, connectors, AccountConnector.as_json_text)


def get_account_connector(world: World, asked: Asked) -> Reply:
    return Reply(200, _installed(world, asked)[1].as_json_text())


def change_account_connector(world: World, asked: Asked) -> Reply:
    account, connector = _installed(world, asked)
    world.change(account, connector, asked.fields, asked.fields.pairs("properties"))
    return Reply(200, connector.as_json_text())


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
    if asked.query.get("orderBy", "").lower() == "name":
        entries.sort(key=lambda entry: entry.name)
    return _listed(world, asked, entries, lambda entry: json.dumps(entry.as_json(connector.id)))


def add_property(world: World, asked: Asked) -> Reply:
    """Undeclared names are taken here [live-test]. A name that is there is overwritten: unknown, chosen."""
    account, connector = _installed(world, asked)
    name, value = asked.fields.text("name") or "", asked.fields.text("value")
    entry = connector.put_property(name, value, world.property_ids)
    world.note("changed", account, connector)
    return found(entry.as_json(connector.id))


def get_property(world: World, asked: Asked) -> Reply:
    _, connector, entry = _property_in_path(world, asked)
    return found(entry.as_json(connector.id))


def change_property(world: World, asked: Asked) -> Reply:
    account, connector, entry = _property_in_path(world, asked)
    entry.name = asked.fields.text("name") or entry.name
    entry.value = asked.fields.text("value")
    world.note("changed", account, connector)
    return found(entry.as_json(connector.id))


def remove_property(world: World, asked: Asked) -> Reply:
    account, connector, entry = _property_in_path(world, asked)
    del connector.properties[entry.id]
    world.note("changed", account, connector)
    return found({})


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
    Route("GET", "/connectorauth/updateaccountconnectoroauth", "authorise", authorise_by_customer),
    Route("GET", f"{V1}/accounts", "accounts", list_accounts),
    Route("POST", f"{V1}/accounts", "create_account", create_account),
    Route("GET", ACCOUNT, "account", get_account),
    Route("PUT", ACCOUNT, "other", change_account),
    Route("DELETE", ACCOUNT, "other", delete_account),
    Route("GET", f"{ACCOUNT}/subaccounts", "other", list_sub_accounts),
    Route("GET", f"{ACCOUNT}/users", "other", list_users),
    Route("PUT", f"{ACCOUNT}/users", "other", add_user),
    Route("DELETE", f"{ACCOUNT}/users", "other", remove_user),
    Route("PUT", f"{V1}/users", "other", set_password),
    Route("POST", f"{ACCOUNT}/signintoken", "sign_in", issue_sign_in_token),
    Route("GET", f"{V1}/connectors", "connectors", list_connectors),
    Route("GET", f"{V1}/connectors/{{reference}}", "connectors", find_connectors),
    Route("GET", f"{V1}/connectors/{{reference}}/{{version}}", "connectors", find_connectors),
    Route("POST", f"{V1}/connectors/{{reference}}/install", "install", install),
    Route("GET", f"{V1}/account/connectors", "look", list_account_connectors),
    Route("GET", INSTALLED, "account_connector", get_account_connector),
    Route("PUT", INSTALLED, "other", change_account_connector),
    Route("DELETE", INSTALLED, "other", remove_account_connector),
    Route("PUT", f"{INSTALLED}/deauthenticate", "other", deauthenticate),
    Route("GET", f"{INSTALLED}/properties", "other", list_properties),
    Route("POST", f"{INSTALLED}/properties", "other", add_property),
    Route("GET", PROPERTY, "other", get_property),
    Route("PUT", PROPERTY, "other", change_property),
    Route("DELETE", PROPERTY, "other", remove_property),
    Route("*", "/{path:.*}", "other", no_such_path),
)
