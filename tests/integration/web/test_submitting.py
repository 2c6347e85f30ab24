"""Handing in over HTTP: JSON, CSV and forms; every problem at once; what is the same is not done twice."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from tests.end_to_end.harness import MAIL
from tests.integration.store.databases import Loads, planned
from tests.integration.web.site import Site, wait_until
from worker.domain.options import RunOptions
from worker.domain.targets import target_key
from worker.simulator.server import SimulatorThread
from worker.store.session import reading
from worker.store.tables import idempotency_keys, items, jobs, upload_pieces, uploads
from worker.web import handing_in
from worker.web.api.submitting import NewJobOptions

CSV = (
    "account_id,connector,api_key\nacme,Northwind Mail,key-acme-5f1c\nglobex,Northwind Mail,key-globex-77ab\n"
)
ITEMS = [
    {"account_id": "acme", "connector": MAIL, "api_key": "key-acme-5f1c"},
    {"account_id": "globex", "connector": MAIL, "api_key": "key-globex-77ab", "property.Region": "EU"},
]


@pytest.fixture
def client(site: Site) -> httpx.Client:
    return site.client(site.key())


def post_csv(client: httpx.Client, content: str = CSV, **more: Any) -> httpx.Response:
    headers = {"Content-Type": "text/csv"} | more.pop("headers", {})
    return client.post("/v1/jobs", content=content, headers=headers, **more)


def rows_in(site: Site) -> list[tuple[int, str, str]]:
    with reading(site.engine) as connection:
        wanted = select(items.c.row_number, items.c.account_id, items.c.state).order_by(items.c.row_number)
        return [tuple(row) for row in connection.execute(wanted)]


@contextmanager
def load_of_acme(site: Site) -> Iterator[str]:
    """Another load that has the row of `acme`, while the context lasts; nothing comes of it. Its job."""
    instance_id = site.place.database.instance_id
    loader = Loads(site.engine).loader(instance_id=instance_id)
    loader.add(planned(2, target=target_key(instance_id, "acme", MAIL)), account_exists=True)
    loader.write()
    try:
        yield loader.job_id
    finally:
        loader.abandon()


def test_a_load_that_has_rows_of_the_file_is_not_waited_for_longer_than_a_client_would(
    site: Site, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
):
    assert handing_in.WAITS_FOR_LOAD_S == 10.0
    monkeypatch.setattr(handing_in, "WAITS_FOR_LOAD_S", 0.5)
    with load_of_acme(site) as other:
        answer = post_csv(client)
        others_rows = post_csv(client, "account_id,connector,api_key\nglobex,Northwind Mail,k\n")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["code"] == "try_again"
    assert told["detail"].startswith(
        f"Rows of this file are in job {other} (file.csv), which is being loaded since "
    )
    assert told["detail"].endswith(" UTC: hand it in again in a moment, when that has ended or was given up.")
    assert others_rows.status_code == 202
    assert post_csv(client, CSV.replace("globex", "initech")).status_code == 202
    assert_nothing_waits(site)


def count(site: Site, table: Any) -> int:
    with reading(site.engine) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def assert_nothing_waits(site: Site) -> None:
    assert count(site, uploads) == count(site, upload_pieces) == 0
    folder = getattr(site.waiting._pieces, "_folder", None)
    assert folder is None or not list(folder.glob("*"))


def test_a_list_becomes_a_running_job(site: Site, client: httpx.Client):
    answer = client.post("/v1/jobs", json={"items": ITEMS})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["total"], job["left"], job["handed_in_by"]) == ("running", 2, 2, "tests")
    assert rows_in(site) == [(2, "acme", "queued"), (3, "globex", "queued")]
    assert_nothing_waits(site)


def test_a_csv_becomes_a_running_job_with_the_options_of_the_address(site: Site, client: httpx.Client):
    answer = post_csv(
        client,
        CSV.replace(",Northwind Mail", "").replace(",connector", ""),
        params={"connector": MAIL, "first": 1, "source_name": "spring.csv"},
    )
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["source_name"], job["total"], job["held"]) == ("spring.csv", 2, 1)
    assert_nothing_waits(site)


def test_a_form_with_a_file_becomes_a_running_job_with_the_options_of_its_fields(
    site: Site, client: httpx.Client
):
    bad = CSV + "nowhere,Northwind Mail,key-3\n"
    answer = client.post(
        "/v1/jobs",
        data={"skip_invalid": "true"},
        files={"file": ("C:\\Users\\ada\\accounts.csv", bad, "text/csv")},
    )
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["source_name"], job["total"], job["refused"]) == ("accounts.csv", 2, 1)
    assert_nothing_waits(site)


def test_every_problem_of_a_file_comes_at_once_and_nothing_is_created(site: Site, client: httpx.Client):
    content = (
        "account_id,connector,api_key,property.Nowhere\n"
        "acme,Northwind Mail,,\n"
        ",Northwind Mail,key-2,\n"
        "globex,Unknown,key-3,\n"
        "nowhere,Northwind Mail,key-4,\n"
        "initech,Northwind Mail,key-5,x\n"
    )
    answer = post_csv(client, content)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["status"], problem["title"]) == (
        "problems_in_file",
        422,
        "Unprocessable Content",
    )
    assert {error["row"] for error in problem["errors"]} == {2, 3, 4, 5, 6}
    assert problem["error_count"] == len(problem["errors"])
    assert all(error["message"] for error in problem["errors"])
    assert count(site, jobs) == 0
    assert_nothing_waits(site)


def test_the_first_thousand_problems_are_shown_and_all_are_counted(client: httpx.Client):
    rows = "".join(f"acme,{'n' * number},Northwind Mail,key\n" for number in range(251, 1_451))
    problem = post_csv(client, f"account_id,name,connector,api_key\n{rows}").json()
    assert len(problem["errors"]) == 1_000
    assert problem["error_count"] == 1_200
    assert problem["detail"] == "1,200 problems. Nothing was created."


def test_a_fault_of_many_rows_is_told_once_with_these_rows(client: httpx.Client):
    rows = ",Northwind Mail,key\n" * 1_200  # no account id: no call either
    problem = post_csv(client, "account_id,connector,api_key\n" + rows).json()
    message = "expected an account id, got an empty cell"
    assert problem["errors"] == [
        {"row": 2, "column": "account_id", "message": message, "count": 1_200, "rows": [[2, 1_201]]}
    ]
    assert problem["error_count"] == 1_200


def test_a_list_is_told_of_its_faults_by_row_and_column(site: Site, client: httpx.Client):
    answer = client.post("/v1/jobs", json={"items": [ITEMS[0], {"account_id": 7}], "more": 1})
    assert answer.status_code == 422
    faults = {(error.get("row"), error.get("column")) for error in answer.json()["errors"]}
    assert faults == {(3, "account_id"), (None, "(unknown name)")}
    assert count(site, jobs) == 0


@pytest.mark.parametrize("item", [{}, {"account_id": "  "}, {"account_id": "# 1", "api_key": "x"}])
def test_no_item_of_a_list_goes_missing(site: Site, client: httpx.Client, item: dict[str, str]):
    answer = client.post("/v1/jobs", json={"items": [ITEMS[0], item, ITEMS[1]]})
    assert answer.status_code == 422
    assert [error["row"] for error in answer.json()["errors"]] == [3]
    assert count(site, jobs) == 0


def test_a_list_holds_any_text(site: Site, client: httpx.Client):
    odd = 'a "quoted", line\nand\ra new; one\twith |'
    answer = client.post("/v1/jobs", json={"items": [ITEMS[0] | {"reference": odd, "description": odd}]})
    assert answer.status_code == 202, answer.text
    with reading(site.engine) as connection:
        [row] = connection.execute(select(items.c.description, items.c.cells))
    assert row.description == odd
    assert odd in row.cells


def test_a_dry_run_checks_with_the_catalogue_and_creates_nothing(site: Site, client: httpx.Client):
    answer = post_csv(client, params={"validate_only": "true"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["status"], found["rows"], found["planned"], found["refused"]) == ("valid", 2, 2, 0)
    assert found["connectors"] == {"Northwind Mail 3.0": 2}
    assert found["estimate"] == {
        "looks": 2,
        "installs": 2,
        "changes": 2,
        "new_accounts": 0,
        "calls": 4,
        "seconds": 0.0,
        "overwrites": 0,
    }
    assert found["encoding"] == "utf-8"
    bad = post_csv(client, CSV.replace("acme,", "nowhere,"), params={"validate_only": "true"})
    assert (bad.status_code, bad.json()["code"]) == (422, "problems_in_file")
    assert count(site, jobs) == 0
    assert_nothing_waits(site)


def test_a_dry_run_tells_what_was_left_out_and_which_accounts_are_new(client: httpx.Client):
    content = (
        "account_id,connector,api_key,account_name,name,colour\n"
        "# of November\n"
        "acme,Northwind Mail,key-1,,,red\n"
        "\n"
        "new-1,Northwind Mail,key-2,New Ltd,,\n"
        "NEW-1,Northwind Mail,key-3,New Ltd,Second,\n"
    )
    found = post_csv(client, content, params={"validate_only": "true"}).json()
    assert (found["rows"], found["comments"], found["empty"]) == (3, 1, 1)
    assert found["new_accounts"] == {"count": 1, "first": ["new-1"]}
    assert (found["estimate"]["new_accounts"], found["estimate"]["calls"]) == (2, 6)
    assert found["warnings"] == [
        {"row": None, "column": "colour", "message": "unknown, it is ignored", "count": None, "rows": None}
    ]
    assert found["warning_count"] == 1


def test_a_new_job_is_told_with_what_its_check_found_beside_it(client: httpx.Client):
    rows = "# of November\n\n# and these\nacme,Northwind Mail,key-1,MOON\nglobex,Northwind Mail,key-2,MOON\n"
    content = "account_id,connector,api_key,property.Region,colour\n" + rows
    first = post_csv(client, content)
    assert first.status_code == 202, first.text
    job = first.json()
    assert (job["total"], job["comments"], job["empty"], job["warning_count"]) == (2, 2, 1, 3)
    assert job["warnings"] == [
        {"row": None, "column": "colour", "message": "unknown, it is ignored", "count": None, "rows": None},
        {
            "row": 5,
            "column": "property.Region",
            "message": "expected one of EU, US, got 'MOON'",
            "count": 2,
            "rows": [[5, 6]],
        },
    ]
    # What was left out is not kept; the warnings are, for whoever asks later.
    for later in (post_csv(client, content).json(), client.get(f"/v1/jobs/{job['id']}").json()):
        assert set(later) == set(job) - {"comments", "empty"}
        assert (later["warnings"], later["warning_count"]) == (job["warnings"], 3)
    # Lists, which may be long, count them alone.
    [listed] = client.get("/v1/jobs").json()["jobs"]
    assert listed["warning_count"] == 3
    assert "warnings" not in listed


def test_the_first_hundred_warnings_of_a_new_job_are_told_and_all_are_counted(client: httpx.Client):
    rows = "".join(f"acme,Northwind Mail,key-1,{number},M{number}\n" for number in range(120))
    job = post_csv(client, f"account_id,connector,api_key,name,property.Region\n{rows}").json()
    later = client.get(f"/v1/jobs/{job['id']}").json()
    for told in (job, later):
        assert (len(told["warnings"]), told["warning_count"]) == (100, 120)


def test_what_is_taken_as_written_is_asked_by_the_address_as_by_a_form(client: httpx.Client):
    mine = {"Idempotency-Key": "order-17"}
    by_address = post_csv(client, headers=mine, params={"as_written": ["account_id", "connector_version"]})
    fields = {"as_written": "account_id, connector_version"}
    by_form = client.post("/v1/jobs", headers=mine, data=fields, files={"file": ("a.csv", CSV)})
    assert (by_address.status_code, by_form.status_code) == (202, 200)
    assert by_form.json()["id"] == by_address.json()["id"]
    other = post_csv(client, headers=mine, params={"as_written": "account_id"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_an_unfinished_job_is_the_same_whatever_is_taken_as_written_now(client: httpx.Client):
    first = client.post("/v1/jobs", json={"options": {"as_written": ["account_id"]}, "items": ITEMS})
    again = client.post("/v1/jobs", json={"items": ITEMS})
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == first.json()["id"]


def test_options_of_a_request_become_those_of_a_run():
    asked = NewJobOptions(
        operation="update", connector=MAIL, first=5, no_undo=True, as_written=["account_id"]
    )
    assert asked.to_run_options() == RunOptions(
        operation="update", connector=MAIL, first=5, no_undo=True, as_written=frozenset({"account_id"})
    )


@pytest.mark.parametrize("way", ["list", "address", "form"])
@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (
            {"no_look": "true", "beside": "true"},
            ("beside", "`beside` needs the look that `no_look` leaves out: give one of the two"),
        ),
        (
            {"operation": "update", "overwrite": "true"},
            (
                "overwrite",
                "an update looks and overwrites in any case, and creates nothing: leave `overwrite` out",
            ),
        ),
        (
            {"replace_tokens": "true"},
            (
                "replace_tokens",
                "it says what `overwrite` may replace: give that too, or leave `replace_tokens` out",
            ),
        ),
        (
            {"look_first": "true"},
            (
                "look_first",
                "`look_first` is gone, since a run looks first by itself: leave it out; `no_look` is for accounts known to be empty",
            ),
        ),
        (
            {"if_present": "skip"},
            (
                "if_present",
                "`if_present` is gone, since a run leaves alone what is there under another Name: leave it out where it said skip,"
                " and give `beside` where it said install",
            ),
        ),
        ({"operation": "remove"}, ("operation", "expected 'install' or 'update', got another text")),
    ],
)
def test_options_that_are_none_or_do_not_go_together_are_refused_with_what_is_meant(
    site: Site, client: httpx.Client, way: str, options: dict[str, str], fault: tuple[str, str]
):
    match way:
        case "list":
            given = {name: value == "true" or value for name, value in options.items()}
            answer = client.post("/v1/jobs", json={"options": given, "items": ITEMS})
        case "address":
            answer = post_csv(client, params=options)
        case "form":
            answer = client.post("/v1/jobs", data=options, files={"file": ("a.csv", CSV)})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    [told] = answer.json()["errors"]
    assert (told["column"].removeprefix("options."), told["message"]) == fault
    assert count(site, jobs) == 0
    assert_nothing_waits(site)


def test_options_of_a_list_and_of_its_address_are_judged_together(client: httpx.Client):
    answer = client.post(
        "/v1/jobs",
        params={"overwrite": "true"},
        json={"options": {"replace_tokens": True}, "items": ITEMS},
    )
    assert answer.status_code == 202
    options = answer.json()["options"]
    assert (options["overwrite"], options["replace_tokens"]) == (True, True)


@pytest.mark.parametrize("way", ["list", "address", "form"])
def test_a_column_that_cannot_be_taken_as_written_is_refused(site: Site, client: httpx.Client, way: str):
    match way:
        case "list":
            answer = client.post("/v1/jobs", json={"options": {"as_written": ["name"]}, "items": ITEMS})
        case "address":
            answer = post_csv(client, params={"as_written": ["account_id", "name"]})
        case "form":
            answer = client.post(
                "/v1/jobs", data={"as_written": "account_id,name"}, files={"file": ("a.csv", CSV)}
            )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    [fault] = answer.json()["errors"]
    assert "as_written" in fault["column"]
    assert fault["message"] == "expected 'account_id' or 'connector_version', got another text"
    assert count(site, jobs) == 0
    assert_nothing_waits(site)


def test_the_same_content_while_it_is_unfinished_is_the_same_job(site: Site, client: httpx.Client):
    first = post_csv(client)
    second = post_csv(client)
    assert (first.status_code, second.status_code) == (202, 200)
    assert second.json()["id"] == first.json()["id"]
    assert second.headers["Location"] == first.headers["Location"]
    other = post_csv(client, params={"no_look": "true"})
    assert (other.status_code, other.json()["code"]) == (409, "begun_otherwise")
    assert first.json()["id"] in other.json()["detail"]
    assert count(site, jobs) == 1


def test_the_same_file_handed_in_many_times_at_once_is_one_job(site: Site):
    key = site.key()
    answers: list[httpx.Response] = []

    def hand_in() -> None:
        with site.client(key) as mine:
            answers.append(post_csv(mine))

    threads = [threading.Thread(target=hand_in) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(rows_in(site)) == 2


def test_a_request_is_known_by_its_idempotency_key(site: Site, client: httpx.Client):
    mine = {"headers": {"Idempotency-Key": "order-17"}}
    first = post_csv(client, **mine)
    client.post(f"/v1/jobs/{first.json()['id']}/cancel").raise_for_status()
    again = post_csv(client, headers={"Idempotency-Key": "order-17"})
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == first.json()["id"]
    other = post_csv(client, CSV + "initech,Northwind Mail,k\n", headers={"Idempotency-Key": "order-17"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert count(site, jobs) == 1
    assert_nothing_waits(site)


def test_an_idempotency_key_belongs_to_its_api_key(site: Site, client: httpx.Client):
    first = post_csv(client, headers={"Idempotency-Key": "order-17"})
    with site.client(site.key(name="another")) as another:
        content = "account_id,connector,api_key\ninitech,Northwind Mail,k\n"
        second = post_csv(another, content, headers={"Idempotency-Key": "order-17"})
    assert (first.status_code, second.status_code) == (202, 202)


def test_a_request_that_came_to_nothing_may_be_made_again(
    site: Site, client: httpx.Client, simulator: SimulatorThread
):
    mine = {"Idempotency-Key": "order-17"}
    bad = CSV.replace("acme,", "later,")
    assert post_csv(client, bad, headers=mine).status_code == 422
    simulator.call(lambda world: world.add_account("later"))
    assert post_csv(client, bad, headers=mine).status_code == 202


def test_a_request_that_is_still_worked_on_is_not_begun_twice(site: Site, client: httpx.Client):
    answers: list[httpx.Response] = []
    key = site.key(name="first")

    def hand_in() -> None:
        with site.client(key) as mine:
            answers.append(post_csv(mine, headers={"Idempotency-Key": "order-17"}))

    first = threading.Thread(target=hand_in)
    with load_of_acme(site):  # so the load of the first waits for its end
        first.start()
        wait_until(lambda: count(site, idempotency_keys) == 1)
        with site.client(key) as mine:
            second = post_csv(mine, headers={"Idempotency-Key": "order-17"})
    first.join(90)
    assert (second.status_code, second.json()["code"]) == (409, "still_running")
    assert second.headers["Retry-After"] == "5"
    assert [answer.status_code for answer in answers] == [202]


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded"])
def test_other_bodies_are_refused(client: httpx.Client, kind: str):
    answer = client.post("/v1/jobs", content=b"account_id=acme", headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"--x\r\nnonsense", "multipart/form-data; boundary=x", 400),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 400),
        (b"", "multipart/form-data", 415),
        (b"{", "application/json", 422),
        (b"", "text/csv", 422),
        (b"PK\x03\x04more", "text/csv", 422),
    ],
)
def test_bodies_that_cannot_be_read_are_told_so(
    site: Site, client: httpx.Client, content: bytes, kind: str, status: int
):
    answer = client.post("/v1/jobs", content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert_nothing_waits(site)


def test_a_form_has_one_file(site: Site, client: httpx.Client):
    two = client.post("/v1/jobs", files=[("file", ("a.csv", CSV)), ("file", ("b.csv", CSV))])
    assert (two.status_code, two.json()["code"]) == (400, "one_file")
    none = client.post("/v1/jobs", files={"connector": (None, MAIL)})
    assert (none.status_code, none.json()["code"]) == (400, "no_file")
    assert_nothing_waits(site)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(site: Site):
    connection = http.client.HTTPConnection(site.url.removeprefix("http://"), timeout=60)
    connection.putrequest("POST", "/v1/jobs")
    announced = {
        "Authorization": f"Bearer {site.key()}",
        "Content-Type": "text/csv",
        "Content-Length": "1000000001",
    }
    for name, value in announced.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    problem = json.loads(answer.read())
    connection.close()
    assert (answer.status, problem["code"]) == (413, "too_large")


def test_nothing_to_install_is_no_job(site: Site, client: httpx.Client):
    empty = post_csv(client, "account_id,connector\n# nothing\n")
    assert empty.status_code == 422
    all_bad = post_csv(
        client, "account_id,connector,api_key\nnowhere,Northwind Mail,x\n", params={"skip_invalid": 1}
    )
    assert (all_bad.status_code, all_bad.json()["code"]) == (422, "nothing_to_install")
    assert count(site, jobs) == 0


def test_when_cyclr_cannot_be_asked_nothing_is_created_and_the_client_may_try_again(
    site: Site, client: httpx.Client, simulator: SimulatorThread
):
    simulator.call(lambda world: setattr(world.switches, "reject_credentials", True))
    answer = post_csv(client)
    assert (answer.status_code, answer.json()["code"]) == (503, "cyclr_away")
    assert answer.json()["detail"] == (
        "Cyclr cannot be asked: Cyclr refuses CYCLR_CLIENT_ID and CYCLR_CLIENT_SECRET (status 400)."
        " Check both in Cyclr's console, and that they belong to the region of CYCLR_API_URL."
    )
    assert "Retry-After" in answer.headers
    assert count(site, jobs) == 0
    assert_nothing_waits(site)
