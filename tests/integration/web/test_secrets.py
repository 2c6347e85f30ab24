"""No answer and no page holds a secret that went in, whatever is asked and however it fails."""

import base64
import json
from collections.abc import Iterator

import httpx

from tests.end_to_end.harness import MAIL
from tests.integration.web.routes import routes_of
from tests.integration.web.site import CLIENT_SECRET, SEALING_KEYS, Site, wait_until
from tests.integration.web.test_permissions import session_of, signed_in
from worker.simulator.faults import refused
from worker.simulator.server import SimulatorThread
from worker.store.api_keys import Scope

SECRETS = [
    f"s3cr3t-{word}-{number:04x}"
    for number, word in enumerate(("acme", "globex", "initech", "wrong", "row", "list"), 0xB0B0)
]
ACME, GLOBEX, INITECH, WRONG, ROW, LIST = SECRETS


def test_no_answer_holds_a_secret(site: Site, simulator: SimulatorThread):
    writer_key, reader_key = site.key(name="writer"), site.key(Scope.READ, name="reader")
    client = site.client(writer_key)
    # Cyclr says in its refusal what it was sent.
    echo = refused(400, f"The key {GLOBEX} is not valid")
    simulator.simulator.faults.add(echo, call="install", account_id="globex")
    answers = list(hand_in(client))
    job_id = next(answer.json()["id"] for answer in answers if answer.status_code == 202)
    with site.working():
        wait_until(lambda: client.get(f"/v1/jobs/{job_id}").json()["state"] == "completed")
    assert client.get(f"/v1/jobs/{job_id}/items/3").json()["state"] == "failed"
    readers = [client, site.client(reader_key), site.client(), signed_in(site, session_of(site, writer_key))]
    answers += ask_everything(site, readers, job_id)
    assert len(answers) > 60
    hidden = [*SECRETS, CLIENT_SECRET, SEALING_KEYS.partition(":")[2], writer_key, reader_key]
    hidden += [key.split("_", 2)[2] for key in (writer_key, reader_key)]
    forms = {form for secret in hidden for form in forms_of(secret)}
    for answer in answers:
        headers = str(answer.headers)
        for form in forms:
            assert form.encode() not in answer.content, (answer.request.url, answer.status_code)
            assert form not in headers, answer.request.url


def forms_of(secret: str) -> tuple[str, ...]:
    return secret, base64.b64encode(secret.encode()).decode(), json.dumps(secret)[1:-1]


def hand_in(client: httpx.Client) -> Iterator[httpx.Response]:
    """A job that runs, and others that are refused for what stands beside their secrets."""
    csv = f"account_id,connector,api_key,property.WebhookSecret\nacme,{MAIL},{ACME},{ROW}\nglobex,{MAIL},{GLOBEX},{ROW}\n"
    as_csv = {"Content-Type": "text/csv"}
    yield client.post("/v1/jobs", content=csv, headers=as_csv, params={"validate_only": "true"})
    for broken in (
        csv.replace("acme,", "nowhere,"),
        csv.replace("api_key", "username"),
        csv.replace("api_key", "api_kee"),
        csv.replace(MAIL, "Unknown"),
        csv + f"initech,{MAIL},{WRONG}\n",
        csv + f'initech,{MAIL},"{WRONG}\n',
        csv.partition("\n")[2],  # no header: the first row is taken for one
    ):
        yield client.post("/v1/jobs", content=broken, headers=as_csv)
    yield client.post(
        "/v1/jobs", json={"items": [{"account_id": "acme", "api_key": [LIST]}], "options": {"first": LIST}}
    )
    yield client.post("/v1/jobs", json={"items": [{"account_id": "acme", "api_key": 1}], "x": [LIST]})
    yield client.post(
        "/v1/jobs", content=f'{{"items": ["{LIST}', headers={"Content-Type": "application/json"}
    )
    yield client.post("/v1/jobs", content=csv, headers=as_csv)
    yield client.post("/v1/jobs", content=csv, headers=as_csv)


def ask_everything(site: Site, readers: list[httpx.Client], job_id: str) -> Iterator[httpx.Response]:
    values = {"job_id": job_id, "upload_id": "nowhere", "token": "nothing"}
    for reader in readers:
        for route in routes_of(site.app):
            if route.method != "GET" or route.path == "/static":
                continue
            for address in {route.address(**values, row=row, row_number=row): row for row in (2, 3)}:
                yield reader.get(address)
