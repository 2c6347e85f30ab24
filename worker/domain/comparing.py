"""A row beside what its account has: how each field stands, and what may be done about it.

A field is named as the file's column is: each column of the credential, `property.X`, `description`. Nothing here calls anybody,
and no value leaves: what is said of a field is its name.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from worker.domain.connectors import AccountConnector
from worker.domain.rows import AUTH_COLUMNS, PROPERTY_PREFIX, auth_value
from worker.domain.states import Code, Outcome
from worker.domain.steps import CREDENTIAL, NEW_PROPERTY, PROPERTY, StepKind
from worker.domain.words import NOT_SHOWN

DESCRIPTION = "description"
_LIVING_COLUMNS = ("access_token", "refresh_token")
_MASK = re.compile("[*•●]{3}")  # also of what is shown in part


class FieldState(StrEnum):
    """How a field stands at Cyclr beside the row's value."""

    SAME = "same"
    OTHER = "other"
    NOT_SHOWN = "not_shown"
    MISSING = "missing"


def fields_of(secrets: Mapping[str, str], description: str | None) -> dict[str, str]:
    """All that a row asks for: field -> value."""
    return dict(secrets) | ({} if description is None else {DESCRIPTION: description})


def credential_of(asked: Iterable[str]) -> tuple[str, ...]:
    """Those of the fields that are its credential."""
    return tuple(name for name in AUTH_COLUMNS if name in asked)


def is_living(asked: Mapping[str, str]) -> bool:
    """Whether Cyclr renews the row's credential by itself: then it is another one soon."""
    if any(name in asked for name in _LIVING_COLUMNS):
        return True
    tokens = _parsed(auth_value(asked) or "")
    return isinstance(tokens, dict) and "AccessToken" in tokens


def is_same(shown: str, asked: str) -> bool:
    """Whether two texts are one value: trimmed, true and false without case, JSON as JSON."""
    shown, asked = shown.strip(), asked.strip()
    if shown == asked:
        return True
    if {shown.lower(), asked.lower()} <= {"true", "false"}:
        return shown.lower() == asked.lower()
    of_shown = _parsed(shown)
    # As text again, since to Python true is 1.
    return of_shown is not None and _as_text(of_shown) == _as_text(_parsed(asked))


def _parsed(text: str) -> object:
    """The list or object that a text is; None for any other."""
    if not text.startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _as_text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def shown_value(shown: AccountConnector, name: str) -> str | None:
    """What Cyclr shows of a field; None for nothing."""
    if name == DESCRIPTION:
        return shown.description
    if name.startswith(PROPERTY_PREFIX):
        entry = shown.find_property(name.removeprefix(PROPERTY_PREFIX))
        return entry.value if entry else None
    return shown.auth_value


def is_shown(value: str | None) -> bool:
    """Whether what stands there is the value itself."""
    return bool(value) and not _MASK.search(value or "")


def compare(
    shown: AccountConnector, asked: Mapping[str, str], shown_otherwise: Collection[str] = ()
) -> dict[str, FieldState]:
    """How each field of a row stands. `shown_otherwise`: those that Cyclr is known to show otherwise than they were sent."""
    credential = _compare_credential(shown, asked, shown_otherwise)
    return {
        name: credential if name in AUTH_COLUMNS else _compare(shown, name, value, shown_otherwise)
        for name, value in asked.items()
    }


def _compare(shown: AccountConnector, name: str, asked: str, shown_otherwise: Collection[str]) -> FieldState:
    value = shown_value(shown, name) or ""
    if is_same(value, asked):
        return FieldState.SAME
    if name in shown_otherwise:
        return FieldState.NOT_SHOWN
    if name == DESCRIPTION:
        return FieldState.OTHER
    if not value:
        return FieldState.MISSING
    return FieldState.OTHER if is_shown(value) else FieldState.NOT_SHOWN


def _compare_credential(
    shown: AccountConnector, asked: Mapping[str, str], shown_otherwise: Collection[str]
) -> FieldState:
    value, is_authenticated = shown.auth_value or "", shown.is_authenticated
    is_alive = is_living(asked)
    if not is_authenticated and (is_alive or not value):
        return FieldState.MISSING
    if is_alive:
        return FieldState.NOT_SHOWN  # it may be renewed since: whatever is shown says nothing
    if value and is_same(value, auth_value(asked) or ""):
        return FieldState.SAME if is_authenticated else FieldState.MISSING
    if not is_shown(value) or any(name in shown_otherwise for name in credential_of(asked)):
        return FieldState.NOT_SHOWN
    return FieldState.OTHER


@dataclass(frozen=True, slots=True)
class Rights:
    """What may be done to what is there. `is_ours`: this row has made it, so it is brought to the row whatever the options say.
    `overwrites`, `replaces_tokens`: as the options say. `knows_method`: by which method it was installed is known.
    """

    is_ours: bool = False
    overwrites: bool = False
    replaces_tokens: bool = False
    knows_method: bool = True

    @property
    def may_replace(self) -> bool:
        return self.is_ours or self.overwrites


@dataclass(frozen=True, slots=True)
class OwnCalls:
    """What this row's own calls have come to. `is_set`: fields that Cyclr's answers say are set. `before`: how each field was
    before the first call that may have set it. `former_auth_value`: what was shown of the credential then, None for nothing;
    `knows_former`: whether that is known.
    """

    is_set: frozenset[str] = frozenset()
    before: Mapping[str, str] = field(default_factory=dict)
    former_auth_value: str | None = None
    knows_former: bool = False

    def was(self, name: str) -> str | None:
        """None where no call may have set it."""
        return self.before.get(name)


