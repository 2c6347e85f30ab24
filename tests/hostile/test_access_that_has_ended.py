"""Who may no more hears no more: on real `serve` processes, of a deployment with two of them and of a home."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from tests.browser.served import Served
from tests.browser.world import MAIL, add_accounts
from tests.end_to_end.fleet.fixtures import databases as databases
from tests.end_to_end.fleet.fixtures import fleet as fleet
from tests.end_to_end.fleet.fixtures import running as running
from tests.end_to_end.fleet.fleet import Fleet
from tests.end_to_end.processes.commands import Command, eventually
from tests.plain_http import AS_OWN_PAGE, http_client
from tests.served.home import client_of, open_home
from tests.served.test_deployment import ADDRESS
from worker.store.api_keys import find_key_of_text, revoke_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HEARD_WITHIN_S = 60.0  # by a machine that does other things too; of these the server takes ten


@pytest.fixture
def webs(fleet: Fleet) -> Iterator[tuple[str, str]]:
    """The addresses of two web processes of one deployment."""
    with ExitStack() as stack:
        commands = [fleet.launch("web", PORT="0") for _ in range(2)]
        for command in commands:
            stack.callback(command.kill)
        first, second = (_address(command) for command in commands)
        yield first, second


def _address(command: Command) -> str:
    eventually(lambda: command.exit_code is not None or ADDRESS.search(command.err), "it serves")
    found = ADDRESS.search(command.err)
    assert found is not None, command.err
    return f"http://127.0.0.1:{found.group(1)}"


def new_key(fleet: Fleet, name: str) -> str:
    said = fleet.say("api-keys", "create", name, "--scope", "read", "--expires", "1h")
    assert said.code == 0, said.err
    return said.out.strip()


def sign_in(url: str, key: str) -> httpx.Client:
    client = http_client(base_url=url, timeout=60)
    assert client.post("/sign-in", data={"key": key}, headers=AS_OWN_PAGE).headers["location"] == "/jobs"
    return client


def copy_of(client: httpx.Client, url: str) -> httpx.Client:
    """Another browser, to which somebody has carried the cookies."""
    return http_client(base_url=url, timeout=60, cookies=dict(client.cookies))


def sign_out(client: httpx.Client) -> None:
    page = client.get("/jobs").text
    token = page.partition('name="form_token" value="')[2].partition('"')[0]
    assert client.post("/sign-out", data={"form_token": token}, headers=AS_OWN_PAGE).status_code == 303


def opens(client: httpx.Client) -> bool:
    return client.get("/jobs").status_code == 200


def last_event(lines: Iterator[str]) -> tuple[str, dict[str, object]]:
    """What a stream says last, which then ends."""
    name, data = "", {}
    deadline = time.monotonic() + HEARD_WITHIN_S
    for line in lines:
        assert time.monotonic() < deadline, "the stream goes on"
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data = json.loads(line.removeprefix("data: "))
    return name, data


def begun(answer: httpx.Response) -> Iterator[str]:
    assert answer.status_code == 200
    lines = answer.iter_lines()
    assert any(line.startswith("event: progress") for line in lines)
    return lines


def test_to_sign_out_of_one_web_process_ends_the_session_in_the_other(fleet: Fleet, webs: tuple[str, str]):
    key = new_key(fleet, "signs out")
    with closing(sign_in(webs[0], key)) as person, closing(copy_of(person, webs[1])) as thief:
        assert opens(thief)
        kept = dict(person.cookies)
        sign_out(person)
        assert not opens(thief)
        with http_client(base_url=webs[0], timeout=60, cookies=kept) as again:
            assert not opens(again)


def test_a_revoked_key_ends_its_sessions_and_its_streams_in_every_web_process(
    fleet: Fleet, webs: tuple[str, str]
):
    job_id = fleet.submit([f"revoked-{number}" for number in range(3)], "--first", "1")
    key = new_key(fleet, "is revoked")
    found = find_key_of_text(fleet.engine, key)
    assert found is not None
    address = f"/v1/jobs/{job_id}/events"
    with ExitStack() as stack:
        person = stack.enter_context(closing(sign_in(webs[0], key)))
        by_key = stack.enter_context(
            http_client(base_url=webs[1], headers={"Authorization": f"Bearer {key}"}, timeout=HEARD_WITHIN_S)
        )
        streams = [begun(stack.enter_context(each.stream("GET", address))) for each in (person, by_key)]
        assert fleet.say("api-keys", "revoke", found.id).code == 0
        assert not opens(stack.enter_context(closing(copy_of(person, webs[1]))))
        said = [last_event(lines) for lines in streams]
    assert [(name, data["status"], data["detail"]) for name, data in said] == [
        (
            "problem",
            401,
            "The API key 'is revoked' that you had signed in with was revoked. Sign in with another one.",
        ),
        ("problem", 401, "The API key 'is revoked' was revoked."),
    ]
    fleet.say("cancel", job_id)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with open_home(tmp_path) as home:
        yield home


def test_in_a_home_who_signs_out_or_loses_the_key_hears_no_more(served: Served):
    served.simulator.call(lambda world: add_accounts(world, ["acme", "globex"]))
    with client_of(served) as owner:
        items = [{"account_id": each, "connector": MAIL, "api_key": "a-key"} for each in ("acme", "globex")]
        answer = owner.post("/v1/jobs", json={"items": items, "options": {"first": 1}})
        assert answer.status_code == 202, answer.text
        address = f"/v1/jobs/{answer.json()['id']}/events"
    person = sign_in(served.url, served.write_key)
    with closing(person), closing(copy_of(person, served.url)) as thief:
        with thief.stream("GET", address, timeout=HEARD_WITHIN_S) as answer:
            lines = begun(answer)
            sign_out(person)
            name, data = last_event(lines)
        assert (name, data["detail"]) == ("problem", "You have signed out. Sign in again.")
        assert thief.get(address).status_code == 401
    by_key = client_of(served, key=served.read_key)
    with by_key, by_key.stream("GET", address, timeout=HEARD_WITHIN_S) as answer:
        lines = begun(answer)
        found = find_key_of_text(served.place.engine, served.read_key)
        assert found is not None
        revoke_key(served.place.engine, found.id)
        assert last_event(lines)[1]["detail"] == "The API key 'Grace, support' was revoked."
