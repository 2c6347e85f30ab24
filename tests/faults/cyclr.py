"""The simulated Cyclr as a process of its own, on a loopback port, and what a test asks of it.

Its tokens follow from a seed, so that a test knows every one that it gave out, and can look for them where they must not be.
"""

import random
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from tests.end_to_end.fleet.fleet import CLIENT_ID, CLIENT_SECRET, CONNECTOR
from tests.end_to_end.processes.commands import ROOT, eventually
from tests.plain_http import http_client
from tests.started import start_process
from worker.simulator.catalogue import Parameter, method
from worker.simulator.ledger import Call, Effect, Ledger
from worker.simulator.server import serve
from worker.simulator.world import World

LATENCY_S = (0.1, 0.2)
ANSWERS_WITHIN_S = 60.0
OTHER_CONNECTOR = "Fabrikam Sheets"
# The calls that change what a row asks for.
CHANGING = ("install", "add_property", "change_account_connector")
# Every account has these from the start, so that what it holds may take several pages.
OTHERS = ("sheets a", "sheets b", "sheets c")


def world(seed: int) -> World:
    """A Cyclr with one connector to install, which checks no names, nor those of properties: doubles are possible."""
    made = World(credentials={CLIENT_ID: CLIENT_SECRET}, seed=seed)
    secret = Parameter(1, "WebhookSecret", "Signing secret", is_sensitive=True)
    made.add_connector(CONNECTOR, "3.0", methods=[method("ApiKey", seed="tests")], parameters=[secret])
    made.add_connector(OTHER_CONNECTOR, methods=[method("None", seed="tests")])
    made.switches.name_check = False
    made.switches.same_property = "duplicate"
    made.faults.latency_s = LATENCY_S
    return made


class StandIn:
    """What a test asks of that process. `ledger`: a copy, as of the last `read_on`."""

    def __init__(self, base_url: str, seed: int) -> None:
        self.base_url = base_url
        self.seed = seed
        self.ledger = Ledger(lambda: 0.0)
        self._http = http_client(base_url=base_url, timeout=ANSWERS_WITHIN_S)
        self._effects = 0

    def control(self, name: str, /, **asked: Any) -> dict[str, Any]:
        return self._json(self._http.post(f"/_sim/{name}", json=asked))

    def read(self, name: str, **asked: Any) -> dict[str, Any]:
        return self._json(self._http.get(f"/_sim/{name}", params=asked))

    def add_accounts(self, ids: Sequence[str], *, made_from_template: Sequence[str] = ()) -> None:
        """In those that were made from a template the connector is there, without its credential."""
        installed = [
            {"account_id": each, "connector": OTHER_CONNECTOR, "name": n} for each in ids for n in OTHERS
        ]
        installed += [{"account_id": each, "connector": CONNECTOR} for each in made_from_template]
        self.control("seed", accounts=[{"id": each} for each in ids], installed=installed)

    def add_fault(self, kind: str, *, count: int, **asked: Any) -> tuple[int, ...]:
        """The ids of rules that befall `count` installs, and a third as many of each other call that changes something."""
        counts = {call: count if call == "install" else -(-count // 3) for call in CHANGING}
        rules = [self.control("faults", kind=kind, call=call, count=n, **asked) for call, n in counts.items()]
        return tuple(int(rule["id"]) for rule in rules)

    def hits(self, rule_ids: Collection[int]) -> int:
        return sum(rule["hits"] for rule in self.read("faults")["faults"] if rule["id"] in rule_ids)

    def switches(self, **asked: Any) -> dict[str, Any]:
        """All switches, after setting those that are named."""
        return self.control("switches", **asked)

    def read_on(self) -> Ledger:
        """The ledger as of now."""
        begun = next((c.index for c in self.ledger.calls if c.ended_at is None), len(self.ledger.calls))
        news = self.read("ledger", since=begun, effects_since=self._effects)
        del self.ledger.calls[begun:]
        self.ledger.calls += [Call(**call) for call in news["calls"]]
        self.ledger.effects += [Effect(**effect) for effect in news["effects"]]
        self._effects = news["next_effect"]
        return self.ledger

    def installs(self) -> list[Call]:
        return self.read_on().calls_of("install")

    def tokens(self) -> set[str]:
        """Every token that it has given out (and as many that it never did: a fault may have eaten the call)."""
        dice = random.Random(self.seed)
        return {f"{dice.getrandbits(256):064x}" for _ in self.read_on().calls_of("token")}

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def close(self) -> None:
        self._http.close()


@contextmanager
def stand_in(seed: int) -> Iterator[StandIn]:
    """A running one, with an empty ledger and no account."""
    process = start_process(
        [sys.executable, "-m", "tests.faults.cyclr", str(seed)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        told = StandIn(process.stdout.readline().strip(), seed)
        eventually(lambda: told.read("counts"), "the simulator answers")
        try:
            yield told
        finally:
            told.close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _say(base_url: str) -> None:
    sys.stdout.write(base_url + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(0, world=world(int(sys.argv[1])), ready=_say)
