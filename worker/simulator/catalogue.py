"""The connectors on offer. A `Release` is what Cyclr calls Connector: its Id changes with every release.

Source: reference section 6.
"""

import base64
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from worker.simulator.exchange import compact

ICON_BYTES = 2_400


@dataclass(frozen=True, slots=True)
class Method:
    """One way to authenticate. `auth_type`: Basic, ApiKey, OAuth1, OAuth2, None, AuthFields."""

    id: str
    name: str
    auth_type: str
    oauth2_type: str = "Unknown"

    def as_json(self) -> dict[str, Any]:
        return {
            "Id": self.id,
            "AuthName": self.name,
            "AuthDescription": None,
            "AuthType": self.auth_type,
            "OAuth2Type": self.oauth2_type,
            "AuthScheme": None,
        }


@dataclass(frozen=True, slots=True)
class ApiMethod:
    """What Cyclr calls a Method of a connector: something that it can do. `id` changes with every release, `unique_id` never."""

    id: int
    unique_id: str
    name: str
    category: str
    http_method: str
    endpoint: str
    parameters: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "Id": self.id,
            "Name": self.name,
            "Description": f"{self.name}.",
            "Category": self.category,
            "EndPoint": self.endpoint,
            "MethodType": self.http_method,
            "MethodUniqueIdentifier": self.unique_id,
            "Parameters": [
                {"Id": self.id * 10 + number, "Name": name, "TargetName": name}
                for number, name in enumerate(self.parameters, start=1)
            ],
        }


# What every connector can do, made up: name, category, verb, end point, parameters.
API_METHODS = (
    ("List Contacts", "Contacts", "GET", "/contacts", ("page", "pageSize")),
    ("Add Contact", "Contacts", "POST", "/contacts", ()),
    ("Delete Contact", "Contacts", "DELETE", "/contacts/{id}", ("id",)),
    ("Get Settings", "Settings", "GET", "/settings", ()),
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A setting of a connector; only with `is_account_property` may it be given at install, under `target_name`."""

    id: int
    target_name: str
    label: str
    is_account_property: bool = True
    is_sensitive: bool = False
    is_optional: bool = True
    choices: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "Id": self.id,
            "Name": self.label,
            "Description": None,
            "TargetType": "MergeField",
            "TargetName": self.target_name,
            "IsAccountConnectorProperty": self.is_account_property,
            "IsSensitive": self.is_sensitive,
            "IsOptional": self.is_optional,
            "DataType": "Text",
            "TriggerName": None,
            "Values": list(self.choices),
        }


@dataclass(frozen=True)
class Release:
    """A release of a connector."""

    id: int
    name: str
    version: str | None = None
    status: str = "Approved"
    methods: tuple[Method, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    categories: tuple[str, ...] = ()
    icon: str = field(default="", repr=False)

    @property
    def is_draft(self) -> bool:
        return self.status == "Draft"

    @property
    def trigger_id(self) -> int:
        """Every connector has one, made up."""
        return self.id * 100

    @property
    def default_method(self) -> Method | None:
        return self.methods[0] if self.methods else None

    def find_method(self, method_id: str) -> Method | None:
        return next((method for method in self.methods if method.id.lower() == method_id.lower()), None)

    def find_parameter(self, target_name: str) -> Parameter | None:
        return next((p for p in self.parameters if p.target_name == target_name), None)

    def is_sensitive(self, name: str) -> bool:
        """Whether the property of that name holds a secret: it is declared so, or the secret of an OAuth app [inferred]."""
        parameter = self.find_parameter(name)
        return name == "ClientSecret" if parameter is None else parameter.is_sensitive

    @cached_property
    def api_methods(self) -> tuple[ApiMethod, ...]:
        return tuple(
            ApiMethod(
                self.id * 100 + number,
                str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.name}/{name}")),
                name, category, verb, end_point, parameters,
            )
            for number, (name, category, verb, end_point, parameters) in enumerate(API_METHODS, start=1)
        )  # fmt: skip

    # Kept as text: it is part of every answer about an installed connector, icon included.
    @cached_property
    def as_json_text(self) -> str:
        method = self.default_method
        return compact(
            {
                "Id": self.id,
                "Name": self.name,
                "Description": f"{self.name} connector",
                "Status": self.status,
                "Version": self.version,
                "Icon": self.icon or None,
                "AuthDescription": None,
                "AuthType": method.auth_type if method else "None",
                "OAuth2Type": method.oauth2_type if method else None,
                "AuthScheme": None,
                "Categories": list(self.categories),
                "IsSystemConnector": False,
                "Parameters": [parameter.as_json() for parameter in self.parameters],
                "Authentication": [m.as_json() for m in self.methods],
                "Triggers": [{"TriggerId": self.trigger_id}],
            }
        )


def method(auth_type: str, *, seed: str, name: str | None = None, oauth2_type: str = "Unknown") -> Method:
    """A method whose Id follows from `seed`, so that the same world always has the same ids."""
    method_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{seed}/{name or auth_type}"))
    return Method(method_id, name or auth_type, auth_type, oauth2_type)


def icon(name: str) -> str:
    """A data URI as large as Cyclr's: lists carry one for every entry, and no parameter leaves them out."""
    pixels = random.Random(name).randbytes(ICON_BYTES)
    return f"data:image/png;base64,{base64.b64encode(pixels).decode()}"


def methods_from_json(connector: str, entries: list[Mapping[str, Any]]) -> tuple[Method, ...]:
    """Methods from `{"auth_type", "name"?, "id"?, "oauth2_type"?}` each."""
    made = []
    for entry in entries:
        made_up = method(entry["auth_type"], seed=connector, name=entry.get("name"))
        made.append(
            Method(
                entry.get("id", made_up.id),
                made_up.name,
                made_up.auth_type,
                entry.get("oauth2_type", made_up.oauth2_type),
            )
        )
    return tuple(made)


def parameters_from_json(entries: list[Mapping[str, Any]]) -> tuple[Parameter, ...]:
    """Parameters from `{"target_name", "label"?, "is_account_property"?, "is_sensitive"?, "is_optional"?, "choices"?}`."""
    return tuple(
        Parameter(
            id=entry.get("id", number),
            target_name=entry["target_name"],
            label=entry.get("label", entry["target_name"]),
            is_account_property=entry.get("is_account_property", True),
            is_sensitive=entry.get("is_sensitive", False),
            is_optional=entry.get("is_optional", True),
            choices=tuple(entry.get("choices", ())),
        )
        for number, entry in enumerate(entries, start=1)
    )
