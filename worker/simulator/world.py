"""All that the stand-in knows: accounts, catalogue, tokens, what is installed. In memory, and pure but for its clock.

Where the reference has no fact, the choice is named here. Source: reference sections 3 to 9, 11 and 16.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import NoReturn, TypeVar

from worker.simulator.accounts import Account, AccountConnector
from worker.simulator.binding import Fields
from worker.simulator.catalogue import Method, Parameter, Release, icon
from worker.simulator.exchange import DENIED, Refused
from worker.simulator.faults import FaultPlan
from worker.simulator.ledger import Effect
from worker.simulator.tokens import Tokens

T = TypeVar("T")


@dataclass(slots=True)
class Switches:
    """What can be set from outside while it runs.

    `away`: `reset` or `503` answers every call like that; None is the usual. `page_shifts`: after so many page
    reads the list moves by one, so that the next page lacks an entry. `default_page_size`, `max_page_size`: unknown
    of Cyclr, chosen. `has_not_found_message`: whether a 404 has a body.
    """

    name_check: bool = True
    total_pages: bool = True
    has_not_found_message: bool = True
    page_shifts: int = 0
    default_page_size: int = 100
    max_page_size: int = 1_000
    reject_credentials: bool = False
    away: str | None = None


@dataclass(frozen=True, slots=True)
class Install:
    """What an install asks for. `properties`: in the order sent."""

    name: str | None = None
    description: str | None = None
    authentication_id: str | None = None
    auth_value: str | None = field(default=None, repr=False)
    properties: Sequence[tuple[str, str | None]] = field(default=(), repr=False)


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
        self.tokens = Tokens(dict(credentials or {}), now, random.Random(seed))
        self.accounts: dict[str, Account] = {}
        self.releases: dict[int, Release] = {}
        self.property_ids = count(40)
        self._listed_accounts: list[Account] = []  # sub-accounts are not listed [inferred]
        self._release_ids = count(501)
        self._account_connector_ids = count(6_508)
        self._rotation = 0

    # Seeding: no rule is checked and no effect recorded.

    def add_account(
        self, account_id: str, name: str | None = None, *, parent_id: str | None = None
    ) -> Account:
        """An account that is there from the start."""
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
    ) -> Release:
        """A connector in the catalogue, with a release id of its own."""
        release = Release(
            next(self._release_ids), name, version, status, tuple(methods), tuple(parameters),
            tuple(categories), icon(name),
        )  # fmt: skip
        self.releases[release.id] = release
        return release

    def add_installed(self, account_id: str, release: Release, asked: Install) -> AccountConnector:
        """An account connector that is there from the start."""
        method = release.find_method(asked.authentication_id or "") or release.default_method
        needs_nothing = method is None or method.auth_type == "None"
        connector = AccountConnector(
            id=next(self._account_connector_ids),
            name=asked.name or release.name,
            release=release,
            description=asked.description,
            auth_value=asked.auth_value,
            is_authenticated=bool(asked.auth_value) or needs_nothing,
        )
        for name, value in asked.properties:
            connector.put_property(name, value, self.property_ids)
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
        self.note("account_created", account)
        return account

    def change_account(self, account: Account, fields: Fields) -> None:
        account.change(fields)
        self.note("account_changed", account)

    def delete_account(self, account: Account) -> None:
        del self.accounts[account.id]
        if account in self._listed_accounts:
            self._listed_accounts.remove(account)
        self.note("account_deleted", account)

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
            id=next(self._release_ids),
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
        if self.switches.name_check and account.has_name(name):
            raise Refused(400, f"Account connector name '{name}' is in use.")
        connector = self.add_installed(account.id, release, asked)
        self.note("installed", account, connector)
        return connector

    def change(
        self,
        account: Account,
        connector: AccountConnector,
        fields: Fields,
        pairs: Sequence[tuple[str, str | None]],
    ) -> None:
        """Takes over Description, AuthValue and properties where given."""
        if "description" in fields:
            connector.description = fields.text("description")
        if auth_value := fields.text("authvalue"):
            connector.auth_value, connector.is_authenticated = auth_value, True
        for name, value in pairs:
            connector.put_property(name, value, self.property_ids)
        self.note("changed", account, connector)

    def deauthenticate(self, account: Account, connector: AccountConnector) -> None:
        connector.auth_value, connector.is_authenticated = None, False
        self.note("deauthenticated", account, connector)

    def remove(self, account: Account, connector: AccountConnector) -> None:
        account.remove(connector)
        self.note("removed", account, connector)

    def get_account_connector(self, account: Account, connector_id: str) -> AccountConnector:
        """Raises: `Refused` 404, also for one of another account [inferred]."""
        known = account.connectors.get(int(connector_id)) if connector_id.isdecimal() else None
        return known or self.not_found("account connector", connector_id)

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

    def note(self, kind: str, account: Account, connector: AccountConnector | None = None) -> None:
        """Tells the ledger of an effect on an account, or on an account connector in it."""
        if connector is None:
            self.record(Effect(kind, self.now(), account.id, account.name))
        else:
            self.record(
                Effect(kind, self.now(), account.id, connector.name, connector.release.name, connector.id)
            )


def _positive(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() and int(text) > 0 else otherwise
