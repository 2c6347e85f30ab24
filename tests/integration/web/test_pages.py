"""What pages say in states that no story waits for: a session that is over, a file that waits, a job that is being written."""

from datetime import UTC, datetime

from sqlalchemy import update

from tests.integration.store.databases import Loads, change_items
from tests.integration.web.site import Site
from tests.integration.web.test_permissions import session_of, signed_in
from tests.integration.web.test_reading import submit
from tests.integration.web.test_upload_page import Visit
from worker.store.api_keys import Scope, find_key_of_text, hash_of, revoke_key
from worker.store.session import writing
from worker.store.tables import api_keys, web_sessions


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
