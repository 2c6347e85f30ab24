"""What the API says of itself, to generators of clients and to people."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator

from worker.domain.states import Code, PauseReason
from worker.web import api, desk
from worker.web.api.documentation import document
from worker.web.api.submitting import NewJobOptions

OPERATIONS = {
    "submitJob": "POST /v1/jobs",
    "listJobs": "GET /v1/jobs",
    "getJob": "GET /v1/jobs/{job_id}",
    "listItems": "GET /v1/jobs/{job_id}/items",
    "getItem": "GET /v1/jobs/{job_id}/items/{row}",
    "listFailures": "GET /v1/jobs/{job_id}/failures",
    "downloadResults": "GET /v1/jobs/{job_id}/results.csv",
    "pauseJob": "POST /v1/jobs/{job_id}/pause",
    "resumeJob": "POST /v1/jobs/{job_id}/resume",
    "cancelJob": "POST /v1/jobs/{job_id}/cancel",
    "retryJob": "POST /v1/jobs/{job_id}/retry",
    "followJob": "GET /v1/jobs/{job_id}/events",
    "listConnectors": "GET /v1/connectors",
    "listAccounts": "GET /v1/accounts",
    "getAccount": "GET /v1/accounts/{account_id}",
    "getHealth": "GET /healthz",
    "getReadiness": "GET /readyz",
    "getVersion": "GET /version",
    "getMetrics": "GET /metrics",
    "listAuthorisations": "GET /v1/jobs/{job_id}/authorisations",
    "makeLinks": "POST /v1/jobs/{job_id}/authorisations",
    "downloadLinks": "GET /v1/jobs/{job_id}/authorisations.csv",
    "withdrawLinks": "POST /v1/jobs/{job_id}/authorisations/withdraw",
    "askForAuthorisations": "POST /v1/jobs/{job_id}/authorisations/ask",
    "withdrawLink": "POST /v1/jobs/{job_id}/authorisations/{row}/withdraw",
    "renewLink": "POST /v1/jobs/{job_id}/authorisations/{row}/renew",
}


def description(**options: Any) -> dict[str, Any]:
    app = FastAPI()
    for part in (api, desk):
        app.include_router(part.router)
    document(app, **options)
    return app.openapi()


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return description()


def operations(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def operation(described: dict[str, Any], operation_id: str) -> dict[str, Any]:
    method, path = OPERATIONS[operation_id].split()
    found: dict[str, Any] = described["paths"][path][method.lower()]
    return found


def test_the_description_is_valid_openapi_3_1(described: dict[str, Any]) -> None:
    assert described["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(described).validate()


def test_every_operation_has_a_name_for_generated_clients(described: dict[str, Any]) -> None:
    assert {each["operationId"]: label for label, each in operations(described)} == OPERATIONS


def test_every_operation_has_words_and_a_part_of_the_description(described: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in described["tags"]}
    for label, each in operations(described):
        assert each["summary"], label
        assert each["description"], label
        assert set(each["tags"]) <= tags, label


def test_health_needs_no_key_and_all_else_does(described: dict[str, Any]) -> None:
    needed = {each["operationId"]: each["security"] for _, each in operations(described)}
    assert {name for name, security in needed.items() if security == []} == {
        "getHealth",
        "getReadiness",
        "getVersion",
    }
    others = [security for security in needed.values() if security]
    assert others == [[{"apiKey": []}]] * (len(OPERATIONS) - 3)
    scheme = described["components"]["securitySchemes"]["apiKey"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


def test_the_server_is_where_the_document_came_from_or_the_public_address(described: dict[str, Any]) -> None:
    assert described["servers"] == [{"url": "/"}]
    assert description(server_url="https://bulk.example")["servers"] == [{"url": "https://bulk.example"}]


def test_the_form_is_described_with_all_options(described: dict[str, Any]) -> None:
    kinds = operation(described, "submitJob")["requestBody"]["content"]
    assert set(kinds) == {"application/json", "text/csv", "multipart/form-data"}
    assert kinds["multipart/form-data"]["schema"] == {"$ref": "#/components/schemas/NewJobForm"}
    form = described["components"]["schemas"]["NewJobForm"]
    assert form["required"] == ["file"]
    assert set(form["properties"]) == {"file", *NewJobOptions.model_fields}
    assert form["properties"]["file"]["format"] == "binary"


def test_the_headers_that_count_are_described(described: dict[str, Any]) -> None:
    submitted = operation(described, "submitJob")
    names = {each["name"] for each in submitted["parameters"] if each["in"] == "header"}
    assert names == {"Idempotency-Key"}
    answers = submitted["responses"]
    told = {status: set(answer.get("headers", ())) for status, answer in answers.items()}
    assert told == {
        "200": {"Location"},
        "202": {"Location"},
        "400": set(),
        "401": {"WWW-Authenticate"},
        "403": set(),
        "409": {"Retry-After"},
        "413": set(),
        "415": set(),
        "422": set(),
        "429": {"Retry-After"},
        "503": {"Retry-After"},
    }
    job = operation(described, "getJob")
    assert {"If-None-Match"} <= {each["name"] for each in job["parameters"]}
    assert set(job["responses"]["200"]["headers"]) == set(job["responses"]["304"]["headers"]) == {"ETag"}
    assert {"Last-Event-ID"} <= {each["name"] for each in operation(described, "followJob")["parameters"]}
    for name in ("downloadResults", "downloadLinks"):
        assert set(operation(described, name)["responses"]["200"]["headers"]) == {"Content-Disposition"}


def test_it_says_what_each_code_and_each_pause_means(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    codes = schemas["Item"]["properties"]["code"]["description"].splitlines()
    assert codes[0] == "Why it failed or waits; stable."
    assert [line.split("`")[1] for line in codes[1:]] == list(Code)
    assert (
        "- `credential_lost`: the sealed data of the row cannot be opened: wiped, or its key is gone" in codes
    )
    pauses = schemas["Job"]["properties"]["pause_reason"]["description"].splitlines()
    assert [line.split("`")[1] for line in pauses] == list(PauseReason)
