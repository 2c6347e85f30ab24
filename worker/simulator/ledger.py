"""What reached the stand-in and what it did, with times: the evidence of the tests.

It only grows. What is told of it to other processes holds no credential and no property's value: each is told as its
SHA-256. In memory it has the values themselves.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

State = dict[str, str | None]
"""What an account connector holds, or what a call names of it: `Name`, `Description`, `AuthValue`, `Authenticated`
(`true` or `false`), `property.REGION` and so on. A second property of a name is `property.REGION (its id)`."""

PROPERTY = "property."
PLAIN = frozenset(
    {"Name", "Description", "Authenticated", "AuthenticationId", "IsPartnerIntegrationConnector"}
)

By = Literal["caller", "admin", "cyclr"]

CHANGING = frozenset(
    {
        "create_account",
        "change_account",
        "delete_account",
        "install",
        "change_account_connector",
        "remove_account_connector",
        "deauthenticate",
        "add_property",
        "change_property",
        "remove_property",
        "authorise",
    }
)


@dataclass(slots=True)
class Call:
    """One request. Times are seconds since the epoch.

    `answered_at`: when a whole answer was handed over, None where none was (reset, cut body, silence, client gone).
    `ended_at`: when the stand-in was done with it, None while it is at work. `fault`: the kind of the fault that
    was applied. `connector`: the id or name in the path of an install. `name`: the Name in the body of an install or
    of a new account. `page`: as asked. `caller_port`: where the connection that it came by begins. `retry_after`: the
    header of the answer, as it was sent. `account_connector_id`: of the path; of an install, once it took effect.
    `named`: all that the body of a call that changes something names, other fields than those of a `State` by their
    names in lower case; a property that is removed and the credential that is dropped are named with None.
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
    status: int | None = None
    fault: str | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    caller_port: int | None = None
    retry_after: str | None = None
    account_connector_id: int | None = None
    named: State = field(default_factory=dict, repr=False)

    @property
    def target(self) -> tuple[str, str] | None:
        """(account id, Name without case) of an install; None for other calls and where no Name was sent."""
        if self.kind != "install" or self.account_id is None or self.name is None:
            return None
        return self.account_id, self.name.strip().lower()

    @property
    def property_names(self) -> tuple[str, ...]:
        """Those of the properties that the body names, in its order."""
        return tuple(name.removeprefix(PROPERTY) for name in self.named if name.startswith(PROPERTY))


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that happened in the stand-in.

    `kind`: installed, changed, authorised, deauthenticated, removed, refreshed, account_created, account_changed,
    account_deleted. `connector`: the connector's name. `by`: whether a caller asked for it, the admin did it, or
    Cyclr itself. `call`: the index of the call. `before`, `after`: what the account connector held; None where it was
    not there, and for effects on an account.
    """

    kind: str
    at: float
    account_id: str
    name: str | None = None
    connector: str | None = None
    account_connector_id: int | None = None
    by: By = "caller"
    call: int | None = None
    before: State | None = field(default=None, repr=False)
    after: State | None = field(default=None, repr=False)

    @property
    def changed(self) -> frozenset[str]:
        """The fields that are there on one side only, or with another value."""
        before, after = self.before or {}, self.after or {}
        return frozenset(dict(before.items() ^ after.items()))


class Change(NamedTuple):
    """A call that was to change something, with what came of it; or what the admin or Cyclr itself changed.

    `kind`: of the call; where there was none, of the effect. `took_effect`: else `before` and `after` are None.
    `at`: of the effect, else when the call came. `call`: its index.
    """

    kind: str
    by: By
    account_id: str | None
    account_connector_id: int | None
    named: State
    took_effect: bool
    before: State | None
    after: State | None
    at: float
    call: int | None


class Ledger:
    """Calls and effects in the order they came. Reading the lists is safe from any thread: entries only join at the end."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.calls: list[Call] = []
        self.effects: list[Effect] = []
        self._answered: Call | None = None

    def receive(self, method: str, path: str, kind: str) -> Call:
        call = Call(len(self.calls), self.now(), method, path, kind)
        self.calls.append(call)
        return call

    @contextmanager
    def answering(self, call: Call) -> Iterator[None]:
        """What is recorded within is this call's."""
        self._answered = call
        try:
            yield
        finally:
            self._answered = None

    def record(self, effect: Effect) -> None:
        call = self._answered
        if call is not None:
            effect = replace(effect, call=call.index)
            call.account_connector_id = effect.account_connector_id
        self.effects.append(effect)

    def calls_of(self, kind: str, account_id: str | None = None) -> list[Call]:
        """Calls of a kind, of one account where one is named."""
        return [c for c in self.calls if c.kind == kind and account_id in (None, c.account_id)]

    def effects_of(self, kind: str, account_id: str | None = None) -> list[Effect]:
        return [e for e in self.effects if e.kind == kind and account_id in (None, e.account_id)]

    def changes(self, account_id: str | None = None) -> list[Change]:
        """One for each call that was to change something, and one for each change that nobody called for, as they took effect.

        A call that has not ended may take effect yet.
        """
        effects, calls = list(self.effects), list(self.calls)
        by_index: dict[int | None, Call] = {call.index: call for call in calls}
        changes = [_of_effect(effect, by_index.get(effect.call)) for effect in effects]
        answered = {effect.call for effect in effects}
        changes += [_of_nothing(c) for c in calls if c.kind in CHANGING and c.index not in answered]
        return sorted(
            (change for change in changes if account_id in (None, change.account_id)),
            key=lambda change: change.at,
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """How many calls, effects and faults of each kind."""
        return {
            "calls": dict(Counter(call.kind for call in self.calls)),
            "effects": dict(Counter(effect.kind for effect in self.effects)),
            "faults": dict(Counter(call.fault for call in self.calls if call.fault)),
        }

    def since(self, call: int, effect: int) -> dict[str, Any]:
        """All from these indexes on, without values, and the indexes to ask for next."""
        return {
            "calls": [_told(asdict(entry), "named") for entry in self.calls[call:]],
            "effects": [_told(asdict(entry), "before", "after") for entry in self.effects[effect:]],
            "next_call": len(self.calls),
            "next_effect": len(self.effects),
        }


def fingerprint(value: str | None) -> str | None:
    """The SHA-256 that stands for an AuthValue or a property's value, in hex; None for none."""
    return None if value is None else hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()


def without_values(state: Mapping[str, str | None]) -> State:
    """A state with fingerprints of its values, but for those of the fields that are no secret."""
    return {name: value if name in PLAIN else fingerprint(value) for name, value in state.items()}


def _told(entry: dict[str, Any], *states: str) -> dict[str, Any]:
    return entry | {name: without_values(entry[name]) for name in states if entry[name] is not None}


def _of_effect(effect: Effect, call: Call | None) -> Change:
    return Change(
        effect.kind if call is None else call.kind,
        effect.by,
        effect.account_id,
        effect.account_connector_id,
        {} if call is None else call.named,
        True,
        effect.before, effect.after, effect.at, effect.call,
    )  # fmt: skip


def _of_nothing(call: Call) -> Change:
    return Change(
        call.kind, "caller", call.account_id, call.account_connector_id, call.named, False,
        None, None, call.received_at, call.index,
    )  # fmt: skip
