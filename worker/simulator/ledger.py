"""What reached the stand-in and what it did, with times: the evidence of the tests.

It only grows, and it never holds a credential or a property's value: an AuthValue leaves its SHA-256.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Call:
    """One request. Times are seconds since the epoch.

    `answered_at`: when a whole answer was handed over, None where none was (reset, cut body, silence, client gone).
    `ended_at`: when the stand-in was done with it, None while it is at work. `fault`: the kind of the fault that
    was applied. `connector`: the id or name in the path of an install. `name`: the Name in the body of an install or
    of a new account. `page`: as asked. `caller_port`: where the connection that it came by begins. `retry_after`: the
    header of the answer, as it was sent.
    """

    index: int
    received_at: float
    method: str
    path: str
    kind: str
    account_id: str | None = None
    connector: str | None = None
    name: str | None = None
    page: str | None = None
    auth_value_sha256: str | None = None
    property_names: tuple[str, ...] = ()
    status: int | None = None
    fault: str | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    caller_port: int | None = None
    retry_after: str | None = None

    @property
    def target(self) -> tuple[str, str] | None:
        """(account id, Name without case) of an install; None for other calls and where no Name was sent."""
        if self.kind != "install" or self.account_id is None or self.name is None:
            return None
        return self.account_id, self.name.strip().lower()


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that the stand-in did.

    `kind`: installed, changed, authorised, deauthenticated, removed, account_created, account_changed,
    account_deleted.
    `connector`: the connector's name.
    """

    kind: str
    at: float
    account_id: str
    name: str | None = None
    connector: str | None = None
    account_connector_id: int | None = None


class Ledger:
    """Calls and effects in the order they came. Reading the lists is safe from any thread: entries only join at the end."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.calls: list[Call] = []
        self.effects: list[Effect] = []

    def receive(self, method: str, path: str, kind: str) -> Call:
        call = Call(len(self.calls), self.now(), method, path, kind)
        self.calls.append(call)
        return call

    def record(self, effect: Effect) -> None:
        self.effects.append(effect)

    def calls_of(self, kind: str, account_id: str | None = None) -> list[Call]:
        """Calls of a kind, of one account where one is named."""
        return [c for c in self.calls if c.kind == kind and account_id in (None, c.account_id)]

    def effects_of(self, kind: str, account_id: str | None = None) -> list[Effect]:
        return [e for e in self.effects if e.kind == kind and account_id in (None, e.account_id)]

    def counts(self) -> dict[str, dict[str, int]]:
        """How many calls, effects and faults of each kind."""
        return {
            "calls": dict(Counter(call.kind for call in self.calls)),
            "effects": dict(Counter(effect.kind for effect in self.effects)),
            "faults": dict(Counter(call.fault for call in self.calls if call.fault)),
        }

    def since(self, call: int, effect: int) -> dict[str, Any]:
        """All from these indexes on, and the indexes to ask for next."""
        return {
            "calls": [asdict(entry) for entry in self.calls[call:]],
            "effects": [asdict(entry) for entry in self.effects[effect:]],
            "next_call": len(self.calls),
            "next_effect": len(self.effects),
        }


def fingerprint(auth_value: str | None) -> str | None:
    """The SHA-256 that stands for an AuthValue, in hex; None for none."""
    return None if auth_value is None else hashlib.sha256(auth_value.encode("utf-8", "replace")).hexdigest()
