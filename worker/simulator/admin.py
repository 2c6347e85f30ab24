"""Somebody at Cyclr's console, who changes things between two calls of ours: as a test scripts it, or by dice."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from worker.simulator.accounts import Account, AccountConnector
from worker.simulator.binding import Fields
from worker.simulator.faults import ANY, Rule
from worker.simulator.world import Install, World

Moment = Literal["before", "after"]
ANYTHING = "anything"


@dataclass(frozen=True, slots=True)
class Deed:
    """What the admin does, just before or after Cyclr does what a call asks for.

    `do`: one of `DEEDS`, or `anything`. `to`: the Name of the account connector that it is done to, None for the oldest.
    `more`: what the deed needs beside.
    """

    do: str
    moment: Moment
    to: str | None
    more: Mapping[str, Any]


class Admin:
    """What is planned in one world. All that fits a call is done, in the order in which it was planned.

    Planning is safe from any thread.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._plans: list[Rule[Deed]] = []
        self._made = 0

    def plan(
        self,
        do: str,
        *,
        call: str = ANY,
        account_id: str | None = None,
        nth: int = 1,
        count: int | None = 1,
        moment: Moment = "after",
        share: float = 1.0,
        seed: int = 1,
        to: str | None = None,
        **more: Any,
    ) -> Rule[Deed]:
        """The `nth` call of a kind in an account, and those after it up to `count`, is when it is done.

        `share`: of these calls, by a dice of `seed`. `moment`: `after`: before the caller has the answer. Without
        account: in whichever the call is for. `more`: see `DEEDS`. Raises: `ValueError`.
        """
        if do not in DEEDS and do != ANYTHING:
            raise ValueError(f"do: expected anything or one of {', '.join(sorted(DEEDS))}, got {do}")
        if moment not in ("before", "after"):
            raise ValueError(f"moment: expected before or after, got {moment}")
        expected = NEEDED.get(do, frozenset())
        if more.keys() != expected:
            raise ValueError(f"{do}: expected {', '.join(sorted(expected)) or 'nothing'} beside, got {more}")
        self._made += 1
        rule = Rule(
            self._made,
            Deed(do, moment, to, more),
            call,
            account_id,
            share,
            nth - 1,
            count,
            random.Random(seed),
        )
        self._plans.append(rule)
        return rule

    def plans(self) -> list[Rule[Deed]]:
        return list(self._plans)

    def clear(self) -> None:
        self._plans.clear()

    def act(self, moment: Moment, call: str, account_id: str | None) -> None:
        """Does what is planned for this moment of a call for an account."""
        account = self._world.accounts.get(account_id or "")
        if account is None:
            return
        for rule in self.plans():
            if rule.what.moment != moment or rule.account_id not in (None, account.id):
                continue
            if rule.befalls(call):
                with self._world.acting("admin"):
                    self._do(rule, account)

    def _do(self, rule: Rule[Deed], account: Account) -> None:
        deed = rule.what
        connectors = self._world.account_connectors(account)
        if deed.do == ANYTHING:
            chosen = rule.dice.choice(connectors) if connectors else None
            do, more = _anything(self._world, chosen, rule.dice, f"admin-{rule.hits}")
        else:
            chosen = next((c for c in connectors if deed.to in (None, c.name)), None)
            do, more = deed.do, deed.more
        if chosen is not None or do == "install":
            DEEDS[do](self._world, account, chosen, **more)


def _set_property(
    world: World, account: Account, connector: AccountConnector, name: str, value: str | None
) -> None:
    entry = connector.find_property(name)
    if entry is None:
        world.add_property(account, connector, name, value)
    else:
        world.change_property(account, connector, entry, Fields({"value": value}))


def _remove_property(world: World, account: Account, connector: AccountConnector, name: str) -> None:
    entry = connector.find_property(name)
    if entry is not None:
        world.remove_property(account, connector, entry)


def _set_credential(world: World, account: Account, connector: AccountConnector, auth_value: str) -> None:
    world.change(account, connector, Fields({"authvalue": auth_value}), None)


def _describe(world: World, account: Account, connector: AccountConnector, description: str | None) -> None:
    world.change(account, connector, Fields({"description": description}), None)


def _rename(world: World, account: Account, connector: AccountConnector, name: str) -> None:
    if world.is_free(account, name):
        world.rename(account, connector, name)


def _install(world: World, account: Account, _: AccountConnector | None, connector: str, name: str) -> None:
    release = world.find_release(connector)
    if release is not None and world.is_free(account, name):
        world.install(account, release, Install(name=name))


DEEDS: Mapping[str, Callable[..., None]] = {
    "set_property": _set_property,
    "remove_property": _remove_property,
    "set_credential": _set_credential,
    "describe": _describe,
    "rename": _rename,
    "remove": World.remove,
    "deauthenticate": World.deauthenticate,
    "install": _install,
}
NEEDED: Mapping[str, frozenset[str]] = {
    "set_property": frozenset({"name", "value"}),
    "remove_property": frozenset({"name"}),
    "set_credential": frozenset({"auth_value"}),
    "describe": frozenset({"description"}),
    "rename": frozenset({"name"}),
    "install": frozenset({"connector", "name"}),
}


def _anything(
    world: World, connector: AccountConnector | None, dice: random.Random, mark: str
) -> tuple[str, Mapping[str, Any]]:
    """A deed by dice, and what it needs beside. `mark`: what its values and Names are made of."""
    if connector is None or (do := dice.choice(sorted(DEEDS))) == "install":
        name = dice.choice(
            sorted(release.name for release in world.releases.values() if not release.is_draft)
        )
        return "install", {"connector": name, "name": dice.choice((name, f"{name} {mark}"))}
    declared = {p.target_name for p in connector.release.parameters if p.is_account_property}
    name = dice.choice(sorted(declared | {entry.name for entry in connector.properties.values()} | {"Admin"}))
    values: Mapping[str, Mapping[str, Any]] = {
        "set_property": {"name": name, "value": mark},
        "remove_property": {"name": name},
        "set_credential": {"auth_value": mark},
        "describe": {"description": mark},
        "rename": {"name": f"{connector.name} {mark}"},
    }
    return do, values.get(do, {})
