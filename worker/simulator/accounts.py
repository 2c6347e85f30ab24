"""Accounts and what is installed in them, with Cyclr's rules and messages. Source: reference sections 5 and 7."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from worker.simulator.binding import Fields
from worker.simulator.catalogue import Release
from worker.simulator.exchange import Refused, compact, round_trip
from worker.simulator.ledger import PROPERTY, State
from worker.simulator.switches import Masks

MOST_RETENTION_HOURS = 744
BILLING_PERIOD_S = 30 * 86_400
MASK = "********"


def folded(name: str) -> str:
    """A Name as the name check compares it: without case or outer spaces [inferred]."""
    return name.strip().lower()


@dataclass(slots=True)
class Property:
    id: int
    name: str
    value: str | None = field(repr=False)


@dataclass(slots=True, eq=False)
class AccountConnector:
    """A connector installed in an account. It keeps the release that it was installed from."""

    id: int
    name: str
    release: Release
    description: str | None = None
    auth_value: str | None = field(default=None, repr=False)
    is_authenticated: bool = False
    is_partner_integration: bool = False
    properties: dict[int, Property] = field(default_factory=dict, repr=False)
    custom_fields: dict[int, dict[str, Any]] = field(default_factory=dict, repr=False)

    def find_property(self, name: str) -> Property | None:
        return next((entry for entry in self.properties.values() if entry.name == name), None)

    def state(self) -> State:
        """All that it holds, as it is now."""
        state: State = {
            "Name": self.name,
            "Description": self.description,
            "AuthValue": self.auth_value,
            "Authenticated": "true" if self.is_authenticated else "false",
        }
        for entry in self.properties.values():
            name = f"{PROPERTY}{entry.name}"
            state[f"{name} ({entry.id})" if name in state else name] = entry.value
        return state

    def property_as_json(self, entry: Property, masks: Masks) -> dict[str, Any]:
        is_masked = masks.sensitive and self.release.is_sensitive(entry.name)
        return {
            "Name": entry.name,
            "Value": _masked(entry.value) if is_masked else entry.value,
            "Id": entry.id,
            "AccountConnectorId": self.id,
        }

    def as_json_text(self, masks: Masks) -> str:
        """But for what is masked, AuthValue and property values stand in it in clear, as Cyclr answers them [seed][docs]."""
        own = compact(
            {
                "Id": self.id,
                "Name": self.name,
                "Description": self.description,
                "AuthValue": _masked(self.auth_value) if masks.auth_value else self.auth_value,
                "Authenticated": self.is_authenticated,
                "IsPartnerIntegrationConnector": self.is_partner_integration,
                "Properties": [self.property_as_json(entry, masks) for entry in self.properties.values()],
                "CustomFields": list(self.custom_fields.values()),
            }
        )
        return f'{own[:-1]},"Connector":{self.release.as_json_text}}}'


@dataclass(slots=True, eq=False)
class Account:
    """An account. `names`: folded Name -> how many of its account connectors carry it."""

    id: str
    name: str
    created_at: float
    parent_id: str | None = None
    description: str | None = None
    timezone: str = "Europe/London"
    audit_info: str | None = None
    task_audit_info: str | None = None
    success_retention_h: int | None = None
    errored_retention_h: int | None = None
    is_webhook_enabled: bool = False
    webhook_url: str | None = None
    webhook_includes_warnings: bool = False
    connectors: dict[int, AccountConnector] = field(default_factory=dict)
    names: Counter[str] = field(default_factory=Counter)
    usernames: dict[str, None] = field(default_factory=dict)
    next_bill_at: str | None = None
    custom_connectors: dict[int, dict[str, Any]] = field(default_factory=dict, repr=False)

    def add(self, connector: AccountConnector) -> None:
        self.connectors[connector.id] = connector
        self.names[folded(connector.name)] += 1

    def remove(self, connector: AccountConnector) -> None:
        del self.connectors[connector.id]
        self.names[folded(connector.name)] -= 1

    def rename(self, connector: AccountConnector, name: str) -> None:
        self.names[folded(connector.name)] -= 1
        connector.name = name
        self.names[folded(name)] += 1

    def has_name(self, name: str) -> bool:
        return self.names[folded(name)] > 0

    def change(self, fields: Fields) -> None:
        """Takes over the fields that are there; the others keep their value. Raises: `Refused`, nothing changed."""
        success_h = _retention_h(fields, "StepDataSuccessRetentionHours", self.success_retention_h)
        errored_h = _retention_h(fields, "StepDataErroredRetentionHours", self.errored_retention_h)
        webhook_url = _webhook_url(fields)
        self.success_retention_h, self.errored_retention_h = success_h, errored_h
        self.name = fields.text("name") or self.name
        self.timezone = fields.text("timezone") or self.timezone
        self.next_bill_at = fields.text("nextbilldateutc") or self.next_bill_at
        if "description" in fields:
            self.description = fields.text("description")
        if "auditinfo" in fields:
            self.audit_info = fields.text("auditinfo")
        if "taskauditinfo" in fields:
            self.task_audit_info = fields.text("taskauditinfo")
        if "transactionerrorwebhookenabled" in fields:
            self.is_webhook_enabled = fields.flag("transactionerrorwebhookenabled")
        if "transactionerrorwebhookurl" in fields:
            self.webhook_url = webhook_url
        if "transactionerrorwebhookincludewarnings" in fields:
            self.webhook_includes_warnings = fields.flag("transactionerrorwebhookincludewarnings")

    def as_json(self) -> dict[str, Any]:
        return {
            "Id": self.id,
            "Name": self.name,
            "Description": self.description,
            "CreatedDate": round_trip(self.created_at),
            "Timezone": self.timezone,
            "AuditInfo": self.audit_info,
            "TaskAuditInfo": self.task_audit_info,
            "NextBillDateUtc": self.next_bill_at or round_trip(self.created_at + BILLING_PERIOD_S),
            "StepDataSuccessRetentionHours": self.success_retention_h,
            "StepDataErroredRetentionHours": self.errored_retention_h,
            "TransactionErrorWebhookEnabled": self.is_webhook_enabled,
            "TransactionErrorWebhookUrl": self.webhook_url,
            "TransactionErrorWebhookIncludeWarnings": self.webhook_includes_warnings,
        }


def _masked(value: str | None) -> str | None:
    """What is not there, or empty, is shown as it is."""
    return MASK if value else value


def _retention_h(fields: Fields, name: str, current: int | None) -> int | None:
    hours = fields.whole(name.lower(), current)
    if hours is not None and hours < 0:
        raise Refused(400, f"{name} ({hours}): must be non negative")
    return None if hours is None else min(hours, MOST_RETENTION_HOURS)


def _webhook_url(fields: Fields) -> str | None:
    # Judged from the body alone, whatever is stored [live-test].
    url = fields.text("transactionerrorwebhookurl")
    is_enabled = fields.flag("transactionerrorwebhookenabled")
    if is_enabled and not url:
        raise Refused(400, "Transaction Error Webhook enabled: Transaction Error Webhook URL must be defined")
    if url and "://" not in url:
        url = f"https://{url}"
    if is_enabled and url and not url.partition("://")[2].strip():
        raise Refused(400, f"{url} is not a valid URL")
    return url or None
