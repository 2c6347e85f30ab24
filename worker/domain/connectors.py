"""Cyclr's catalogue and what is installed, reduced to what we use. `Source:` reference sections 6 to 9."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from worker.domain.targets import fold


@dataclass(frozen=True, slots=True)
class AuthMethod:
    """One way to authenticate a connector. `id`: a GUID; `auth_type`: Basic, ApiKey, OAuth1, OAuth2, None, AuthFields."""

    id: str
    name: str
    auth_type: str
    oauth2_type: str | None = None

    @property
    def is_for_customers(self) -> bool:
        """Whether the customer authorises it on a page of Cyclr's. Source: reference section 8."""
        if fold(self.auth_type) == "oauth1":
            return True
        return fold(self.auth_type) == "oauth2" and fold(self.oauth2_type or "") != "clientcredentials"

    def answers_to(self, reference: str) -> bool:
        """Whether a person may mean this method by `reference`: its name, type or id, in any case."""
        return fold(reference) in {fold(self.id), fold(self.name), fold(self.auth_type)}


def asks_customer(methods: Iterable[AuthMethod], method_id: str | None) -> bool:
    """Whether a row of a connector with these methods waits for its customer once it is installed.

    `method_id`: the method that the row names; None: a row that names none is left to whoever authorises it.
    """
    theirs = {method.id for method in methods if method.is_for_customers}
    return bool(theirs) and (method_id is None or method_id in theirs)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A setting of a connector; with `is_account_property` it may be given at install, under `target_name`."""

    id: int
    target_name: str
    label: str
    is_account_property: bool
    is_sensitive: bool
    is_optional: bool
    choices: tuple[str, ...] = ()
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Connector:
    """A release of a connector in the catalogue. `release_id` changes with every release: never an identity."""

    release_id: int
    name: str
    version: str | None
    status: str
    methods: tuple[AuthMethod, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    description: str | None = None

    @property
    def is_draft(self) -> bool:
        return fold(self.status) == "draft"

    @property
    def account_properties(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if p.is_account_property)

    def to_json(self) -> dict[str, Any]:
        return {
            "release_id": self.release_id,
            "name": self.name,
            "version": self.version,
            "status": self.status,
            "methods": [
                {"id": m.id, "name": m.name, "auth_type": m.auth_type, "oauth2_type": m.oauth2_type}
                for m in self.methods
            ],
            "account_properties": [
                {
                    "id": p.id,
                    "target_name": p.target_name,
                    "label": p.label,
                    "required": not p.is_optional,
                    "sensitive": p.is_sensitive,
                    "choices": list(p.choices),
                }
                for p in self.account_properties
            ],
        }


@dataclass(frozen=True, slots=True)
class ConnectorRef:
    """How a file names a connector: a release id or a name, perhaps with a version."""

    name_or_id: str
    version: str | None = None

    @property
    def release_id(self) -> int | None:
        text = self.name_or_id
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None

    def __str__(self) -> str:
        return f"{self.name_or_id} {self.version}" if self.version else self.name_or_id


class DoubtedVersion(str):
    """Why no release can be told, where the version is perhaps not the one that was meant."""


@dataclass(frozen=True, slots=True)
class InstalledProperty:
    """A property of an account connector. `value`: None where none is shown; `id`: None where Cyclr shows none. Its value may
    be a secret: never store, log or print it.
    """

    name: str
    value: str | None = None
    id: int | None = None

    def __repr__(self) -> str:
        return f"InstalledProperty(id={self.id})"


@dataclass(frozen=True, slots=True)
class AccountConnector:
    """A connector installed in an account, as an install answers or a look finds it.

    It lives for one comparison in memory and holds secrets: never store, log or print it.
    """

    id: int
    name: str
    connector_name: str
    is_authenticated: bool
    auth_value: str | None = None
    description: str | None = None
    properties: tuple[InstalledProperty, ...] = ()

    def find_property(self, name: str) -> InstalledProperty | None:
        """The first of exactly this name; Cyclr matches names exactly."""
        return next((entry for entry in self.properties if entry.name == name), None)

    def with_property(self, changed: InstalledProperty) -> "AccountConnector":
        """The same with this property in the place of the one of its id, or beside all others."""
        others = tuple(changed if entry.id == changed.id else entry for entry in self.properties)
        return replace(self, properties=others if changed in others else (*others, changed))

    def __repr__(self) -> str:
        return f"AccountConnector(id={self.id})"
