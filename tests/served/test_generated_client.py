"""A client that a generator makes of the API's own description goes the whole way: hand in, watch, mend, try again, fetch."""

import csv
import importlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.browser.served import Served
from tests.browser.world import MAIL, SUSPENDED, add_accounts, ids, suspend
from tests.end_to_end.processes.commands import eventually
from tests.environments import bin_folder
from tests.plain_http import http_client
from tests.served.home import ASK_EVERY_S, client_of, open_home
from tests.started import run_process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PACKAGES = [
    "openapi-python-client==0.29.1",
    "httpx==0.28.1",
    "attrs==26.1.0",
    "ruff==0.17.6",
    "typer==0.27.3",
]
NAME = "made_client"
# The generator knows JSON, forms and bytes; a CSV is bytes.
CONFIG = {"content_type_overrides": {"text/csv": "application/octet-stream"}}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with open_home(tmp_path) as opened:
        yield opened


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    """What the generated client speaks with: as any other client here, and with the key in its header."""
    with client_of(served) as opened:
        yield opened


class Made:
    """The generated package. `api`: the module of an operation; `models`, `types`: its modules of these names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.client = importlib.import_module(f"{NAME}.client")
        self.models = importlib.import_module(f"{NAME}.models")
        self.types = importlib.import_module(f"{NAME}.types")

    def api(self, name: str) -> ModuleType:
        [path] = (self._folder / NAME / "api").glob(f"*/{name}.py")
        return importlib.import_module(f"{NAME}.api.{path.parent.name}.{name}")


@pytest.fixture
def made(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    folder = tmp_path / "made"
    folder.mkdir()
    document, config = folder / "openapi.json", folder / "config.json"
    with http_client(base_url=served.url) as client:  # without a key: a description is no secret
        document.write_text(client.get("/v1/openapi.json").raise_for_status().text)
    config.write_text(json.dumps(CONFIG))
    programs = bin_folder("openapi-python-client", PACKAGES)
    words = ["generate", "--path", document, "--config", config, "--meta", "none", "--fail-on-warning"]
    done = run_process(
        [programs / "openapi-python-client", *words, "--output-path", folder / NAME],
        # It has what it made formatted by Ruff.
        env=os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "WARNING" in done.stdout + done.stderr) == (0, False), done.stdout + done.stderr
    monkeypatch.syspath_prepend(folder)
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        monkeypatch.delitem(sys.modules, name)
    return Made(folder)


def test_a_generated_client_goes_the_whole_way(served: Served, made: Made, http: httpx.Client) -> None:
    accounts = ids("made", 6)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    served.simulator.call(lambda world: suspend(world, accounts[4:]))
    models, types = made.models, made.types
    client = made.client.AuthenticatedClient(base_url=served.url, token=served.write_key)
    client.set_httpx_client(http)

    def new_job(account_ids: list[str], **options: Any) -> Any:
        items = []
        for number, each in enumerate(account_ids, start=1):
            item = models.NewJobItemsItem()
            item.additional_properties = {
                "account_id": each,
                "api_key": f"key-of-{each}-5f1c",
                "reference": f"order-{number}",
                "x_crm": str(number),
            }
            items.append(item)
        return models.NewJob(items=items, options=models.NewJobOptions(connector=MAIL, **options))

    # Hand in: a check alone, then the job, then the same request once more.
    submit = made.api("submit_job").sync_detailed
    valid = submit(client=client, body=new_job(accounts), validate_only=True)
    assert (valid.status_code, type(valid.parsed).__name__, valid.parsed.planned) == (200, "Validation", 6)
    body = new_job(accounts, source_name="made")
    first = submit(client=client, body=body, idempotency_key="order-17")
    assert (first.status_code, type(first.parsed).__name__) == (202, "Submitted")
    job_id = first.parsed.id
    assert (first.parsed.source_name, first.parsed.total, first.parsed.warnings) == ("made", 6, [])
    assert first.headers["Location"] == f"/v1/jobs/{job_id}"
    again = submit(client=client, body=body, idempotency_key="order-17")
    assert (again.status_code, type(again.parsed).__name__, again.parsed.id) == (
        200,
        "JobInFull",
        job_id,
    )

    # Watch.
    def wait_until_completed(of: str) -> Any:
        def find() -> Any:
            job = made.api("get_job").sync(of, client=client)
            return job if job.state == models.JobState.COMPLETED else None

        return eventually(find, "the job is completed", every_s=ASK_EVERY_S)

    job = wait_until_completed(job_id)
    assert (job.installed, job.failed, job.left) == (4, 2, 0)
    listed = made.api("list_jobs").sync(client=client, state=[models.JobState.COMPLETED])
    assert [each.id for each in listed.jobs] == [job_id]

    # Items, page by page.
    found, cursor = [], types.UNSET
    while True:
        page = made.api("list_items").sync(job_id, client=client, limit=4, cursor=cursor)
        found += [(item.row, item.reference, str(item.state)) for item in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert found == [
        (2, "order-1", "installed"),
        (3, "order-2", "installed"),
        (4, "order-3", "installed"),
        (5, "order-4", "installed"),
        (6, "order-5", "failed"),
        (7, "order-6", "failed"),
    ]
    wrong = made.api("list_items").sync(job_id, client=client, cursor="nonsense")
    assert (wrong.status, wrong.code) == (400, "wrong_cursor")
    item = made.api("get_item").sync(job_id, 6, client=client)
    assert (item.code, item.message, len(item.history)) == ("refused", SUSPENDED, 1)

    # Failures; mended at Cyclr, they are tried again.
    failures = made.api("list_failures").sync(job_id, client=client)
    assert failures.failed == 2
    assert [(each.code, each.count, each.message) for each in failures.reasons] == [("refused", 2, SUSPENDED)]
    served.simulator.call(lambda world: world.faults.clear())
    retried = made.api("retry_job").sync(
        job_id, client=client, body=models.Retry(codes=[models.Code.REFUSED])
    )
    assert (retried.queued, retried.wiped, retried.live) == (2, 0, 0)
    assert wait_until_completed(job_id).installed == 6

    # Results.
    results = made.api("download_results").sync_detailed(job_id, client=client)
    rows = list(csv.DictReader(io.StringIO(results.content.decode("utf-8-sig"))))
    assert [(row["account_id"], row["x_crm"], row["_state"]) for row in rows] == [
        (each, str(number), "done") for number, each in enumerate(accounts, start=1)
    ]
    assert {row["api_key"] for row in rows} == {"[not exported]"}

    # A file, in a form and as the body.
    more = ids("more", 3)
    served.simulator.call(lambda world: add_accounts(world, more))
    lines = [f"{each},key-of-{each}-5f1c" for each in [*more[:2], "nowhere"]]
    file = io.BytesIO("\n".join(["account_id,api_key", *lines]).encode())
    form = models.NewJobForm(
        file=types.File(payload=file, file_name="more.csv"),
        connector=MAIL,
        skip_invalid=True,
        first=1,
        operation=models.NewJobFormOperation.INSTALL,
        beside=True,
        as_written=list(models.NewJobFormAsWrittenItem),
    )
    by_form = submit(client=client, body=form)
    assert by_form.status_code == 202, by_form.content
    assert (by_form.parsed.source_name, by_form.parsed.total, by_form.parsed.refused) == ("more.csv", 2, 1)
    assert by_form.parsed.held == 1
    body_file = io.BytesIO(f"account_id,api_key\n{more[2]},key-of-{more[2]}-5f1c\n".encode())
    by_body = submit(client=client, body=types.File(payload=body_file), connector=MAIL)
    assert by_body.status_code == 202, by_body.content
    assert wait_until_completed(by_body.parsed.id).installed == 1

    # Problems come as what they are, and health needs no key.
    refused = submit(client=client, body=new_job(["nowhere"]))
    assert (refused.status_code, refused.parsed.code) == (422, "problems_in_file")
    assert [(fault.row, fault.column) for fault in refused.parsed.errors] == [(2, "account_id")]
    with http_client(base_url=served.url) as stranger:
        anybody = made.client.Client(base_url=served.url).set_httpx_client(stranger)
        assert made.api("get_health").sync(client=anybody).status == "ok"
