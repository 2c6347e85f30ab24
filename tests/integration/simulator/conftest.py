"""A small Cyclr on a loopback port, and a caller that speaks to it over real HTTP."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.plain_http import http_client
from worker.simulator.catalogue import Parameter, method
from worker.simulator.server import SimulatorThread
from worker.simulator.world import World

DEADLINE_S = 90.0

API_KEY = method("ApiKey", seed="tests")
BASIC = method("Basic", seed="tests")


def small_world(now: Callable[[], float] = time.time) -> World:
    world = World(now=now)
    for account_id in ("acme", "globex"):
        world.add_account(account_id)
    world.add_connector(  # release id 501
        "Northwind Mail",
        "v3",
        methods=[API_KEY, BASIC],
        parameters=[
            Parameter(1, "Region", "Data region", is_optional=False, choices=("EU", "US")),
            Parameter(2, "EndpointUrl", "Endpoint", is_account_property=False),
        ],
        categories=["Email"],
    )
    world.add_connector("Draft Chat", status="Draft")  # 502
    world.add_connector("Plain Tool", methods=[method("None", seed="tests")])  # 503
    return world


class Cyclr:
    """A caller of the simulator with a token in hand."""

    def __init__(self, thread: SimulatorThread) -> None:
        self.thread = thread
        self.ledger = thread.ledger
        self.http = http_client(base_url=thread.base_url, timeout=DEADLINE_S)
        self.token = self.new_token()

    def new_token(self, **form: str) -> str:
        asked = {"grant_type": "client_credentials", "client_id": "id", "client_secret": "secret", **form}
        answer = self.http.post("/oauth/token", data=asked)
        assert answer.status_code == 200
        return str(answer.json()["access_token"])

    def call(self, verb: str, path: str, account_id: str | None = "acme", **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        if account_id is not None:
            headers["X-Cyclr-Account"] = account_id
        return self.http.request(verb, f"/v1.0{path}", headers=headers, **more)

    def get(self, path: str, account_id: str | None = "acme", **params: Any) -> httpx.Response:
        return self.call("GET", path, account_id, params=params or None)

    def install(self, account_id: str = "acme", *, connector: str = "501", **body: Any) -> httpx.Response:
        return self.call("POST", f"/connectors/{connector}/install", account_id, json=body)

    def names(self, account_id: str = "acme") -> list[str]:
        return self.thread.call(lambda w: [c.name for c in w.accounts[account_id].connectors.values()])

    def control(self, name: str, /, **asked: Any) -> dict[str, Any]:
        answer = self.http.post(f"/_sim/{name}", json=asked)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def wait_until(holds: Callable[[], bool]) -> None:
    """Returns once `holds()` is true; fails after the deadline."""
    ends_at, pause = time.monotonic() + DEADLINE_S, threading.Event()
    while not holds():
        assert time.monotonic() < ends_at, "the condition did not come true in time"
        pause.wait(0.01)


@pytest.fixture
def cyclr() -> Iterator[Cyclr]:
    with SimulatorThread(small_world()) as thread:
        caller = Cyclr(thread)
        with closing(caller.http):
            yield caller
