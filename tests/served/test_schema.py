"""The API keeps to its own description: what schemathesis makes of it, against the real application on PostgreSQL."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.end_to_end.harness import small_world
from tests.integration.web.site import Site, open_site, wait_until
from tests.integration.web.test_reading import submit
from tests.postgres import Databases
from tests.servers import valkey
from worker.simulator.server import SimulatorThread
from worker.store.instances import note_sighting
from worker.store.readiness import upgrade
from worker.store.session import open_engine
from worker.web import api, desk
from worker.web.api.documentation import document

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "50"))  # of each operation
# Written down, since every process of a test run would have to work them out before it knows its tests.
OPERATIONS = (
    "POST /v1/jobs",
    "GET /v1/jobs",
    "GET /v1/jobs/{job_id}",
    "GET /v1/jobs/{job_id}/items",
    "GET /v1/jobs/{job_id}/items/{row}",
    "GET /v1/jobs/{job_id}/failures",
    "GET /v1/jobs/{job_id}/results.csv",
    "POST /v1/jobs/{job_id}/pause",
    "POST /v1/jobs/{job_id}/resume",
    "POST /v1/jobs/{job_id}/cancel",
    "POST /v1/jobs/{job_id}/retry",
    "GET /v1/jobs/{job_id}/events",
    "GET /v1/connectors",
    "GET /v1/accounts",
    "GET /v1/accounts/{account_id}",
    "GET /healthz",
    "GET /readyz",
    "GET /version",
    "GET /metrics",
    "GET /v1/jobs/{job_id}/authorisations",
    "POST /v1/jobs/{job_id}/authorisations",
    "GET /v1/jobs/{job_id}/authorisations.csv",
    "POST /v1/jobs/{job_id}/authorisations/withdraw",
    "POST /v1/jobs/{job_id}/authorisations/ask",
    "POST /v1/jobs/{job_id}/authorisations/{row}/withdraw",
    "POST /v1/jobs/{job_id}/authorisations/{row}/renew",
)
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@dataclass
class Described:
    """A site with a job that has ended and one that is paused."""

    site: Site
    key: str
    jobs: dict[str, str]


@pytest.fixture(scope="module")
def described(databases: Databases) -> Iterator[Described]:
    with valkey() as redis_url, SimulatorThread(small_world("acme", "globex", "initech")) as simulator:
        url = databases.new()
        engine = open_engine(url)
        upgrade(engine)
        with open_site(simulator, engine, redis_url, None) as site:
            key = site.key()
            client = site.client(key)
            jobs = {"ended": submit(client, "acme")}
            with site.working():
                wait_until(lambda: client.get(f"/v1/jobs/{jobs['ended']}").json()["state"] == "completed")
            jobs["paused"] = submit(client, "globex")
            client.post(f"/v1/jobs/{jobs['paused']}/pause").raise_for_status()
            yield Described(site, key, jobs)
        engine.dispose()
        databases.drop(url)


@pytest.fixture(scope="module")
def operations() -> dict[str, Any]:
    """Of the API as it describes itself, the desk's included: label -> operation."""
    app = FastAPI()
    for part in (api, desk):
        app.include_router(part.router)
    document(app)
    schema = schemathesis.openapi.from_dict(app.openapi())
    return {found.ok().label: found.ok() for found in schema.get_all_operations()}


def test_every_operation_is_tried(operations: dict[str, Any]):
    assert set(operations) == set(OPERATIONS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_is_as_the_description_says(
    label: str, operations: dict[str, Any], described: Described
):
    # Readiness asks for a worker that was seen within the minute.
    note_sighting(described.site.engine, "worker-of-tests", described.site.place.database.instance_id)
    session = requests.Session()
    session.trust_env = False
    # A kept connection may be closed by the server just when the next request is sent.
    session.headers["Connection"] = "close"

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=operations[label].as_strategy(), which=st.sampled_from(["any", "ended", "paused"]))
    def check(case: Any, which: str) -> None:
        if which != "any" and "job_id" in (case.path_parameters or {}):
            # Events of a job that has not ended go on for ever.
            case.path_parameters["job_id"] = described.jobs[
                "ended" if case.path.endswith("/events") else which
            ]
        answer = case.call(
            base_url=described.site.url,
            session=session,
            headers={"Authorization": f"Bearer {described.key}"},
            timeout=60,
        )
        case.validate_response(answer, checks=CHECKS)

    with session:
        check()


def test_every_operation_is_described_with_what_it_answers_to_strangers(described: Described):
    document = described.site.client().get("/v1/openapi.json").json()
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) > 15
    for path, method, operation in operations:
        assert operation["summary"], (path, method)
        if path.startswith("/v1"):
            assert {"401", "422", "429", "503"} <= set(operation["responses"]), (path, method)
            assert operation["security"], (path, method)
