"""The links of a job, for programs: over HTTP."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Update, update

from tests.integration.desk.office import PUBLIC, Office, open_office
from tests.integration.store.databases import change_items
from tests.integration.web.site import wait_until
from worker.store.api_keys import Scope
from worker.store.session import Engine, writing
from worker.store.tables import desks


def test_links_are_made_and_found_again(office: Office) -> None:
    job_id = office.job(2)
    before = office.api("GET", job_id).json()
    assert (before["waiting"], before["links_expire_at"]) == (2, None)
    assert [item["link"] for item in before["items"]] == [None, None]
    made = office.api("POST", job_id, json={}).json()
    assert office.api("GET", job_id).json() == made
    assert [(item["row"], item["account_id"], item["connector"]) for item in made["items"]] == [
        (2, "a2", "Harbour CRM"),
        (3, "a3", "Harbour CRM"),
    ]
    assert len({item["link"] for item in made["items"]}) == 2
    assert all(item["link"].startswith(f"{PUBLIC}/authorise/") for item in made["items"])


def test_pages_follow_each_other(office: Office) -> None:
    job_id = office.job(3)
    office.links(job_id)
    first = office.api("GET", job_id, params={"limit": 2}).json()
    assert ([item["row"] for item in first["items"]], first["next_cursor"]) == ([2, 3], "3")
    last = office.api("GET", job_id, params={"limit": 2, "cursor": 3}).json()
    assert ([item["row"] for item in last["items"]], last["next_cursor"]) == ([4], None)
    one = office.api("GET", job_id, params={"account_id": "a3"}).json()
    assert [item["row"] for item in one["items"]] == [3]


def test_a_key_that_may_only_read_sees_no_link_and_changes_nothing(office: Office) -> None:
    job_id = office.job()
    office.links(job_id)
    seen = office.api("GET", job_id, scope=Scope.READ)
    assert seen.json()["items"][0]["link"] is None
    for verb, path in (
        ("POST", ""),
        ("GET", ".csv"),
        ("POST", "/withdraw"),
        ("POST", "/ask"),
        ("POST", "/2/withdraw"),
        ("POST", "/2/renew"),
    ):
        more = {"json": {}} if path == "" else {}
        answer = office.api(verb, job_id, path, scope=Scope.READ, **more)
        assert (answer.status_code, answer.json()["code"]) == (403, "read_only_key"), path
        assert office.api(verb, job_id, path, scope=None, **more).status_code == 401
    assert office.api("GET", job_id).json()["items"][0]["link"] is not None


def test_the_file_for_a_mail_merge_has_every_link(office: Office) -> None:
    job_id = office.job(3)
    made = {f"a{row}": token for row, token in zip((2, 3, 4), office.links(job_id), strict=True)}
    change_items(office.engine, job_id, 3, name="=cmd|' /C calc'!A0")
    office.api("POST", job_id, "/4/withdraw")
    answer = office.api("GET", job_id, ".csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="file.{job_id}.links.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert list(rows[0]) == ["account_id", "name", "connector", "link", "expires_at"]
    assert [row["account_id"] for row in rows] == ["a2", "a3"]
    assert [row["link"].rpartition("/")[2] for row in rows] == [made["a2"], made["a3"]]
    assert rows[1]["name"] == "'=cmd|' /C calc'!A0"
    assert office.page.get(f"/authorise/{rows[0]['link'].rpartition('/')[2]}").status_code == 200


def test_there_is_no_file_without_links(office: Office) -> None:
    job_id = office.job()
    assert office.api("GET", job_id, ".csv").json()["code"] == "no_links"
    office.links(job_id)
    office.api("POST", job_id, "/withdraw")
    answer = office.api("GET", job_id, ".csv")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_links")


def test_a_row_gets_another_link_after_its_own_was_withdrawn(office: Office) -> None:
    job_id = office.job()
    [old] = office.links(job_id)
    office.api("POST", job_id, "/2/withdraw")
    [item] = office.api("GET", job_id).json()["items"]
    assert item["link"] is None
    assert item["withdrawn_at"] is not None
    assert office.api("POST", job_id, "/2/renew").status_code == 204
    [item] = office.api("GET", job_id).json()["items"]
    new = item["link"].rpartition("/")[2]
    assert office.page.get(f"/authorise/{old}").status_code == 410
    assert office.page.get(f"/authorise/{new}").status_code == 200


def test_everybody_who_waits_is_asked_about_on_request(office: Office) -> None:
    job_id = office.job(3)
    office.links(job_id)
    office.authorise("a2")
    office.authorise("a4")
    assert office.api("POST", job_id, "/ask").status_code == 202
    wait_until(lambda: office.api("GET", job_id).json()["asked_at"] is not None, within_s=60)
    found = office.api("GET", job_id).json()
    assert (found["authorised"], found["waiting"], found["is_asking"]) == (2, 1, False)
    assert [item["row"] for item in found["items"]] == [3]
    done = office.api("GET", job_id, params={"state": "authorised"}).json()
    assert [(item["row"], item["link"]) for item in done["items"]] == [(2, None), (4, None)]
    assert office.calls("account_connector") == 3


def test_an_account_connector_that_is_gone_holds_up_nobody(office: Office) -> None:
    job_id = office.job(2)
    office.links(job_id)
    office.simulator.call(lambda world: world.delete_account(world.accounts["a2"]))
    office.authorise("a3")
    office.api("POST", job_id, "/ask")
    wait_until(lambda: office.api("GET", job_id).json()["asked_at"] is not None, within_s=60)
    assert office.api("GET", job_id).json()["authorised"] == 1


@pytest.mark.parametrize(
    ("verb", "path", "status", "code"),
    [
        ("GET", "", 404, "unknown_job"),
        ("POST", "/withdraw", 404, "unknown_job"),
        ("POST", "/ask", 404, "unknown_job"),
        ("GET", ".csv", 404, "unknown_job"),
    ],
)
def test_a_job_that_is_not_there_is_named(
    office: Office, verb: str, path: str, status: int, code: str
) -> None:
    answer = office.api(verb, "261121-nobody", path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_what_is_asked_wrongly_is_told(office: Office) -> None:
    job_id = office.job()
    assert office.api("POST", job_id, json={"expires_in_days": 91}).status_code == 422
    assert office.api("POST", job_id, json={"expires_in_days": 0}).status_code == 422
    assert office.api("GET", job_id, params={"account_id": "a\0"}).status_code == 422
    assert office.api("GET", "a%00b").status_code == 422
    assert office.api("POST", job_id, "/99/withdraw").json()["code"] == "unknown_row"
    assert office.api("POST", job_id, "/99/renew").status_code == 404
    assert office.api("POST", job_id, "/ask").json()["code"] == "no_links"


def test_settings_that_are_missing_are_named(engine: Engine) -> None:
    with open_office(engine, cyclr_bulk_public_url=None) as office:
        answer = office.api("POST", office.job(), json={})
        assert (answer.status_code, answer.json()["code"]) == (409, "desk_not_set_up")
        assert "CYCLR_BULK_PUBLIC_URL is not set" in answer.json()["detail"]


def test_a_job_of_another_instance_is_left_to_its_own_server(engine: Engine) -> None:
    with open_office(engine) as office:
        job_id = office.job()
    with open_office(engine) as other:
        answer = other.api("POST", job_id, json={})
        assert (answer.status_code, answer.json()["code"]) == (409, "other_instance")


def test_while_cyclr_is_away_a_round_rests_and_then_goes_on(office: Office) -> None:
    job_id = office.job(2)
    office.links(job_id)
    for account_id in ("a2", "a3"):
        office.authorise(account_id)
    office.simulator.call(lambda world: setattr(world.switches, "away", "reset"))
    office.api("POST", job_id, "/ask")
    wait_until(lambda: "asking_failed" in office.log.getvalue(), within_s=60)
    assert office.api("GET", job_id).json()["is_asking"]
    office.simulator.call(lambda world: setattr(world.switches, "away", None))
    rested = update(desks).values(asking_until=datetime.now(UTC) - timedelta(seconds=1))
    wait_until(lambda: _goes_on(office, job_id, rested), within_s=60)
    assert office.api("GET", job_id).json()["authorised"] == 2


def _goes_on(office: Office, job_id: str, rested: Update) -> bool:
    writing(office.engine, lambda connection: connection.execute(rested))
    return office.api("GET", job_id).json()["asked_at"] is not None
