"""Where scenes are played: one simulator and one database for all, accounts of their own for each."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tests.end_to_end.any_world.evidence import Evidence, Held, Holding
from tests.end_to_end.any_world.scenes import (
    MAIL,
    NEW_ACCOUNT,
    PROPERTIES,
    SECRETS,
    THERE,
    Deed,
    Scene,
    Thing,
)
from tests.end_to_end.harness import Rig
from worker.domain.options import RunOptions
from worker.simulator.accounts import AccountConnector
from worker.simulator.admin import Admin
from worker.simulator.server import SimulatorThread
from worker.simulator.switches import Switches
from worker.simulator.world import Install, World
from worker.store.session import Engine, reading
from worker.store.tables import items, outcome_tallies

QUICK: Mapping[str, Any] = {
    "cyclr_timeout_s": 5,
    "cyclr_settle_s": 0.05,
    "cyclr_retry_base_s": 0.01,
    "cyclr_pause_above_percent": 100,
}


def _plan(admin: Admin, scene: Scene, account_id: str, deed: Deed) -> None:
    """What the admin needs for it; `choice` says to which connector, and which value."""
    things = scene.things[deed.account]
    thing = things[deed.choice % len(things)] if things else None
    connector = thing.connector if thing else MAIL
    name, values = list(PROPERTIES[connector].items())[deed.choice % len(PROPERTIES[connector])]
    more: Mapping[str, Mapping[str, str]] = {
        "set_property": {"name": name, "value": values[deed.choice % len(values)]},
        "remove_property": {"name": name},
        "set_credential": {"auth_value": THERE[connector][deed.choice % len(THERE[connector])]},
        "describe": {"description": "an admin's"},
        "rename": {"name": f"Old {deed.choice}"},
        "install": {"connector": connector, "name": (connector, f"{connector} 2", "Main")[deed.choice % 3]},
    }
    to = thing.name if thing and deed.do != "install" else None
    admin.plan(deed.do, account_id=account_id, nth=deed.nth, moment="before", to=to, **more.get(deed.do, {}))


class AnyRig(Rig):
    """What holds at its end is asserted for each scene instead."""

    def _assert_nothing_twice(self) -> None:
        pass


class Stage:
    def __init__(self, folder: Path, engine: Engine, simulator: SimulatorThread) -> None:
        self.rig = AnyRig(folder, engine, simulator, **QUICK)
        self.rig.secrets |= SECRETS
        self.endings: Counter[str] = Counter()
        self._numbers = count(1)

    def play(self, scene: Scene) -> Evidence:
        """What came of it, once its job has ended."""
        number = next(self._numbers)
        ids = {account: f"{account}-{number}" for account in {*scene.things, NEW_ACCOUNT}}
        seeded = self.rig.simulator.call(lambda world: _prepare(world, scene, ids))
        self.rig.simulator.admin.clear()
        for deed in scene.deeds:
            if deed.account in scene.things:
                _plan(self.rig.simulator.admin, scene, ids[deed.account], deed)
        return self._run(scene, ids, seeded)

    def play_again(self, evidence: Evidence) -> Evidence:
        """The same file and command, in the world that the first job left."""
        held = {account: evidence.holding(account) for account in evidence.ids}
        there = {
            account: holding for account, holding in held.items() if holding or account in evidence.seeded
        }
        return self._run(evidence.scene, evidence.ids, there)

    def _run(self, scene: Scene, ids: Mapping[str, str], seeded: Mapping[str, Holding]) -> Evidence:
        rig, ledger = self.rig, self.rig.ledger
        evidence = Evidence(scene, ids, seeded, ledger, len(ledger.calls), len(ledger.effects))
        cells = [line.cells(ids[line.account]) for line in scene.lines]
        asked = {"no_look": False, "operation": scene.operation} | dict.fromkeys(scene.options, True)
        known = {each.name for each in fields(RunOptions)}
        job_id = rig.load(*cells, **{name: value for name, value in asked.items() if name in known})
        rig.run(job_id)
        rig.job_ids.remove(job_id)
        mine = select(items).where(items.c.job_id == job_id).order_by(items.c.row_number)
        counted = select(outcome_tallies).where(outcome_tallies.c.job_id == job_id)
        with reading(rig.engine) as connection:
            evidence.items = list(connection.execute(mine))
            tallies = {(row.outcome, row.field): row[3] for row in connection.execute(counted)}
        self._assert_counters_hold(job_id, evidence, tallies)
        self._assert_no_secret_in(evidence)
        self.endings.update(item.outcome or item.code for item in evidence.items)
        return evidence

    def _assert_counters_hold(
        self, job_id: str, evidence: Evidence, tallies: Mapping[tuple[str, str], int]
    ) -> None:
        job = self.rig.job(job_id)
        states = Counter(item.state for item in evidence.items)
        assert (job.total, job.installed, job.failed) == (
            len(evidence.scene.lines),
            states["installed"],
            states["failed"],
        )
        grouped: Counter[tuple[str, str]] = Counter()
        for item in evidence.items:
            if item.outcome:
                grouped.update((item.outcome, name) for name in {"", *(item.changed or ())})
        assert tallies == grouped

    def _assert_no_secret_in(self, evidence: Evidence) -> None:
        """Nothing that is stored of these rows, or told of them, shows a secret: the files as a whole are read at the end."""
        texts = [repr({**item._mapping, "sealed": None, "undo": None}) for item in evidence.items]
        for secret in SECRETS:
            assert not any(secret in text for text in texts), "a secret stands in an item"


def _prepare(world: World, scene: Scene, ids: Mapping[str, str]) -> dict[str, Holding]:
    world.switches = Switches()
    world.switches.set(scene.switches)
    plan = world.faults
    plan.clear()
    for trouble in scene.troubles:
        if trouble.account in ids:
            plan.add(trouble.fault, call=trouble.call, account_id=ids[trouble.account], count=trouble.count)
    seeded: dict[str, Holding] = {}
    for account, things in scene.things.items():
        world.add_account(ids[account])
        seeded[account] = {}
        for thing in things:
            made = _put(world, ids[account], thing)
            seeded[account][made.id] = Held(thing.connector, made.state())
    return seeded


def _put(world: World, account_id: str, thing: Thing) -> AccountConnector:
    release = world.releases_named(thing.connector, None)[0]
    wanted = Install(
        name=thing.name,
        description=thing.description,
        auth_value=thing.auth_value,
        properties=tuple(thing.properties.items()),
    )
    made = world.add_installed(account_id, release, wanted)
    made.is_authenticated = made.is_authenticated or thing.is_authorised
    return made
