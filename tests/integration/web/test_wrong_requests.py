"""What is wrong with a request is told, and nothing of it goes missing on the way."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from tests.end_to_end.harness import MAIL, small_world
from tests.integration.store.databases import Stores
from tests.integration.web.conftest import ACCOUNTS
from tests.integration.web.site import Site, new_site
from tests.plain_http import AS_OWN_PAGE
from worker.simulator.server import SimulatorThread
from worker.store.session import reading
from worker.store.tables import jobs
from worker.web.http_errors import title_of

CSV = "account_id,connector,api_key\nacme,Northwind Mail,key-acme-5f1c\n"
ONCE = "expected it once, got it twice or more in one object: which value is meant?"


@dataclass(frozen=True)
class Office:
    """A site with a job of three rows that is paused, and whoever writes to it."""

    site: Site
    client: httpx.Client
    job_id: str


@pytest.fixture(scope="module")
def office(stores: Stores, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    with (
        SimulatorThread(small_world(*ACCOUNTS)) as simulator,
        new_site(stores, redis_url, simulator, folder) as site,
    ):
        client = site.client(site.key())
        client.headers["Connection"] = "close"
        items = [
            {"account_id": each, "connector": MAIL, "api_key": "k", "reference": reference}
            for each, reference in (("globex", "order-1"), ("initech", ""), ("umbrella", "  order, 3 "))
        ]
        job = client.post("/v1/jobs", json={"items": items, "options": {"source_name": "three"}}).json()
        client.post(f"/v1/jobs/{job['id']}/pause").raise_for_status()
        yield Office(site, client, job["id"])


def count_jobs(office: Office) -> int:
    with reading(office.site.engine) as connection:
        return connection.execute(select(func.count()).select_from(jobs)).scalar_one()


def post_text(office: Office, path: str, text: str) -> httpx.Response:
    return office.client.post(path, content=text, headers={"Content-Type": "application/json"})


def refused(answer: httpx.Response, status: int, code: str) -> list[dict[str, Any]]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert (problem["status"], problem["code"], problem["title"]) == (status, code, title_of(status))
    errors: list[dict[str, Any]] = problem.get("errors", [])
    return errors


# Keys of items


def test_a_key_that_nobody_knows_is_a_problem_told_once_with_its_first_row(office: Office) -> None:
    items = [
        {"account_id": "acme", "connector": MAIL, "api_key": "key-1-5f1c"},
        {"account_id": "globex", "connector": MAIL, "api_kee": "key-2-5f1c"},
        {"account_id": "initech", "connector": MAIL, "Api-Kee": "key-3-5f1c", "api_kee": "key-4-5f1c"},
        {"account_id": "umbrella", "connector": MAIL, "shoe size": "44"},
    ]
    answer = office.client.post("/v1/jobs", json={"items": items, "options": {"skip_invalid": True}})
    assert refused(answer, 422, "problems_in_file") == [
        {
            "row": 3,
            "column": "api_kee",
            "message": "unknown: did you mean api_key? A key of your own begins with x_",
            "count": 2,
        },
        {
            "row": 4,
            "column": "Api-Kee",
            "message": "unknown: did you mean api_key? A key of your own begins with x_",
        },
        {
            "row": 5,
            "column": "column 3",
            "message": "unknown: is it misspelt? A key of your own begins with x_",
        },
    ]
    assert answer.json()["error_count"] == 4
    assert "5f1c" not in answer.text
    assert count_jobs(office) == 1


def test_a_key_of_ones_own_comes_back_in_the_results_unless_it_may_be_a_credential(
    site: Site, simulator: SimulatorThread
) -> None:
    client = site.client(site.key())
    item = {
        "account_id": "acme",
        "connector": MAIL,
        "api_key": "key-1-5f1c",
        "x_crm": "17",
        "X-Auth-Key": "77ab",
    }
    answer = client.post("/v1/jobs", json={"items": [item]})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert job["warnings"] == [
        {
            "row": None,
            "column": "X-Auth-Key",
            "message": "its values are not exported, since by its name they may be credentials: call it something else",
            "count": None,
            "rows": None,
        }
    ]
    header, row = client.get(f"/v1/jobs/{job['id']}/results.csv").content.decode("utf-8-sig").splitlines()
    assert header.startswith("account_id,connector,api_key,x_crm,X-Auth-Key,_job,")
    assert row.startswith(f"acme,{MAIL},[not exported],17,[not exported],{job['id']},2,queued,")


# The same key twice


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (
            '{"items": [{"account_id": "acme", "api_key": "key-1-5f1c", "api_key": "key-2-77ab"}]}',
            {"row": 2, "column": "api_key", "message": ONCE},
        ),
        (
            '{"options": {"first": 1, "first": 5}, "items": [{"account_id": "acme"}]}',
            {"column": "options.first", "message": ONCE},
        ),
        ('{"items": [], "items": [{"account_id": "acme"}]}', {"column": "items", "message": ONCE}),
    ],
)
def test_a_key_that_is_there_twice_creates_nothing(office: Office, body: str, fault: dict[str, Any]) -> None:
    answer = post_text(office, "/v1/jobs", body)
    assert refused(answer, 422, "invalid_request") == [fault]
    assert "key-" not in answer.text
    assert count_jobs(office) == 1


def test_a_key_that_is_there_twice_steers_nothing(office: Office) -> None:
    here = f"/v1/jobs/{office.job_id}"
    for path, body, column in (
        ("/retry", '{"codes": ["refused"], "codes": []}', "codes"),
        ("/resume", '{"first": 1, "first": 2}', "first"),
        ("/authorisations", '{"expires_in_days": 1, "expires_in_days": 90}', "expires_in_days"),
    ):
        faults = refused(post_text(office, here + path, body), 422, "invalid_request")
        assert faults == [{"column": column, "message": ONCE}], path
    assert office.client.get(here).json()["state"] == "paused"


def test_a_field_of_a_form_and_a_parameter_of_the_address_are_there_once(office: Office) -> None:
    fields = [("connector", (None, MAIL)), ("connector", (None, "Another")), ("file", ("a.csv", CSV))]
    by_form = office.client.post("/v1/jobs", files=fields)
    assert refused(by_form, 422, "invalid_request") == [
        {"column": "connector", "message": "expected it once, got it twice or more"}
    ]
    headers = {"Content-Type": "text/csv"}
    by_address = office.client.post("/v1/jobs?first=1&first=900", content=CSV, headers=headers)
    assert refused(by_address, 422, "invalid_request") == [
        {"column": "first", "message": "expected it once, got it twice or more"}
    ]
    assert count_jobs(office) == 1


def test_a_list_of_a_form_may_be_several_fields(site: Site) -> None:
    client = site.client(site.key())
    mine = {"Idempotency-Key": "order-17"}
    file = ("file", ("a.csv", CSV))
    several = [("as_written", (None, each)) for each in ("account_id", "connector_version")]
    first = client.post("/v1/jobs", headers=mine, files=[*several, file])
    one = ("as_written", (None, "account_id,connector_version"))
    again = client.post("/v1/jobs", headers=mine, files=[one, file])
    assert (first.status_code, again.status_code) == (202, 200)


def test_options_of_the_address_count_beside_a_list_which_goes_before_them(site: Site) -> None:
    client = site.client(site.key())
    items = [{"account_id": each, "connector": MAIL, "api_key": "k"} for each in ACCOUNTS]
    body = {"items": items, "options": {"source_name": "of the list"}}
    answer = client.post("/v1/jobs", params={"first": 1, "source_name": "of the address"}, json=body)
    assert answer.status_code == 202, answer.text
    assert (answer.json()["held"], answer.json()["source_name"]) == (3, "of the list")


# Numbers


def test_numbers_where_texts_are_wanted_are_told_with_row_and_column(office: Office) -> None:
    items = [{"account_id": 17, "api_key": True}, {"account_id": "acme", "reference": ["a"], "api_kee": "k"}]
    answer = office.client.post("/v1/jobs", json={"items": items})
    assert refused(answer, 422, "invalid_request") == [
        {"row": 2, "column": "account_id", "message": "expected a text, got a number: write it in quotes"},
        {"row": 2, "column": "api_key", "message": "expected a text, got true or false: write it in quotes"},
        {"row": 3, "column": "reference", "message": "expected a text, got a list"},
        # What else is wrong with the items comes at once.
        {
            "row": 3,
            "column": "api_kee",
            "message": "unknown: did you mean api_key? A key of your own begins with x_",
        },
    ]


def test_parameters_are_told_in_the_same_words(office: Office) -> None:
    answer = office.client.get("/v1/jobs", params={"limit": "many", "state": "gone"})
    assert refused(answer, 422, "invalid_request") == [
        {
            "column": "state.0",
            "message": "expected 'loading', 'running', 'paused', 'completed' or 'cancelled', got another text",
        },
        {"column": "limit", "message": "expected a whole number, got a text"},
    ]
    results = office.client.get(f"/v1/jobs/{office.job_id}/results.csv", params={"state": "gone"})
    expected = (
        "expected one of done, held, queued, running, installed, failed, cancelled, refused, got another text"
    )
    assert refused(results, 422, "invalid_request") == [{"column": "state", "message": expected}]
    items = office.client.get(f"/v1/jobs/{office.job_id}/items", params={"reason": "refused"})
    expected = "expected the 8 letters and digits of a reason's key, got another text"
    assert refused(items, 422, "invalid_request") == [{"column": "reason", "message": expected}]
    job = office.client.get("/v1/jobs/no_such_job")
    assert refused(job, 422, "invalid_request") == [
        {"column": "job_id", "message": "expected 16 letters, digits and dashes at most, got another text"}
    ]
    keyed = office.client.post("/v1/jobs", json={"items": []}, headers={"Idempotency-Key": b"\xe4"})
    assert refused(keyed, 422, "invalid_request") == [
        {
            "column": "Idempotency-Key",
            "message": "expected letters, digits and signs of ASCII, got another text",
        }
    ]


# Cursors


@pytest.mark.parametrize("cursor", ["", "nonsense", "261121-k3x9qd", "a\0b", "0", "-1", "a" * 300, "ü"])
@pytest.mark.parametrize(
    "path", ["/v1/jobs", "/v1/jobs/{}/items", "/v1/jobs/{}/failures", "/v1/jobs/{}/authorisations"]
)
def test_a_wrong_cursor_is_told_so(office: Office, path: str, cursor: str) -> None:
    answer = office.client.get(path.format(office.job_id), params={"cursor": cursor})
    refused(answer, 400, "wrong_cursor")
    expected = "Expected as `cursor` the `next_cursor` of the page before this one, got another text"
    assert answer.json()["detail"].startswith(expected)


@pytest.mark.parametrize("cursor", ["1", "5", "2147483647", "9999999999", "\u0663"])
def test_a_row_that_the_job_does_not_have_is_a_wrong_cursor(office: Office, cursor: str) -> None:
    answer = office.client.get(f"/v1/jobs/{office.job_id}/items", params={"cursor": cursor})
    refused(answer, 400, "wrong_cursor")


def test_a_right_cursor_leads_to_the_next_page_also_to_an_empty_one(office: Office) -> None:
    here = f"/v1/jobs/{office.job_id}/items"
    first = office.client.get(here, params={"limit": 2}).json()
    assert ([item["row"] for item in first["items"]], first["next_cursor"]) == ([2, 3], "3")
    rest = office.client.get(here, params={"limit": 2, "cursor": "3"}).json()
    assert ([item["row"] for item in rest["items"]], rest["next_cursor"]) == ([4], None)
    assert office.client.get(here, params={"cursor": "4"}).json() == {"items": [], "next_cursor": None}
    last = office.client.get("/v1/jobs", params={"cursor": office.job_id}).json()
    assert last == {"jobs": [], "next_cursor": None}


# Methods and titles


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/v1/jobs", "DELETE", "GET, POST"),
        ("/v1/jobs", "OPTIONS", "GET, POST"),
        ("/v1/jobs/{}", "PUT", "GET"),
        ("/v1/jobs/{}/retry", "GET", "POST"),
        ("/v1/jobs/{}/authorisations", "PATCH", "GET, POST"),
        ("/v1/connectors", "BREW", "GET"),
        ("/healthz", "POST", "GET"),
    ],
)
def test_an_address_names_all_methods_that_it_takes(
    office: Office, path: str, method: str, allowed: str
) -> None:
    answer = office.client.request(method, path.format(office.job_id))
    assert refused(answer, 405, "method_not_allowed") == []
    assert answer.headers["Allow"] == allowed
    given = "another method" if method == "BREW" else method
    assert answer.json()["detail"] == f"This address takes {allowed.replace(', ', ' and ')}, not {given}."


def test_a_page_and_a_file_name_their_methods_too(office: Office) -> None:
    page = office.client.delete("/jobs", headers=AS_OWN_PAGE)
    assert (page.status_code, page.headers["Allow"]) == (405, "GET")
    assert "This address takes GET, not DELETE." in page.text
    file = office.client.post("/static/app.css", headers=AS_OWN_PAGE)
    assert (file.status_code, file.headers["Allow"]) == (405, "GET, HEAD")


def test_titles_are_those_of_the_standard_whatever_python_calls_them() -> None:
    assert (title_of(413), title_of(422)) == ("Content Too Large", "Unprocessable Content")
    assert title_of(418) == "Error"


# References


def test_items_tell_their_reference(office: Office) -> None:
    here = f"/v1/jobs/{office.job_id}/items"
    assert [item["reference"] for item in office.client.get(here).json()["items"]] == [
        "order-1",
        None,
        "order, 3",
    ]
    assert office.client.get(f"{here}/4").json()["reference"] == "order, 3"


def test_items_of_a_file_without_references_have_none(site: Site) -> None:
    client = site.client(site.key())
    job = client.post("/v1/jobs", content=CSV, headers={"Content-Type": "text/csv"}).json()
    [item] = client.get(f"/v1/jobs/{job['id']}/items").json()["items"]
    assert item["reference"] is None


# What helps is called as it is called here


DOUBTED = "account_id,account_name,connector,api_key\n12345.0,New,Northwind Mail,k\n"
OPTION = "write the id that is meant, or give the option `as_written` with account_id"


def test_a_doubt_names_the_option_of_the_api(office: Office) -> None:
    headers = {"Content-Type": "text/csv"}
    answer = office.client.post("/v1/jobs", content=DOUBTED, headers=headers)
    [fault] = refused(answer, 422, "problems_in_file")
    assert fault["message"].endswith(OPTION)
    no_connector = office.client.post("/v1/jobs", json={"items": [{"account_id": "acme", "api_key": "k"}]})
    messages = [fault["message"] for fault in refused(no_connector, 422, "problems_in_file")]
    assert messages
    assert all(message.endswith("or give the option `connector`") for message in messages)
    both = {"items": [{"account_id": "acme", "connector": MAIL}], "options": {"connector": MAIL}}
    named_twice = office.client.post("/v1/jobs", json=both)
    assert named_twice.status_code == 422
    assert all("--" not in each.text for each in (answer, no_connector, named_twice))


def test_results_over_http_name_it_too(site: Site) -> None:
    client = site.client(site.key())
    content = DOUBTED + "acme,,Northwind Mail,k\n"
    headers = {"Content-Type": "text/csv"}
    job = client.post("/v1/jobs?skip_invalid=true", content=content, headers=headers).json()
    results = client.get(f"/v1/jobs/{job['id']}/results.csv").content.decode("utf-8-sig")
    assert OPTION in results
    assert "--" not in results
