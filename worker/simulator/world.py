"""All that the stand-in knows: accounts, catalogue, tokens, what is installed. In memory, and pure but for its clock.

Where the reference has no fact, the choice is named here. Source: reference sections 3 to 9, 11 and 16.
"""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import NoReturn, TypeVar

from worker.simulator.accounts import Account, AccountConnector, Property
from worker.simulator.binding import Fields
from worker.simulator.catalogue import Method, Parameter, Release, icon
from worker.simulator.exchange import DENIED, Refused, compact
from worker.simulator.faults import FaultPlan
from worker.simulator.ledger import By, Effect, State
from worker.simulator.switches import Switches
from worker.simulator.tokens import Tokens

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Install:
    """What an install asks for. `properties`: in the order sent."""

    name: str | None = None
    description: str | None = None
    authentication_id: str | None = None
    auth_value: str | None = field(default=None, repr=False)
    properties: Sequence[tuple[str, str | None]] = field(default=(), repr=False)
    is_partner_integration: bool = False


class World:
    """One Cyclr. `credentials`: client id -> secret; empty accepts any pair. `record` hears of every effect."""

    def __init__(
        self,
        *,
        credentials: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.time,
        seed: int | None = None,
    ) -> None:
        self.now = now
        self.switches = Switches()
        self.faults = FaultPlan()
        self.record: Callable[[Effect], None] = lambda _: None
        self.actor: By = "caller"  # who changes what is changed now
        self.tokens = Tokens(dict(credentials or {}), now, random.Random(seed))
        self.accounts: dict[str, Account] = {}
        self.releases: dict[int, Release] = {}
        self._listed_accounts: list[Account] = []  # sub-accounts are not listed [inferred]
        self._release_ids = Ids(501)
        self._account_connector_ids = Ids(6_508)
        self._property_ids = count(40)
        self._other_ids = count(9_001)
        self._refreshes = count(1)
        self._rotation = 0

    # Seeding: no rule is checked and no effect recorded.

    def add_account(
        self, account_id: str, name: str | None = None, *, parent_id: str | None = None
    ) -> Account:
        """An account that is there from the start. Raises: `ValueError` where it was there."""
        if account_id in self.accounts:
            raise ValueError(f"account: expected an id that is free, got {account_id}")
        account = Account(account_id, name or account_id, self.now(), parent_id)
        self.accounts[account_id] = account
        if parent_id is None:
            self._listed_accounts.append(account)
        return account

    def add_connector(
        self,
        name: str,
        version: str | None = None,
        *,
        methods: Sequence[Method] = (),
        parameters: Sequence[Parameter] = (),
        status: str = "Approved",
        categories: Sequence[str] = (),
        release_id: int | None = None,
    ) -> Release:
        """A connector in the catalogue, with a release id of its own. Raises: `ValueError` where that is taken."""
        release = Release(
            self._release_ids.take(release_id), name, version, status, tuple(methods), tuple(parameters),
            tuple(categories), icon(name),
        )  # fmt: skip
        self.releases[release.id] = release
        return release

    def add_installed(
        self,
        account_id: str,
        release: Release,
        asked: Install,
        *,
        account_connector_id: int | None = None,
        is_authorised: bool = False,
    ) -> AccountConnector:
        """An account connector that is there from the start. `is_authorised`: by its customer.

        Raises: `ValueError` where its id is taken.
        """
        method = release.find_method(asked.authentication_id or "") or release.default_method
        needs_nothing = method is None or method.auth_type == "None"
        connector = AccountConnector(
            id=self._account_connector_ids.take(account_connector_id),
            name=asked.name or release.name,
            release=release,
            description=asked.description,
            auth_value=asked.auth_value,
            is_authenticated=bool(asked.auth_value) or needs_nothing or is_authorised,
            is_partner_integration=asked.is_partner_integration,
        )
        for name, value in asked.properties:
            self._put_property(connector, name, value)
        self._list_declared(connector)
        self.accounts[account_id].add(connector)
        return connector

    # The rules.

    def create_account(self, fields: Fields) -> Account:
        """Raises: `Refused`. Which check comes first is unknown."""
        name, account_id = fields.text("name"), fields.text("id")
        if not name:
            raise Refused(400, "Name is required")
        if account_id in self.accounts:
            raise Refused(400, "ID already in use")
        account = Account(account_id or self.tokens.new_guid(), name, self.now())
        account.change(fields)
        account.parent_id = fields.text("parentaccountid")
        self.accounts[account.id] = account
        if account.parent_id is None:
            self._listed_accounts.append(account)
        self.note_account("account_created", account)
        return account

    def change_account(self, account: Account, fields: Fields) -> None:
        account.change(fields)
        self.note_account("account_changed", account)

    def delete_account(self, account: Account) -> None:
        del self.accounts[account.id]
        if account in self._listed_accounts:
            self._listed_accounts.remove(account)
        self.note_account("account_deleted", account)

    def get_account(self, account_id: str) -> Account:
        """Raises: `Refused` 404."""
        return self.accounts.get(account_id) or self.not_found("account", account_id)

    def find_release(self, reference: str) -> Release | None:
        """The release of an id, or the newest release of a name."""
        if reference.isdecimal():
            return self.releases.get(int(reference))
        return max(self.releases_named(reference), key=lambda release: release.id, default=None)

    def releases_named(self, name: str, version: str | None = None) -> list[Release]:
        wanted = name.lower()
        return [
            r for r in self.releases.values() if r.name.lower() == wanted and version in (None, r.version)
        ]

    def publish(
        self,
        name: str,
        *,
        methods: Sequence[Method] | None = None,
        parameters: Sequence[Parameter] | None = None,
    ) -> Release:
        """A new release of a connector: it has a new id, the old id is unknown from now on. Installed ones keep theirs."""
        old = self.find_release(name)
        if old is None:
            raise ValueError(f"connector: expected the name of a connector in the catalogue, got {name}")
        new = replace(
            old,
            id=self._release_ids.take(),
            methods=old.methods if methods is None else tuple(methods),
            parameters=old.parameters if parameters is None else tuple(parameters),
        )
        del self.releases[old.id]
        self.releases[new.id] = new
        return new

    def install(self, account: Account, release: Release, asked: Install) -> AccountConnector:
        """Raises: `Refused`, in the order of checks that reference section 16 gives [inferred]."""
        if release.is_draft:
            raise Refused(400, f"Connector {release.id} is a draft and cannot be installed.")
        for name, _ in asked.properties:
            parameter = release.find_parameter(name)
            if parameter is None:
                raise Refused(400, f"There is not a connector property that matches name '{name}'.")
            if not parameter.is_account_property:
                raise Refused(400, f"Connector property name '{name}' is not an account connector property.")
        if asked.authentication_id and release.find_method(asked.authentication_id) is None:
            raise Refused(
                400, "AuthenticationId is not one of this connector."
            )  # invented: the real one is unknown
        name = asked.name or release.name
        if not self.is_free(account, name):
            raise Refused(400, f"Account connector name '{name}' is in use.")
        wanted = replace(
            asked,
            auth_value=self._as_stored(asked.auth_value),
            properties=[(name, self._as_stored(value)) for name, value in asked.properties],
        )
        connector = self.add_installed(account.id, release, wanted)
        self._note(account, "installed", connector, None, connector.state())
        return connector

    def change(
        self,
        account: Account,
        connector: AccountConnector,
        fields: Fields,
        pairs: Sequence[tuple[str, str | None]] | None,
    ) -> None:
        """Takes over Description, AuthValue and properties where given; `pairs`: None for no word of properties.

        Undeclared names are taken: clients give `ClientId` so. A Name in the body changes nothing: unknown, chosen.
        """
        with self.noting("changed", account, connector):
            if "description" in fields:
                connector.description = fields.text("description")
            if auth_value := fields.text("authvalue"):
                connector.auth_value, connector.is_authenticated = self._as_stored(auth_value), True
            for name, value in pairs or ():
                self._put_property(connector, name, self._as_stored(value))
            if pairs is not None and self.switches.put_properties == "replace":
                named = {name for name, _ in pairs}
                left_out = [key for key, entry in connector.properties.items() if entry.name not in named]
                for key in left_out:
                    del connector.properties[key]
            self._list_declared(connector)

    def add_property(
        self, account: Account, connector: AccountConnector, name: str, value: str | None
    ) -> Property:
        """Undeclared names are taken here [live-test]. Raises: `Refused`."""
        rule = self.switches.same_property
        if rule == "refuse" and connector.find_property(name) is not None:
            raise Refused(400, f"Property name '{name}' is in use.")  # invented
        with self.noting("changed", account, connector):
            if rule == "duplicate":
                return self._new_property(connector, name, self._as_stored(value))
            return self._put_property(connector, name, self._as_stored(value))

    def change_property(
        self, account: Account, connector: AccountConnector, entry: Property, fields: Fields
    ) -> None:
        """Takes over Name and Value where given. That a value left out stays is [inferred]."""
        with self.noting("changed", account, connector):
            entry.name = fields.text("name") or entry.name
            if "value" in fields:
                entry.value = self._as_stored(fields.text("value"))

    def remove_property(self, account: Account, connector: AccountConnector, entry: Property) -> None:
        with self.noting("changed", account, connector):
            del connector.properties[entry.id]
            self._list_declared(connector)

    def is_free(self, account: Account, name: str) -> bool:
        """Whether a Name may be given to an account connector."""
        return not (self.switches.name_check and account.has_name(name))

    def rename(self, account: Account, connector: AccountConnector, name: str) -> None:
        """As in the console: no call is known that does it."""
        with self.noting("changed", account, connector):
            account.rename(connector, name)

    def deauthenticate(self, account: Account, connector: AccountConnector) -> None:
        with self.noting("deauthenticated", account, connector):
            connector.auth_value, connector.is_authenticated = None, False

    def authorise(self, account: Account, connector: AccountConnector) -> None:
        with self.noting("authorised", account, connector):
            connector.is_authenticated = True

    def remove(self, account: Account, connector: AccountConnector) -> None:
        account.remove(connector)
        self._note(account, "removed", connector, connector.state(), None)

    def refresh_tokens(self, account_id: str | None) -> None:
        """Where that is switched on, Cyclr fetches new tokens for what lives in an account."""
        account = self.accounts.get(account_id or "")
        if account is None or not self.switches.refreshes_tokens:
            return
        for connector in account.connectors.values():
            tokens = _living_tokens(connector.auth_value) if connector.is_authenticated else None
            if tokens is not None:
                number = next(self._refreshes)
                tokens |= {"AccessToken": f"access-{number}", "RefreshToken": f"refresh-{number}"}
                with self.acting("cyclr"), self.noting("refreshed", account, connector):
                    connector.auth_value = compact(tokens)

    def account_connectors(self, account: Account) -> list[AccountConnector]:
        """All that an account holds, each with what is listed of it."""
        for connector in account.connectors.values():
            self._list_declared(connector)
        return list(account.connectors.values())

    def get_account_connector(self, account: Account, connector_id: str) -> AccountConnector:
        """Raises: `Refused` 404, also for one of another account [inferred]."""
        known = account.connectors.get(int(connector_id)) if connector_id.isdecimal() else None
        if known is None:
            self.not_found("account connector", connector_id)
        self._list_declared(known)
        return known

    def find_property_name(self, account_id: str, path: Mapping[str, str]) -> str | None:
        """What the property in a path is called; None where there is none."""
        account = self.accounts.get(account_id)
        numbers = path.get("connector_id", ""), path.get("property_id", "")
        if account is None or not all(number.isdecimal() for number in numbers):
            return None
        connector = account.connectors.get(int(numbers[0]))
        entry = connector.properties.get(int(numbers[1])) if connector else None
        return entry.name if entry else None

    def other_id(self) -> int:
        """A new number for what has no kind of numbers of its own."""
        return next(self._other_ids)

    def get_listed_accounts(self) -> Sequence[Account]:
        return self._listed_accounts

    def entitled_account(self, account_id: str, restricted_to: str | None) -> Account:
        """The account of the header. Raises: `Refused` 401 for none, an unknown one, or one the token is not for."""
        account = self.accounts.get(account_id)
        if account is None or restricted_to not in (None, account_id):
            raise Refused(401, DENIED)
        return account

    def page(self, entries: Sequence[T], number: str | None, size: str | None) -> tuple[list[T], int]:
        """One page, and how many there are. Past the end is an empty list; a size above the maximum is capped."""
        page_size = min(_positive(size, self.switches.default_page_size), self.switches.max_page_size)
        pages = -(-len(entries) // page_size)
        start = (_positive(number, 1) - 1) * page_size
        places = range(start, min(start + page_size, len(entries)))
        shown = [entries[(place + self._rotation) % len(entries)] for place in places]
        if self.switches.page_shifts and pages > 1:
            self.switches.page_shifts -= 1
            self._rotation += 1
        return shown, pages

    def not_found(self, thing: str, reference: str) -> NoReturn:
        message = f"The {thing} {reference} was not found."
        raise Refused(404, message, body=None if self.switches.has_not_found_message else "")

    def count_doubles(self) -> int:
        """Targets that hold more than one account connector."""
        return sum(n > 1 for account in self.accounts.values() for n in account.names.values())

    # What the ledger hears.

    @contextmanager
    def acting(self, actor: By) -> Iterator[None]:
        """What is changed within is changed by somebody else than the caller."""
        self.actor, earlier = actor, self.actor
        try:
            yield
        finally:
            self.actor = earlier

    @contextmanager
    def noting(self, kind: str, account: Account, connector: AccountConnector) -> Iterator[None]:
        """Tells the ledger what an account connector was before and is after what is done within."""
        before = connector.state()
        yield
        self._note(account, kind, connector, before, connector.state())

    def note_account(self, kind: str, account: Account) -> None:
        """Tells the ledger of an effect on an account."""
        self.record(Effect(kind, self.now(), account.id, account.name, by=self.actor))

    def _note(
        self,
        account: Account,
        kind: str,
        connector: AccountConnector,
        before: State | None,
        after: State | None,
    ) -> None:
        self.record(
            Effect(
                kind, self.now(), account.id, connector.name, connector.release.name, connector.id,
                self.actor, None, before, after,
            )
        )  # fmt: skip

    # Properties.

    def _put_property(self, connector: AccountConnector, name: str, value: str | None) -> Property:
        """Changes the property of that name or adds it."""
        known = connector.find_property(name)
        if known is None:
            return self._new_property(connector, name, value)
        known.value = value
        return known

    def _new_property(self, connector: AccountConnector, name: str, value: str | None) -> Property:
        entry = Property(next(self._property_ids), name, value)
        connector.properties[entry.id] = entry
        return entry

    def _list_declared(self, connector: AccountConnector) -> None:
        """Where declared properties are listed from the install on: those that are not yet."""
        if self.switches.lists_declared == "once_set":
            return
        empty = "" if self.switches.lists_declared == "empty" else None
        for parameter in connector.release.parameters:
            if parameter.is_account_property and connector.find_property(parameter.target_name) is None:
                self._new_property(connector, parameter.target_name, empty)

    def _as_stored(self, value: str | None) -> str | None:
        return _normalised(value) if value is not None and self.switches.normalises else value


class Ids:
    """Numbers that are given once: the next one, or one that is asked for."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._given: set[int] = set()

    def take(self, wanted: int | None = None) -> int:
        """Raises: `ValueError` where the one that is asked for was given."""
        if wanted is None:
            while self._next in self._given:
                self._next += 1
            wanted = self._next
        if wanted in self._given:
            raise ValueError(f"id: expected one that is free, got {wanted}")
        self._given.add(wanted)
        return wanted


def _living_tokens(auth_value: str | None) -> dict[str, object] | None:
    """The OAuth tokens that an AuthValue holds; None where it holds none."""
    value = _json_object(auth_value or "")
    return value if value is not None and "AccessToken" in value else None


def _normalised(value: str) -> str:
    trimmed = value.strip()
    if trimmed.lower() in ("true", "false"):
        return trimmed.capitalize()
    held = _json_object(trimmed)
    return trimmed if held is None else compact(dict(sorted(held.items())))


def _json_object(text: str) -> dict[str, object] | None:
    """The JSON object that a text is; None for any other text."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _positive(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() and int(text) > 0 else otherwise
