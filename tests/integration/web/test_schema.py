"""The API keeps to its own description: what schemathesis makes of it, against the real application on PostgreSQL."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
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
from tests.postgres import open_databases
from worker.simulator.server import SimulatorThread
from worker.store.schema import upgrade
from worker.store.session import open_engine
from worker.store.sightings import note_sighting
from worker.web import api, desk
from worker.web.api.documentation import document

EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "50"))  # of each operation
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@dataclass
class Described:
    """A site with a job that has ended and one that is paused."""

    site: Site
    key: str
    jobs: dict[str, str]


@pytest.fixture(scope="module")
def described(redis_url: str) -> Iterator[Described]:
    with (
        open_databases() as databases,
        SimulatorThread(small_world("acme", "globex", "initech")) as simulator,
    ):
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


def operations() -> list[Any]:
    """Of the API as it describes itself, the desk's included."""
    app = FastAPI()
    for part in (api, desk):
        app.include_router(part.router)
    document(app)
    schema = schemathesis.openapi.from_dict(app.openapi())
    return [found.ok() for found in schema.get_all_operations()]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.label)
def test_every_answer_is_as_the_description_says(operation: Any, described: Described):
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=operation.as_strategy(), which=st.sampled_from(["any", "ended", "paused"]))
    def check(case: Any, which: str) -> None:
        if which != "any" and "job_id" in (case.path_parameters or {}):
            # Events of a job that has not ended go on for ever.
            case.path_parameters["job_id"] = described.jobs[
                "ended" if case.path.endswith("/events") else which
            ]
        note_sighting(described.site.engine, "worker-of-tests", described.site.place.database.instance_id)
        answer = case.call(
            base_url=described.site.url, headers={"Authorization": f"Bearer {described.key}"}, timeout=60
        )
        case.validate_response(answer, checks=CHECKS)

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