@dataclass(frozen=True, slots=True)
class Change:
    """One call: what it sets. `property_id`: of the property that is there."""

    kind: StepKind
    fields: tuple[str, ...]
    property_id: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """`changes`: all that is to be done, in its order. `differs`: what the row asks otherwise, and is left alone. `refusal`: why
    nothing at all is done. `as_asked`: what stands as the row asks, or counts as that.
    """

    changes: tuple[Change, ...] = ()
    differs: tuple[str, ...] = ()
    refusal: Code | None = None
    as_asked: tuple[str, ...] = field(default=(), compare=False)


def decide(
    shown: AccountConnector,
    asked: Mapping[str, str],
    rights: Rights,
    past: OwnCalls,
    shown_otherwise: Collection[str] = (),
) -> Decision:
    """What is done to an account connector for a row that asks for these fields. `shown_otherwise`: as of `compare`."""
    standings = compare(shown, asked, shown_otherwise)
    tokens = credential_of(asked) if is_living(asked) else ()
    if not _tell(shown, standings, rights, past, tokens):
        return Decision(differs=credential_of(asked), refusal=Code.OUTCOME_UNKNOWN)
    others = [name for name, standing in standings.items() if standing is FieldState.OTHER]
    # All or nothing: a key is not set beside somebody else's address. A description is nobody's address.
    if any(name != DESCRIPTION for name in others) and not rights.may_replace:
        return Decision(differs=tuple(others), refusal=Code.DIFFERS)
    to_set = [
        name
        for name, standing in standings.items()
        if _is_to_set(name, standing, rights, past, is_token=name in tokens)
    ]
    if credential_of(to_set) and not (rights.knows_method or rights.is_ours):
        return Decision(differs=credential_of(to_set), refusal=Code.METHOD_UNKNOWN)
    as_asked = tuple(name for name, standing in standings.items() if standing is FieldState.SAME)
    left = [name for name in standings if name not in (*to_set, *past.is_set, *as_asked)]
    differs = tuple(_named(name, standings[name]) for name in left)
    return Decision(_changes(shown, to_set), differs, as_asked=as_asked)


def _is_to_set(name: str, standing: FieldState, rights: Rights, past: OwnCalls, *, is_token: bool) -> bool:
    """Whether one field is to be set, where nothing is in the way of the row."""
    match standing:
        case FieldState.SAME:
            return False
        case FieldState.MISSING:
            # A credential that does not authenticate does not do so by being sent once more.
            return name not in AUTH_COLUMNS or name not in past.is_set
        case FieldState.OTHER:
            return rights.may_replace
        case FieldState.NOT_SHOWN if name in past.is_set:
            return False
        case FieldState.NOT_SHOWN if past.was(name) is not None:
            return True  # it was to be replaced, and no answer says that it is
        case FieldState.NOT_SHOWN if is_token:
            return rights.overwrites and rights.replaces_tokens
        case FieldState.NOT_SHOWN:
            return rights.may_replace


def _tell(
    shown: AccountConnector,
    standings: dict[str, FieldState],
    rights: Rights,
    past: OwnCalls,
    tokens: Collection[str],
) -> bool:
    """Whether it can be told of what is not shown, and what a call without an answer may have set, that it was: then it stands
    as asked. `tokens`: the fields of a living credential, which is sent once a row.

    Where there was nothing then, what is there now counts as that. Of any other value that may be replaced it need not be told:
    it is set once more.
    """
    knows_others = past.knows_former and past.former_auth_value != shown.auth_value
    knows_the_same = past.knows_former and not knows_others and is_shown(shown.auth_value)
    for name, standing in standings.items():
        was = past.was(name)
        if was is None or name in past.is_set or standing is not FieldState.NOT_SHOWN:
            continue
        is_token = name in tokens
        was_missing = was == FieldState.MISSING
        if (was_missing and (is_token or not rights.may_replace)) or (is_token and knows_others):
            standings[name] = FieldState.SAME
        elif is_token and not knows_the_same:
            return False
    return True


def _changes(shown: AccountConnector, to_set: Sequence[str]) -> tuple[Change, ...]:
    """One call for each property, and one for credential and description: properties first, as a credential may need them."""
    set_so: list[Change] = []
    added: list[Change] = []
    for name in to_set:
        if name.startswith(PROPERTY_PREFIX):
            there = shown.find_property(name.removeprefix(PROPERTY_PREFIX))
            if there is None:
                added.append(Change(NEW_PROPERTY, (name,)))
            else:
                set_so.append(Change(PROPERTY, (name,), there.id))
    rest = tuple(name for name in to_set if not name.startswith(PROPERTY_PREFIX))
    return (*set_so, *added, *([Change(CREDENTIAL, rest)] if rest else []))


def _named(name: str, standing: FieldState) -> str:
    return name + NOT_SHOWN if standing is FieldState.NOT_SHOWN else name


def outcome_of(before: Mapping[str, str], changed: Collection[str]) -> Outcome:
    """How a row ends whose account connector was there. `changed`: the fields that were set, which stood so before."""
    if not changed:
        return Outcome.UNCHANGED
    is_filled_in = all(before.get(name) == FieldState.MISSING for name in changed)
    return Outcome.FILLED_IN if is_filled_in else Outcome.UPDATED
