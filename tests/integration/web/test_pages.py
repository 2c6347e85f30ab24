"""What pages say in states that no story waits for: a session that is over, a file that waits, a job that is being written."""

import io
from datetime import UTC, datetime

import openpyxl
from sqlalchemy import update

from tests.integration.store.databases import Loads, change_items, change_job
from tests.integration.web.site import Site
from tests.integration.web.test_permissions import session_of, signed_in
from tests.integration.web.test_reading import submit
from tests.integration.web.test_upload_page import Visit
from worker.store.api_keys import Scope, find_key_of_text, hash_of, revoke_key
from worker.store.session import writing
from worker.store.tables import api_keys, web_sessions
from worker.store.tallies import add_outcomes


def sign_in_page(site: Site, session: str) -> str:
    page = signed_in(site, session).get("/sign-in", follow_redirects=False)
    assert page.status_code == 200
    return page.text


def test_the_way_to_sign_in_says_why_a_session_is_over(site: Site):
    revoked, expired = (site.key(name=name) for name in ("Ada", "Grace"))
    sessions = [session_of(site, each) for each in (revoked, expired)]
    ids = [find_key_of_text(site.engine, each).id for each in (revoked, expired)]
    revoke_key(site.engine, ids[0])
    long_ago = (
        update(api_keys).where(api_keys.c.id == ids[1]).values(expires_at=datetime(2026, 1, 2, tzinfo=UTC))
    )
    writing(site.engine, lambda connection: connection.execute(long_ago))
    said = [sign_in_page(site, session) for session in sessions]
    assert (
        "The API key &#39;Ada&#39; that you had signed in with was revoked. Sign in with another one."
        in said[0]
    )
    assert "The API key that you had signed in with has expired. Sign in with another one." in said[1]
    over = session_of(site, site.key())
    after_its_end = update(web_sessions).where(web_sessions.c.hash == hash_of(over))
    ended = after_its_end.values(ends_at=datetime(2026, 1, 2, tzinfo=UTC))
    writing(site.engine, lambda connection: connection.execute(ended))
    assert "Your session has ended after 12 hours. Sign in again." in sign_in_page(site, over)
    assert 'id="why"' not in sign_in_page(site, "not-one-of-ours")


def test_a_waiting_file_is_named_to_whoever_dropped_it_until_it_is_discarded(site: Site):
    ada, other = Visit(site), Visit(site)
    ada.drop()
    assert f'href="{ada.address}"' in ada.client.get("/jobs/new").text
    assert ada.upload_id not in other.client.get("/jobs/new").text
    site.waiting.delete(ada.upload_id)
    assert "not started" not in ada.client.get("/jobs/new").text


def test_a_job_that_is_being_written_does_not_say_0_of_0_rows(site: Site):
    job_id = Loads(site.engine).loader().job_id
    reader = signed_in(site, session_of(site, site.key(Scope.READ)))
    for address in (f"/jobs/{job_id}", "/jobs", f"/jobs/{job_id}/live"):
        page = reader.get(address).text
        assert "0 of 0" not in page, address
    assert "its rows are being written" in reader.get("/jobs").text
    assert "The rows are being written." in reader.get(f"/jobs/{job_id}").text


def test_a_page_is_sent_only_the_parts_that_it_has_not_yet(site: Site):
    job_id = Loads(site.engine).job(3)
    reader = signed_in(site, session_of(site, site.key(Scope.READ)))
    page = reader.get(f"/jobs/{job_id}/live").text
    tags = [part.partition('"')[0] for part in page.split('data-tag="')[1:]]
    assert len(tags) == 5
    again = reader.get(f"/jobs/{job_id}/live", params={"known": ",".join(tags[1:])}).text
    assert again.count("data-part") == 1
    assert 'id="deeds"' in again
    assert 'id="standing"' in again


def test_a_held_row_is_shown_as_such(site: Site):
    client = site.client(site.key())
    job_id = submit(client, "acme", "globex")
    change_items(site.place.database.engine, job_id, 3, state="held", held_for="account")
    item = client.get(f"/v1/jobs/{job_id}/items/3").raise_for_status().json()
    assert (item["state"], item["due_at"]) == ("held", None)
    listed = client.get(f"/v1/jobs/{job_id}/items", params={"state": "held"}).raise_for_status().json()
    assert [each["row"] for each in listed["items"]] == [3]
    browser = signed_in(site, session_of(site, site.key()))
    page = browser.get(f"/jobs/{job_id}/items/3").raise_for_status().text
    assert "Held back." in page
    assert "It goes on by itself once what it waits for is there." in page


