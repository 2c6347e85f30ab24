"""Jobs, items, failures, results and progress over HTTP."""

import csv
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from tests.end_to_end.harness import MAIL, small_world
from tests.integration.store.databases import Loads, Stores, change_items, end, planned, take
from tests.integration.web.site import Site, new_site, wait_until
from worker.domain.rows import SkippedRow
from worker.domain.states import Code
from worker.domain.verdicts import GiveUp
from worker.simulator.faults import refused
from worker.simulator.server import SimulatorThread
from worker.store.api_keys import Scope
from worker.store.instances import ensure_instance
from worker.store.session import writing
from worker.store.tables import jobs

ACCOUNTS = ("acme", "globex", "initech", "umbrella")


@pytest.fixture
def client(site: Site) -> httpx.Client:
    return site.client(site.key())


def submit(client: httpx.Client, *accounts: str, **options: Any) -> str:
    items = [{"account_id": each, "connector": MAIL, "api_key": f"key-of-{each}-5f1c"} for each in accounts]
    answer = client.post("/v1/jobs", json={"items": items, "options": options})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def job_of(client: httpx.Client, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/jobs/{job_id}").raise_for_status().json()
    return found


def end_a_job(site: Site, client: httpx.Client, simulator: SimulatorThread) -> str:
    """A completed job of four rows, two of which Cyclr refused."""
    for account_id in ("globex", "umbrella"):
        simulator.simulator.faults.add(
            refused(400, f"no credit for '{account_id}'"), call="install", account_id=account_id
        )
    job_id = submit(client, *ACCOUNTS)
    with site.working():
        wait_until(lambda: job_of(client, job_id)["state"] == "completed")
    simulator.simulator.faults.clear()
    return job_id


@pytest.fixture
def ended(site: Site, client: httpx.Client, simulator: SimulatorThread) -> str:
    return end_a_job(site, client, simulator)


@dataclass(frozen=True)
class Past:
    """A site whose only job is one that has ended, for tests that change nothing."""

    site: Site
    client: httpx.Client
    ended: str


@pytest.fixture(scope="module")
def past(stores: Stores, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    folder = tmp_path_factory.mktemp("past")
    with (
        SimulatorThread(small_world(*ACCOUNTS)) as simulator,
        new_site(stores, redis_url, simulator, folder) as site,
    ):
        client = site.client(site.key())
        # Between two of these tests the server may close a kept connection just when the next request is sent.
        client.headers["Connection"] = "close"
        yield Past(site, client, end_a_job(site, client, simulator))


def test_a_job_is_shown_with_its_counters(past: Past):
    found = job_of(past.client, past.ended)
    assert {name: found[name] for name in ("total", "installed", "failed", "cancelled", "final", "left")} == {
        "total": 4,
        "installed": 2,
        "failed": 2,
        "cancelled": 0,
        "final": 4,
        "left": 0,
    }
    assert found["rows_per_second"] > 0
    assert found["seconds_left"] is None
    assert 0 <= found["seconds_worked"] < 600  # rounded, of a job that took a moment
    assert found["finished_at"] is not None
    assert past.site.place.settings.api_host == found["api_host"]


def test_a_job_that_has_not_changed_is_not_sent_again(client: httpx.Client):
    job_id = submit(client, "acme")
    first = client.get(f"/v1/jobs/{job_id}")
    tag = first.headers["ETag"]
    again = client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    client.post(f"/v1/jobs/{job_id}/pause").raise_for_status()
    changed = client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["state"]) == (200, "paused")
    assert changed.headers["ETag"] != tag


def test_jobs_come_in_pages_the_newest_first(client: httpx.Client):
    made = [submit(client, account_id, source_name=f"{account_id}.csv") for account_id in ACCOUNTS]
    found, cursor = [], None
    while True:
        asked = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/jobs", params=asked).raise_for_status().json()
        found += [job["id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == made[::-1]
    client.post(f"/v1/jobs/{made[0]}/pause").raise_for_status()
    paused = client.get("/v1/jobs", params={"state": "paused"}).json()["jobs"]
    assert [job["id"] for job in paused] == [made[0]]
    named = client.get("/v1/jobs", params={"text": "GLOB"}).json()["jobs"]
    assert [job["source_name"] for job in named] == ["globex.csv"]


def test_items_come_in_pages_in_the_order_of_the_file(past: Past):
    address = f"/v1/jobs/{past.ended}/items"
    first = past.client.get(address, params={"limit": 3}).json()
    second = past.client.get(address, params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [item["row"] for item in first["items"] + second["items"]] == [2, 3, 4, 5]
    assert second["next_cursor"] is None
    failed = past.client.get(address, params={"state": "failed"}).json()["items"]
    assert [(item["row"], item["code"], item["http_status"]) for item in failed] == [
        (3, "refused", 400),
        (5, "refused", 400),
    ]
    assert {item["advice"] for item in failed} == {"Mend what the message names, then retry."}
    assert past.client.get(address, params={"code": "unreachable"}).json()["items"] == []
    [mine] = past.client.get(address, params={"account_id": "initech"}).json()["items"]
    assert (mine["row"], mine["state"], mine["outcome"], mine["advice"]) == (4, "installed", "created", None)
    assert past.client.get(address, params={"account_id": "init"}).json()["items"] == []


def test_an_item_is_shown_with_its_attempts(past: Past):
    found = past.client.get(f"/v1/jobs/{past.ended}/items/3").raise_for_status().json()
    assert (found["account_id"], found["state"], found["can_retry_help"]) == ("globex", "failed", False)
    [attempt] = found["history"]
    assert (attempt["call"], attempt["http_status"], attempt["code"]) == ("install", 400, "refused")
    assert "no credit for 'globex'" in attempt["reason"]


def test_failures_are_grouped_by_reason_with_an_example(past: Past):
    found = past.client.get(f"/v1/jobs/{past.ended}/failures").json()
    assert found["failed"] == 2
    [reason] = found["reasons"]
    assert (reason["code"], reason["count"], reason["example_row"]) == ("refused", 2, 3)
    assert reason["example_account_id"] == "globex"
    assert "no credit for '…'" in reason["message"]
    assert found["next_cursor"] is None


def test_failures_come_in_pages(site: Site, client: httpx.Client):
    job_id = Loads(site.engine).job(6)
    items = sorted(take(site.engine), key=lambda item: item.row_number)
    words = ("one", "two", "two", "three", "three", "three")
    end(
        site.engine,
        *((item, GiveUp(Code.REFUSED, f"no {word}", 400)) for item, word in zip(items, words, strict=True)),
    )
    address = f"/v1/jobs/{job_id}/failures"
    first = client.get(address, params={"limit": 2}).json()
    assert [reason["message"] for reason in first["reasons"]] == ["no three", "no two"]
    second = client.get(address, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [reason["message"] for reason in second["reasons"]] == ["no one"]
    assert (second["failed"], second["next_cursor"]) == (6, None)


def test_rows_of_one_reason_are_read_by_its_key(past: Past):
    [reason] = past.client.get(f"/v1/jobs/{past.ended}/failures").json()["reasons"]
    assert reason["advice"] == "Mend what the message names, then retry."
    key = reason["reason"]
    assert key == "269255e3"
    items = past.client.get(f"/v1/jobs/{past.ended}/items", params={"reason": key}).json()["items"]
    assert [(item["row"], item["reason"]) for item in items] == [(3, key), (5, key)]
    file = past.client.get(f"/v1/jobs/{past.ended}/results.csv", params={"reason": key})
    name = f"items.{past.ended}.failed-269255e3.csv"
    assert file.headers["content-disposition"] == f'attachment; filename="{name}"'
    rows = list(csv.DictReader(io.StringIO(file.content.decode("utf-8-sig"))))
    assert [row["account_id"] for row in rows] == ["globex", "umbrella"]
    other = past.client.get(
        f"/v1/jobs/{past.ended}/results.csv", params={"reason": key, "state": "installed"}
    )
    assert list(csv.DictReader(io.StringIO(other.content.decode("utf-8-sig")))) == []
    none = past.client.get(f"/v1/jobs/{past.ended}/items", params={"reason": "00000000"})
    assert none.json()["items"] == []
    wrong = past.client.get(f"/v1/jobs/{past.ended}/items", params={"reason": "refused"})
    assert wrong.status_code == 422


def test_results_are_the_file_with_what_came_of_each_row(past: Past):
    answer = past.client.get(f"/v1/jobs/{past.ended}/results.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="items.{past.ended}.results.csv"'
    failed = past.client.get(f"/v1/jobs/{past.ended}/results.csv?state=failed")
    assert failed.headers["content-disposition"] == f'attachment; filename="items.{past.ended}.failed.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [(row["account_id"], row["_state"]) for row in rows] == [
        ("acme", "done"),
        ("globex", "failed"),
        ("initech", "done"),
        ("umbrella", "failed"),
    ]
    assert {row["api_key"] for row in rows} == {"[not exported]"}
    assert [row["_message"] for row in rows] == [
        "",
        "no credit for 'globex'. Mend what the message names, then retry.",
        "",
        "no credit for 'umbrella'. Mend what the message names, then retry.",
    ]
    failed = past.client.get(f"/v1/jobs/{past.ended}/results.csv", params={"state": "failed"})
    assert [row["_row"] for row in csv.DictReader(io.StringIO(failed.content.decode("utf-8-sig")))] == [
        "3",
        "5",
    ]
    assert past.client.get(f"/v1/jobs/{past.ended}/results.csv", params={"state": "odd"}).status_code == 422


@pytest.mark.parametrize("state", ["done", "installed"])
def test_done_rows_are_downloaded_by_either_word_also_those_of_earlier_jobs(
    site: Site, client: httpx.Client, state: str
):
    earlier = Loads(site.engine).job(1, start=10)
    change_items(site.engine, earlier, state="installed")
    skipped = SkippedRow(3, planned(3).cells, earlier, 10)
    job_id = Loads(site.engine).job([planned(2), skipped, planned(4)])
    change_items(site.engine, job_id, 2, state="installed")
    file = client.get(f"/v1/jobs/{job_id}/results.csv", params={"state": state}).raise_for_status()
    rows = list(csv.DictReader(io.StringIO(file.content.decode("utf-8-sig"))))
    assert [(row["_job"], row["_row"]) for row in rows] == [(job_id, "2"), (earlier, "10")]


def test_refused_rows_are_in_the_results(client: httpx.Client):
    content = "account_id,connector,api_key\nacme,Northwind Mail,k-1\nnowhere,Northwind Mail,k-2\n"
    answer = client.post(
        "/v1/jobs", content=content, headers={"Content-Type": "text/csv"}, params={"skip_invalid": 1}
    )
    job_id = answer.json()["id"]
    refused_rows = client.get(f"/v1/jobs/{job_id}/results.csv", params={"state": "refused"})
    [row] = csv.DictReader(io.StringIO(refused_rows.content.decode("utf-8-sig")))
    assert (row["_row"], row["_state"], row["_code"]) == ("3", "refused", "refused_at_intake")


def test_a_result_file_is_a_valid_input(site: Site, client: httpx.Client, ended: str):
    results = client.get(f"/v1/jobs/{ended}/results.csv").content
    answer = client.post("/v1/jobs", content=results, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 202, answer.text
    again = answer.json()
    assert (again["total"], again["skipped"]) == (2, 2)
    with site.working():
        wait_until(lambda: job_of(client, again["id"])["installed"] == 2)


def test_what_is_not_there_is_a_404(past: Past):
    for address in (
        "/v1/jobs/261121-nowher",
        "/v1/jobs/261121-nowher/items",
        "/v1/jobs/261121-nowher/failures",
        "/v1/jobs/261121-nowher/results.csv",
        "/v1/jobs/261121-nowher/events",
        f"/v1/jobs/{past.ended}/items/1",
        f"/v1/jobs/{past.ended}/items/99",
        "/v1/nothing",
    ):
        answer = past.client.get(address)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), (
            address
        )
        assert answer.json()["status"] == 404


# Steering


def test_a_job_is_paused_resumed_and_cancelled(site: Site, client: httpx.Client):
    job_id = submit(client, *ACCOUNTS, first=1)
    paused = client.post(f"/v1/jobs/{job_id}/pause").json()
    assert (paused["state"], paused["pause_reason"], paused["pause_message"], paused["pause_advice"]) == (
        "paused",
        "person",
        "somebody paused it",
        "When it may go on, resume it.",
    )
    resumed = client.post(f"/v1/jobs/{job_id}/resume", json={"first": 2}).json()
    assert (resumed["state"], resumed["held"]) == ("running", 1)
    cancelled = client.post(f"/v1/jobs/{job_id}/cancel").json()
    assert cancelled["state"] == "cancelled"


def test_a_wrong_state_is_a_409_that_says_which(past: Past):
    for deed, done in (("pause", "paused"), ("resume", "resumed"), ("cancel", "cancelled")):
        answer = past.client.post(f"/v1/jobs/{past.ended}/{deed}")
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
        assert answer.json()["detail"] == f"Job {past.ended} cannot be {done}: it is completed."
    assert job_of(past.client, past.ended)["state"] == "completed"


def test_failed_rows_are_tried_again_by_code(site: Site, client: httpx.Client, ended: str):
    none = client.post(f"/v1/jobs/{ended}/retry", json={"codes": ["unreachable"]}).json()
    assert (none["queued"], none["job"]["state"]) == (0, "completed")
    other = client.post(f"/v1/jobs/{ended}/retry", json={"reason": "00000000"}).json()
    assert other["queued"] == 0
    some = client.post(f"/v1/jobs/{ended}/retry", json={"reason": "269255e3"}).json()
    assert (some["queued"], some["wiped"], some["live"], some["job"]["state"]) == (2, 0, 0, "running")
    with site.working():
        wait_until(lambda: job_of(client, ended)["installed"] == 4)


# Events


def events(answer: httpx.Response) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield event
            event = {}


def test_progress_comes_as_it_happens_until_the_job_has_ended(site: Site, client: httpx.Client):
    job_id = submit(client, *ACCOUNTS)
    seen: list[dict[str, str]] = []
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        with site.working():
            seen = [event for event in events(answer) if "event" in event]
    assert seen[0]["event"] == "progress"
    assert json.loads(seen[0]["data"])["left"] == 4
    assert seen[-1]["event"] == "end"
    assert json.loads(seen[-1]["data"])["installed"] == 4
    assert len({event["id"] for event in seen}) == len(seen)


def test_a_client_that_comes_back_is_told_only_what_it_does_not_know(past: Past):
    address = f"/v1/jobs/{past.ended}/events"
    [end] = [event for event in events(past.client.get(address)) if "event" in event]
    known = past.client.get(address, headers={"Last-Event-ID": end["id"]})
    assert (known.status_code, known.content) == (204, b"")
    old = past.client.get(address, headers={"Last-Event-ID": "an-older-one"})
    assert [event["event"] for event in events(old) if "event" in event] == ["end"]


def test_a_server_ends_though_somebody_follows(site: Site, client: httpx.Client):
    job_id = submit(client, "acme")
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        first = next(event for event in events(answer) if "event" in event)
        assert first["event"] == "progress"
        ending = threading.Thread(target=site.server._stop)
        ending.start()
        ending.join(60)
        assert not ending.is_alive()
        assert not site.server.is_alive


# The catalogue, health and figures


def test_the_catalogue_is_listed_and_read_once(client: httpx.Client, simulator: SimulatorThread):
    found = client.get("/v1/connectors").raise_for_status().json()["connectors"]
    by_name = {connector["name"]: connector for connector in found}
    assert set(by_name) == {"Northwind Mail", "Harbour CRM"}
    properties = {each["target_name"]: each for each in by_name["Northwind Mail"]["account_properties"]}
    assert properties["WebhookSecret"]["sensitive"] is True
    assert properties["Region"]["choices"] == ["EU", "US"]
    asked = len(simulator.ledger.calls)
    named = client.get("/v1/connectors", params={"query": "harbour"}).json()["connectors"]
    assert [connector["name"] for connector in named] == ["Harbour CRM"]
    assert len(simulator.ledger.calls) == asked


def test_readiness_tells_what_is_missing(site: Site, client: httpx.Client):
    before = client.get("/readyz")
    assert before.status_code == 503
    assert before.json() == {
        "status": "not_ready",
        "checks": {
            "database": "ok",
            "schema": "ok",
            "worker": "none was seen within the hour",
            "redis": "ok",
        },
        "faults": [],
    }
    with site.working():
        wait_until(lambda: client.get("/readyz").status_code == 200)


def test_health_needs_nothing(site: Site):
    with site.client() as nobody:
        assert nobody.get("/healthz").json() == {"status": "ok"}
        assert nobody.get("/version").json() == {"version": version("cyclr-bulk")}


def test_the_release_is_a_label_of_a_figure(client: httpx.Client):
    lines = client.get("/metrics").raise_for_status().text.splitlines()
    assert f'cyclr_bulk_build_info{{version="{version("cyclr-bulk")}"}} 1' in lines


def figures(client: httpx.Client) -> dict[str, float]:
    lines = client.get("/metrics").raise_for_status().text.splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_figures_add_up(past: Past):
    found = figures(past.client)
    assert found['cyclr_bulk_items{state="installed"}'] == 2
    assert found['cyclr_bulk_items{state="failed"}'] == 2
    assert found['cyclr_bulk_items{state="unfinished"}'] == 0
    assert found['cyclr_bulk_jobs{state="completed"}'] == 1
    assert found['cyclr_bulk_call_duration_seconds_count{call="install",outcome="200"}'] == 2
    assert found['cyclr_bulk_call_duration_seconds_count{call="install",outcome="400"}'] == 2
    assert found['cyclr_bulk_call_duration_seconds_bucket{call="install",outcome="200",le="+Inf"}'] == 2
    assert found["cyclr_bulk_limiter_up"] == 1
    assert found["cyclr_bulk_limiter_configured_calls_per_second"] == 1000
    assert found["cyclr_bulk_rescues_total"] == 0
    assert found["cyclr_bulk_tickets_waiting"] in (0, 1)


def test_figures_are_for_those_with_a_key(site: Site):
    with site.client() as nobody, site.client(site.key(Scope.READ)) as somebody:
        assert nobody.get("/metrics").status_code == 401
        assert somebody.get("/metrics").status_code == 200


def test_a_job_of_another_instance_is_shown_and_not_let_go(site: Site, client: httpx.Client):
    job_id = submit(client, "acme")
    client.post(f"/v1/jobs/{job_id}/pause").raise_for_status()
    ensure_instance(site.engine, "another", "api.elsewhere.example")
    moved = update(jobs).where(jobs.c.id == job_id).values(instance_id="another")
    writing(site.engine, lambda connection: connection.execute(moved))
    assert job_of(client, job_id)["api_host"] == "api.elsewhere.example"
    for deed in ("resume", "retry"):
        answer = client.post(f"/v1/jobs/{job_id}/{deed}")
        assert (answer.status_code, answer.json()["code"]) == (409, "other_instance")
        assert "api.elsewhere.example" in answer.json()["detail"]


def test_an_account_is_found_by_how_its_id_begins(past: Past) -> None:
    assert past.client.get("/v1/accounts?q=a").json() == {"account_ids": ["acme"], "next_cursor": None}
    first = past.client.get("/v1/accounts?limit=2").json()
    assert first == {"account_ids": ["acme", "globex"], "next_cursor": "globex"}
    rest = past.client.get("/v1/accounts", params={"cursor": "globex"}).json()
    assert rest == {"account_ids": ["initech", "umbrella"], "next_cursor": None}
    assert past.client.get("/v1/accounts?q=zeppelin").json() == {"account_ids": [], "next_cursor": None}


def test_an_account_shows_every_row_of_every_job_that_was_for_it(past: Past) -> None:
    found = past.client.get("/v1/accounts/globex").json()
    (item,) = found["items"]
    assert (found["account_id"], found["next_cursor"]) == ("globex", None)
    assert {name: item[name] for name in ("job_id", "row", "operation", "state", "code", "attempts")} == {
        "job_id": past.ended,
        "row": 3,
        "operation": "install",
        "state": "failed",
        "code": "refused",
        "attempts": 1,
    }
    assert past.client.get("/v1/accounts/nobody").json()["code"] == "unknown_account"
    assert past.client.get("/v1/accounts/acme%2Fuk").json()["code"] == "unknown_account"
    assert past.client.get("/v1/accounts/globex?cursor=x").json()["code"] == "wrong_cursor"
