"""How a row ends where nothing fails and nobody else is about: the table of `run` and `update`, written from their page.

Nothing of the product is used here: what a value means is said a second time on purpose.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.end_to_end.any_world.scenes import DESK, Line, Scene

MASK = "********"
State = Mapping[str, str | None]  # of an account connector, as the ledger tells it
Standing = Literal["same", "other", "not_shown", "missing"]


@dataclass(frozen=True)
class Ending:
    """`how`: the outcomes or codes of which it must be one. `changed`: the columns that are set in what was there.
    `differs`: those that are named, None where it does not matter."""

    how: frozenset[str]
    changed: frozenset[str] = frozenset()
    differs: frozenset[str] | None = None

    @classmethod
    def one_of(
        cls, *how: str, changed: frozenset[str] = frozenset(), differs: frozenset[str] | None = None
    ) -> "Ending":
        return cls(frozenset(how), changed, differs)


def ends(line: Line, there: Sequence[tuple[str, State]] | None, scene: Scene) -> Ending:
    """`there`: (connector, state as a look shows it) of all that its account has; None where there is no such account."""
    if there is None:
        return Ending.one_of("created")
    if "no_look" in scene.options and line.name.lower() not in {_name(state).lower() for _, state in there}:
        return Ending.one_of("created")
    named = [(connector, state) for connector, state in there if _name(state) == line.name] or [
        (connector, state) for connector, state in there if _name(state).lower() == line.name.lower()
    ]
    matching = [state for connector, state in named if connector == line.connector]
    if len(matching) > 1:
        return Ending.one_of("ambiguous")
    if matching:
        return _is_there(line, matching[0], scene)
    if named:
        return Ending.one_of("name_in_use")
    taken = scene.names(line.account)
    elsewhere = [connector for connector, state in there if _name(state).lower() not in taken]
    if scene.operation == "update":
        return Ending.one_of(
            "not_there", *(["present_under_other_name"] if line.connector in elsewhere else [])
        )
    if line.connector in elsewhere and not {"beside", "no_look"} & scene.options:
        return Ending.one_of("present_under_other_name")
    return Ending.one_of("created")


def _is_there(line: Line, state: State, scene: Scene) -> Ending:
    stands = standings(line, state)
    description = stands.pop("description", None)
    told = {"description"} if description in ("other", "missing") else set()
    other = {name for name, standing in stands.items() if standing == "other"}
    missing = {name for name, standing in stands.items() if standing == "missing"}
    hidden = {name for name, standing in stands.items() if standing == "not_shown"}
    if scene.may_overwrite:
        wanted = other | missing | hidden
        if line.is_living and "AuthValue" not in missing:
            wanted = wanted - {"AuthValue"} | ({"AuthValue"} if scene.may_replace_tokens else set())
        wanted, unwanted = wanted | told, set[str]()
    else:
        wanted, unwanted = missing, {f"{name} (not shown)" for name in hidden} | told
        if other:
            return Ending.one_of(
                "differs", *_method(line, wanted, scene), differs=columns(line, other | told)
            )
    if _method(line, wanted, scene):
        return Ending.one_of("method_unknown")
    if not wanted:
        return Ending.one_of("unchanged", differs=columns(line, unwanted))
    all_missing = wanted <= missing
    how = ["filled_in"] if all_missing else ["updated"]
    if wanted - missing == {"description"} and description == "missing":
        how = ["filled_in", "updated"]  # an empty description is not on the page
    return Ending.one_of(*how, changed=columns(line, wanted), differs=columns(line, unwanted))


def _method(line: Line, wanted: set[str], scene: Scene) -> list[str]:
    """Cyclr does not show by which of its two methods this connector was installed."""
    is_unknown = line.connector == DESK and "AuthValue" in wanted and "assume_method" not in scene.options
    return ["method_unknown"] if is_unknown else []


def columns(line: Line, fields: set[str]) -> frozenset[str]:
    """The columns of the file that these fields are in."""
    named: set[str] = set()
    for name in fields:
        if name.startswith("AuthValue"):
            named |= {column + name.removeprefix("AuthValue") for column in line.credential_columns}
        else:
            named.add(name)
    return frozenset(named)


def standings(line: Line, state: State) -> dict[str, Standing]:
    """How what a row asks stands beside what is shown: of `AuthValue`, `description` and each `property.X` that it names."""
    found: dict[str, Standing] = {
        f"property.{name}": _of_property(value, state.get(f"property.{name}"))
        for name, value in line.properties.items()
    }
    if line.auth_value is not None:
        found["AuthValue"] = _of_credential(line, state)
    if line.description:
        shown = state.get("Description")
        found["description"] = "missing" if not shown else "same" if shown == line.description else "other"
    return found


def _of_property(asked: str, shown: str | None) -> Standing:
    if shown is None or not shown.strip():
        return "missing"
    if shown == MASK:
        return "not_shown"
    return "same" if is_same(asked, shown) else "other"


def _of_credential(line: Line, state: State) -> Standing:
    shown, is_authenticated = state.get("AuthValue"), state.get("Authenticated") == "true"
    if line.is_living:
        return "same" if is_authenticated else "missing"  # never compared
    if not shown:
        return "not_shown" if is_authenticated else "missing"
    if shown == MASK:
        return "not_shown"
    return "same" if is_same(line.auth_value or "", shown) else "other"


def is_same(asked: str, shown: str) -> bool:
    """Trimmed; true and false in any case; JSON as JSON."""
    one, two = asked.strip(), shown.strip()
    if one == two or (one.lower() in ("true", "false") and one.lower() == two.lower()):
        return True
    try:
        first, second = json.loads(one), json.loads(two)
    except ValueError:
        return False
    return isinstance(first, dict | list) and first == second


def as_shown(state: State, scene: Scene, *, is_read: bool = True) -> State:
    """The state with what this Cyclr hides hidden."""
    where = ("in_reads", "always") if is_read else ("always",)
    hidden: set[str] = set()
    if scene.switches.get("masks_auth_value") in where:
        hidden.add("AuthValue")
    if scene.switches.get("masks_sensitive") in where:
        hidden |= {"property.WebhookSecret", "property.ClientSecret"}
    return {name: MASK if name in hidden and value else value for name, value in state.items()}


def _name(state: State) -> str:
    return state["Name"] or ""