def test_how_rows_came_to_be_done_is_told_in_numbers_that_lead_to_them(site: Site):
    job_id = Loads(site.engine).job(4)
    change_items(site.engine, job_id, state="installed", outcome="filled_in", changed=["api_key"])
    change_items(site.engine, job_id, 3, outcome="unchanged", changed=None, differs=["description"])
    change_items(site.engine, job_id, 4, outcome="created", changed=None)
    change_job(site.engine, job_id, installed=4, without_credential=1)
    ended = [("created", []), ("unchanged", []), ("filled_in", ["api_key"]), ("filled_in", ["api_key"])]
    with site.engine.begin() as connection:
        add_outcomes(connection, [(job_id, *each) for each in ended])
    reader = signed_in(site, session_of(site, site.key(Scope.READ)))
    page = reader.get(f"/jobs/{job_id}").text
    told = page.partition('id="outcomes"')[2].partition("</ul>")[0]
    names = [part.partition('"')[0] for part in told.split('id="outcome-')[1:]]
    assert names == ["created", "filled_in", "unchanged"]
    assert '<b>2</b> <a id="outcome-filled_in"' in told
    assert ">filled in</a>: api_key (2 rows)</li>" in told
    assert "<li><b>1</b> without credential, as asked</li>" in told
    assert f'href="/jobs/{job_id}?state=filled_in#items"' in told
    listed = reader.get(f"/jobs/{job_id}/rows?state=filled_in").text
    assert [number for number in (2, 3, 4, 5) if f'id="row-{number}"' in listed] == [2, 5]
    assert "it was there, and what was missing was set; api_key was set" in listed
    client = site.client(site.key())
    found = client.get(f"/v1/jobs/{job_id}/items", params={"outcome": "unchanged"}).raise_for_status().json()
    assert [(each["row"], each["differs"]) for each in found["items"]] == [(3, ["description"])]
    assert client.get(f"/v1/jobs/{job_id}/items", params={"outcome": "removed"}).status_code == 422


def test_a_rows_page_names_what_was_changed_and_until_when_the_former_values_are_kept(site: Site):
    job_id = Loads(site.engine).job(3)
    ended_at = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
    done = {"state": "installed", "settled_at": ended_at}
    change_items(
        site.engine,
        job_id,
        2,
        **done,
        outcome="updated",
        changed=["api_key", "property.Region"],
        undo=b"sealed",
    )
    change_items(
        site.engine,
        job_id,
        3,
        **done,
        outcome="unchanged",
        differs=["property.Key (not shown)"],
        changed=None,
    )
    change_items(
        site.engine,
        job_id,
        4,
        state="failed",
        code="differs",
        message="it has another api_key",
        differs=["api_key"],
        settled_at=ended_at,
    )
    reader = signed_in(site, session_of(site, site.key(Scope.READ)))
    pages = [reader.get(f"/jobs/{job_id}/items/{row}").text for row in (2, 3, 4)]
    effects = [page.partition('id="effects">')[2].partition("</dl>")[0] for page in pages]
    assert "<dt>Changed</dt><dd>api_key, property.Region</dd>" in effects[0]
    assert "<dt>What was overwritten</dt><dd>kept sealed until 2026-12-03 12:00 UTC</dd>" in effects[0]
    assert effects[1].strip() == "<dt>Other than asked, left alone</dt><dd>property.Key (not shown)</dd>"
    assert effects[2].strip() == "<dt>Other than asked, left alone</dt><dd>api_key</dd>"
    assert "To have the row&#39;s values, hand in the result file with “Overwrite” (--overwrite)." in pages[2]


def test_rows_that_earlier_jobs_have_done_are_told_with_the_option_that_looks_at_them(site: Site):
    job_id = Loads(site.engine).job(1)
    change_job(site.engine, job_id, skipped=1_190, done_by={"261101-bcdfgh": 1_190})
    reader = signed_in(site, session_of(site, site.key(Scope.READ)))
    said = "1,190 rows were done by job 261101-bcdfgh and were not looked at again; “Look again” (--look-again) does."
    assert said in reader.get(f"/jobs/{job_id}").text


def test_an_account_is_found_and_shows_its_rows_of_all_jobs(site: Site):
    jobs = [Loads(site.engine).job(1), Loads(site.engine).job(1, start=10)]
    for job_id in jobs:
        change_items(site.engine, job_id, account_id="acme/<b>uk")
    reader = signed_in(site, session_of(site, site.key(Scope.READ)))
    found = reader.get("/accounts", params={"q": "acme/"}).text
    assert '<a href="/accounts/acme%2F%3Cb%3Euk"><bdi>acme/&lt;b&gt;uk</bdi></a>' in found
    assert "No row of any job was for an account" in reader.get("/accounts", params={"q": "zeppelin"}).text
    page = reader.get("/accounts/acme%2F%3Cb%3Euk").text
    links = [part.partition('"')[0] for part in page.split('href="/jobs/')[1:]]
    assert [link for link in links if "/items/" in link] == [f"{jobs[1]}/items/10", f"{jobs[0]}/items/2"]
    assert "<h1><bdi>acme/&lt;b&gt;uk</bdi></h1>" in page
    row = reader.get(f"/jobs/{jobs[0]}/items/2").text
    assert '<a href="/accounts/acme%2F%3Cb%3Euk">' in row
    assert reader.get("/accounts/nobody").status_code == 404


def test_the_results_can_be_downloaded_as_a_workbook(site: Site):
    job_id = Loads(site.engine).job(3)
    reader = signed_in(site, session_of(site, site.key(Scope.READ)))
    assert f'href="/jobs/{job_id}/results.xlsx"' in reader.get(f"/jobs/{job_id}").text
    answer = reader.get(f"/jobs/{job_id}/results.xlsx")
    assert answer.headers["content-disposition"].endswith(f'{job_id}.results.xlsx"')
    sheet = openpyxl.load_workbook(io.BytesIO(answer.content))["cyclr-bulk results"]
    assert [job_id in [cell.value for cell in row] for row in sheet.iter_rows()] == [False, True, True, True]
    change_job(site.engine, job_id, total=1_048_576)
    answer = reader.get(f"/jobs/{job_id}/results.xlsx")
    assert (answer.status_code, "take the CSV" in answer.text) == (409, True)
