"""The stand-in's own controls under /_sim/, for tests and demos in other processes. JSON in, JSON out.

Not a part of Cyclr. Calls to it are not in the ledger, and no fault befalls them.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from aiohttp import web

from worker.simulator.admin import Admin
from worker.simulator.catalogue import methods_from_json, parameters_from_json
from worker.simulator.faults import FAULTS, Rule
from worker.simulator.ledger import Ledger, fingerprint, without_values
from worker.simulator.world import Install, World

RULE_KEYS = frozenset({"call", "account_id", "share", "nth", "count", "seed"})

Controlled = Callable[[Mapping[str, Any]], dict[str, Any]]


class Control:
    """The controls of one world."""

    def __init__(self, world: World, ledger: Ledger, admin: Admin) -> None:
        self._world = world
        self._ledger = ledger
        self._admin = admin

    def add_to(self, app: web.Application) -> None:
        for method, name, control in (
            ("GET", "faults", self.list_faults),
            ("POST", "faults", self.add_fault),
            ("DELETE", "faults", self.clear_faults),
            ("GET", "admin", self.list_plans),
            ("POST", "admin", self.plan),
            ("DELETE", "admin", self.clear_plans),
            ("POST", "latency", self.set_latency),
            ("GET", "switches", self.list_switches),
            ("POST", "switches", self.set_switches),
            ("POST", "seed", self.seed),
            ("POST", "release", self.publish),
            ("POST", "revoke_tokens", self.revoke_tokens),
            ("GET", "ledger", self.read_ledger),
            ("GET", "installed", self.installed),
            ("GET", "counts", self.counts),
        ):
            app.router.add_route(method, f"/_sim/{name}", _handler(control))

    def add_fault(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`{"kind": a name in FAULTS, its arguments, "call"?, "account_id"?, "share"?, "nth"?, "count"?, "seed"?}`."""
        rule = {key: value for key, value in asked.items() if key in RULE_KEYS}
        arguments = {key: value for key, value in asked.items() if key not in RULE_KEYS and key != "kind"}
        if asked.get("kind") not in FAULTS:
            raise ValueError(f"kind: expected one of {', '.join(sorted(FAULTS))}, got {asked.get('kind')}")
        return {"id": self._world.faults.add(FAULTS[asked["kind"]](**arguments), **rule).id}

    def list_faults(self, _: Mapping[str, Any]) -> dict[str, Any]:
        """The rules in force: what they do to which calls, how often they did, and how often they will."""
        return {
            "faults": [
                {"id": rule.id, "kind": rule.what.kind, **_of_rule(rule)}
                for rule in self._world.faults.rules()
            ]
        }

    def clear_faults(self, _: Mapping[str, Any]) -> dict[str, Any]:
        self._world.faults.clear()
        return {}

    def plan(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`{"do": "anything" or a name in DEEDS, what it needs beside, "call"?, "account_id"?, "nth"?, "count"?,
        "moment"?, "share"?, "seed"?, "to"?}`: see `Admin.plan`."""
        return {"id": self._admin.plan(**asked).id}

    def list_plans(self, _: Mapping[str, Any]) -> dict[str, Any]:
        """What the admin is about to do, and how often it was done."""
        return {
            "plans": [{"id": rule.id, "do": rule.what.do, **_of_rule(rule)} for rule in self._admin.plans()]
        }

    def clear_plans(self, _: Mapping[str, Any]) -> dict[str, Any]:
        self._admin.clear()
        return {}

    def set_latency(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`{"low_s", "high_s"}`: every call takes a time between them."""
        self._world.faults.latency_s = (float(asked["low_s"]), float(asked["high_s"]))
        return {}

    def list_switches(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return asdict(self._world.switches)

    def set_switches(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Sets the fields of `Switches` that are named, and answers all of them."""
        self._world.switches.set(asked)
        return asdict(self._world.switches)

    def seed(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Adds what is not there: `accounts` [{"id", "name"?}], `connectors` [{"name", "version"?, "status"?,
        "methods"?, "parameters"?, "id"?}], `installed` [{"account_id", "connector", "name"?, "description"?,
        "auth_value"?, "authorised"?, "properties"?, "id"?}]. Answers the ids of both. A connector's `id` is its release's.
        """
        world = self._world
        for entry in asked.get("accounts", ()):
            world.add_account(entry["id"], entry.get("name"))
        ids = [self._seed_connector(entry) for entry in asked.get("connectors", ())]
        installed_ids = []
        for entry in asked.get("installed", ()):
            release = world.find_release(str(entry["connector"]))
            if release is None:
                raise ValueError(f"connector: expected one in the catalogue, got {entry['connector']}")
            wanted = Install(
                name=entry.get("name"),
                description=entry.get("description"),
                auth_value=entry.get("auth_value"),
                properties=tuple(dict(entry.get("properties", {})).items()),
            )
            made = world.add_installed(
                entry["account_id"],
                release,
                wanted,
                account_connector_id=entry.get("id"),
                is_authorised=entry.get("authorised", False),
            )
            installed_ids.append(made.id)
        return {"connector_ids": ids, "installed_ids": installed_ids}

    def publish(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`{"connector": name, "methods"?, "parameters"?}`: a new release; what is not given stays."""
        name = asked["connector"]
        release = self._world.publish(
            name,
            methods=methods_from_json(name, asked["methods"]) if "methods" in asked else None,
            parameters=parameters_from_json(asked["parameters"]) if "parameters" in asked else None,
        )
        return {"id": release.id}

    def revoke_tokens(self, _: Mapping[str, Any]) -> dict[str, Any]:
        self._world.tokens.revoke_all()
        return {}

    def read_ledger(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Query `since` and `effects_since`: the indexes to begin at."""
        return self._ledger.since(int(asked.get("since", 0)), int(asked.get("effects_since", 0)))

    def installed(self, _: Mapping[str, Any]) -> dict[str, Any]:
        """Account id -> what is installed in it, for the accounts that hold something. `state`: as in the ledger."""
        return {
            account.id: [
                {
                    "Id": connector.id,
                    "Name": connector.name,
                    "connector": connector.release.name,
                    "authenticated": connector.is_authenticated,
                    "auth_value_sha256": fingerprint(connector.auth_value),
                    "properties": [entry.name for entry in connector.properties.values()],
                    "state": without_values(connector.state()),
                }
                for connector in account.connectors.values()
            ]
            for account in self._world.accounts.values()
            if account.connectors
        }

    def counts(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **self._ledger.counts(),
            "accounts": len(self._world.accounts),
            "doubles": self._world.count_doubles(),
        }

    def _seed_connector(self, entry: Mapping[str, Any]) -> int:
        return self._world.add_connector(
            entry["name"],
            entry.get("version"),
            status=entry.get("status", "Approved"),
            methods=methods_from_json(entry["name"], entry.get("methods", [])),
            parameters=parameters_from_json(entry.get("parameters", [])),
            categories=entry.get("categories", ()),
            release_id=entry.get("id"),
        ).id


def _of_rule(rule: Rule[Any]) -> dict[str, Any]:
    return {"call": rule.call, "account_id": rule.account_id, "hits": rule.hits, "left": rule.left}


def _handler(control: Controlled) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            asked = json.loads(await request.read() or b"{}") if request.method != "GET" else request.query
            return web.json_response(control(asked))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)

    return handle
