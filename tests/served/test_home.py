"""`cyclr-bulk serve` on a laptop: a home, its Valkey and its workers, and what outlives all of them."""

import csv
import io
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser.served import Served, address
from tests.browser.world import CREDENTIALS, MAIL, add_accounts, ids, secrets_of
from tests.end_to_end.processes.commands import DEADLINE_S, Command, eventually
from tests.served.home import ASK_EVERY_S, client_of, open_home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with open_home(tmp_path) as opened:
        yield opened


def submit(client: httpx.Client, account_ids: list[str]) -> str:
    items = [
        {"account_id": each, "connector": MAIL, "api_key": f"key-of-{each}-5f1c"} for each in account_ids
    ]
    answer = client.post("/v1/jobs", json={"items": items})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def job(client: httpx.Client, job_id: str) -> Any:
    return client.get(f"/v1/jobs/{job_id}").raise_for_status().json()


def wait_until_completed(client: httpx.Client, job_id: str, *, within_s: float = DEADLINE_S) -> None:
    eventually(
        lambda: job(client, job_id)["state"] == "completed",
        "the job is completed",
        within_s=within_s,
        every_s=ASK_EVERY_S,
    )


def serve_again(served: Served) -> tuple[Command, str]:
    command = served.place.start("serve", "--port", "0")
    return command, address(command)


def test_what_was_handed_in_is_installed_and_nothing_is_left_running(served: Served):
    accounts = ids("home", 60)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    # Made by another process, beside the server.
    made = served.place.start("api-keys", "create", "Hedy, support", "--scope", "write")
    assert made.wait() == 0, made.err
    key = made.out.strip()
    with client_of(served, key=key) as client:
        job_id = submit(client, accounts)
        wait_until_completed(client, job_id)
        assert job(client, job_id)["installed"] == 60
        assert client.get("/readyz").json()["status"] == "ready"
        results = client.get(f"/v1/jobs/{job_id}/results.csv").content.decode("utf-8-sig")
        assert {row["_state"] for row in csv.DictReader(io.StringIO(results))} == {"done"}
    served.command.send(signal.SIGTERM)
    assert served.command.wait() == 0, served.command.err
    served.place.wait_until_nothing_runs()
    home = Path(served.place.folder) / "home"
    texts = [served.command.out, served.command.err]
    texts += [path.read_text(errors="replace") for path in (home / "logs").iterdir() if path.is_file()]
    secrets = secrets_of(accounts) | {key, served.write_key, served.read_key, CREDENTIALS[1]}
    assert [secret for secret in secrets if any(secret in text for text in texts)] == []


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: signal.Signals(number).name
)
def test_an_accepted_job_outlives_the_server_and_goes_on_with_the_next(
    tmp_path: Path, number: signal.Signals
):
    accounts = ids("lasting", 200)
    with open_home(tmp_path, CYCLR_CALLS_PER_SECOND="25", CYCLR_BURST="5") as served:
        served.simulator.call(lambda world: add_accounts(world, accounts))
        with client_of(served) as client:
            job_id = submit(client, accounts)
            eventually(
                lambda: job(client, job_id)["installed"] >= 10, "ten rows are installed", every_s=ASK_EVERY_S
            )
        served.command.send(number)
        served.command.wait()
        if number == signal.SIGKILL:
            served.place.wait_until_nothing_runs()
        command, url = serve_again(served)
        with client_of(served, url=url) as client:
            now = job(client, job_id)
            assert (now["state"], now["left"] > 0) == ("running", True)
            wait_until_completed(client, job_id, within_s=180)
            assert job(client, job_id)["installed"] == 200
        command.send(signal.SIGTERM)
        assert command.wait() == 0
        assert served.simulator.call(lambda world: world.count_doubles()) == 0


def test_a_server_with_an_open_stream_ends_soon(served: Served):
    accounts = ids("stream", 400)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    with client_of(served) as client:
        job_id = submit(client, accounts)
        with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
            lines = answer.iter_lines()
            assert any(line.startswith("event: progress") for line in lines)
            served.command.send(signal.SIGTERM)
            assert served.command.wait(within_s=60) == 0
    served.place.wait_until_nothing_runs()
