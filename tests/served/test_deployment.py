"""The web process of the Procfile, beside the worker and the sweep of a deployment."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.end_to_end.fleet.fleet import Fleet, end
from tests.end_to_end.processes.commands import Command, eventually
from tests.plain_http import http_client
from tests.served.home import ASK_EVERY_S

ADDRESS = re.compile(r'"address": "http://0\.0\.0\.0:(\d+)", "event": "web_started"')


@pytest.fixture
def web(fleet: Fleet) -> Iterator[Command]:
    command = fleet.launch("web", PORT="0")
    eventually(lambda: command.exit_code is not None or ADDRESS.search(command.err), "it serves")
    assert command.exit_code is None, command.err
    yield command
    command.kill()


def client_of(fleet: Fleet, web: Command, scope: str = "write") -> httpx.Client:
    said = fleet.say("api-keys", "create", "tests", "--scope", scope, "--expires", "1h")
    assert said.code == 0, said.err
    key = said.out.strip()
    found = ADDRESS.search(web.err)
    assert found is not None
    headers = {"Authorization": f"Bearer {key}"}
    url = f"http://127.0.0.1:{found.group(1)}"
    return http_client(base_url=url, headers=headers, timeout=120)


def wait_until(client: httpx.Client, job_id: str, state: str) -> None:
    eventually(
        lambda: client.get(f"/v1/jobs/{job_id}").json()["state"] == state,
        f"it is {state}",
        every_s=ASK_EVERY_S,
    )


def test_what_is_handed_in_is_installed_by_the_workers(fleet: Fleet, web: Command):
    accounts = [f"web-{number}" for number in range(30)]
    content = fleet.file(accounts).read_bytes()
    with client_of(fleet, web) as client:
        answer = client.post("/v1/jobs", content=content, headers={"Content-Type": "text/csv"})
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["id"]
        assert answer.json()["handed_in_by"] == "tests"
        wait_until(client, job_id, "completed")
        assert client.get(f"/v1/jobs/{job_id}").json()["installed"] == 30
        assert client.get("/readyz").json() == {
            "status": "ready",
            "checks": {"database": "ok", "schema": "ok", "worker": "ok", "redis": "ok"},
            "faults": [],
        }
    assert {call.account_id for call in fleet.calls("install", accounts)} == set(accounts)
    assert fleet.say("status", job_id).code == 0


def test_it_ends_soon_though_somebody_follows_a_job(fleet: Fleet, web: Command):
    accounts = [f"web-stream-{number}" for number in range(3)]
    job_id = fleet.submit(accounts, "--first", "1")
    with client_of(fleet, web, "read") as client:
        wait_until(client, job_id, "paused")
        with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
            assert any(line.startswith("event: progress") for line in answer.iter_lines())
            assert end(web) == 0
    fleet.say("cancel", job_id)


def test_it_says_where_it_cannot_listen(fleet: Fleet, web: Command):
    found = ADDRESS.search(web.err)
    assert found is not None
    second = fleet.launch("web", PORT=found.group(1))
    assert second.wait() == 2
    assert f"port {found.group(1)}, cannot be used: another process listens there" in second.err
