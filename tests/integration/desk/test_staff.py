"""The desk of a job for staff: over HTTP, signed in with an API key."""

import html
import re

import httpx
import pytest

from tests.integration.desk.office import PUBLIC, Office, open_office
from tests.integration.web.site import wait_until
from worker.store.api_keys import Scope
from worker.store.session import Engine
from worker.web.pages.rendering import NOTICE_COOKIE as NOTICE


def sign_in(office: Office, scope: Scope = Scope.WRITE) -> None:
    page = office.page.get("/sign-in")
    assert page.status_code == 200
    [field] = re.findall(r'<input type="password" id="([\w-]+)"', page.text)
    name = re.search(rf'id="{field}" name="([\w-]+)"', page.text)
    assert name is not None
    office.page.cookies.clear()
    answer = office.page.post("/sign-in", data={name[1]: office.key(scope)})
    assert answer.status_code == 303, answer.text
    take_cookies(office, answer)


def take_cookies(office: Office, answer: httpx.Response) -> None:
    """As a browser behind TLS does: this client speaks plain http, and would not send them."""
    for cookie in answer.headers.get_list("set-cookie"):
        key, _, value = cookie.partition(";")[0].partition("=")
        office.page.cookies.delete(key) if "Max-Age=0" in cookie else office.page.cookies.set(key, value)


def desk(office: Office, job_id: str, **query: str) -> httpx.Response:
    return office.page.get(f"/jobs/{job_id}/authorisations", params=query)


def do(office: Office, job_id: str, path: str = "", **fields: str) -> httpx.Response:
    """What a form of the desk's page sends."""
    [token, *_] = re.findall(r'name="form_token" value="([^"]+)"', desk(office, job_id).text)
    to = f"/jobs/{job_id}/authorisations{path}"
    return office.page.post(to, data={"form_token": token, **fields})


def links_on(page: httpx.Response) -> list[str]:
    return [html.unescape(link) for link in re.findall(r'readonly value="([^"]+)"', page.text)]


def figure(page: httpx.Response, name: str) -> str:
    found = re.search(rf'id="{name}">([^<]+)<', page.text)
    assert found is not None
    return found[1]


def test_links_are_made_shown_withdrawn_and_renewed(office: Office) -> None:
    job_id = office.job(2)
    sign_in(office)
    before = desk(office, job_id)
    assert "There are no links yet." in before.text
    assert links_on(before) == []
    made = do(office, job_id, days="3")
    assert made.headers["location"] == f"/jobs/{job_id}/authorisations"
    take_cookies(office, made)
    page = desk(office, job_id)
    assert "The links are made." in page.text
    take_cookies(office, page)
    assert "The links are made." not in desk(office, job_id).text
    first, second = links_on(page)
    assert first.startswith(f"{PUBLIC}/authorise/")
    assert office.page.get(first.removeprefix(PUBLIC)).status_code == 200
    assert do(office, job_id, "/2/withdraw").status_code == 303
    assert links_on(desk(office, job_id)) == [second]
    assert office.page.get(first.removeprefix(PUBLIC)).status_code == 410
    do(office, job_id, "/2/renew")
    new, still = links_on(desk(office, job_id))
    assert new != first
    assert still == second
    question = office.page.get(f"/jobs/{job_id}/authorisations/withdraw")
    assert "2 customers who still have to authorise" in question.text
    do(office, job_id, "/withdraw")
    after = desk(office, job_id)
    assert "All links are withdrawn." in after.text
    assert links_on(after) == []
    assert {office.page.get(link.removeprefix(PUBLIC)).status_code for link in (new, second)} == {410}


def test_the_page_shows_how_far_customers_are(office: Office) -> None:
    job_id = office.job(3)
    sign_in(office)
    do(office, job_id)
    first, second, _ = links_on(desk(office, job_id))
    office.page.get(first.removeprefix(PUBLIC))
    office.page.post(second.removeprefix(PUBLIC))
    page = desk(office, job_id)
    assert [figure(page, name) for name in ("waiting", "opened", "clicked", "authorised")] == [
        "3",
        "1",
        "1",
        "0",
    ]
    assert "link opened" in page.text
    assert "went on to Cyclr" in page.text
    office.authorise("a3")
    do(office, job_id, "/ask")
    wait_until(lambda: figure(desk(office, job_id), "authorised") == "1", within_s=60)
    done = desk(office, job_id, state="authorised")
    assert ">a3<" in done.text
    assert ">a2<" not in done.text


def test_the_file_is_downloaded_by_a_session_that_may_write(office: Office) -> None:
    job_id = office.job()
    sign_in(office)
    do(office, job_id)
    answer = office.page.get(f"/jobs/{job_id}/authorisations.csv")
    assert answer.headers["content-disposition"] == f'attachment; filename="file.{job_id}.links.csv"'
    assert links_on(desk(office, job_id))[0] in answer.text


def test_a_key_that_may_only_read_is_shown_no_link_and_no_action(office: Office) -> None:
    job_id = office.job()
    office.links(job_id)
    sign_in(office, Scope.READ)
    page = desk(office, job_id)
    assert (page.status_code, links_on(page)) == (200, [])
    main = page.text.partition("<main")[2]
    assert 'method="post"' not in main
    assert "/authorise/" not in page.text
    assert office.page.get(f"/jobs/{job_id}/authorisations.csv").status_code == 403
    assert office.page.get(f"/jobs/{job_id}/authorisations/withdraw").status_code == 403
    for path in ("", "/withdraw", "/ask", "/2/withdraw", "/2/renew"):
        assert office.page.post(f"/jobs/{job_id}/authorisations{path}").status_code == 403


@pytest.mark.parametrize("path", ["", "/withdraw", "/ask", "/2/withdraw", "/2/renew"])
def test_a_form_of_another_site_changes_nothing(office: Office, path: str) -> None:
    job_id = office.job()
    office.links(job_id)
    sign_in(office)
    before = links_on(desk(office, job_id))
    to = f"/jobs/{job_id}/authorisations{path}"
    assert office.page.post(to, data={"days": "3"}).status_code == 403
    assert office.page.post(to, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert links_on(desk(office, job_id)) == before


def test_nobody_sees_the_desk_without_signing_in(office: Office) -> None:
    job_id = office.job()
    for path in ("", ".csv", "/withdraw"):
        answer = office.page.get(f"/jobs/{job_id}/authorisations{path}")
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in")


def test_missing_settings_are_named_on_the_page(engine: Engine) -> None:
    with open_office(engine, cyclr_signin_username=None) as office:
        job_id = office.job()
        sign_in(office)
        page = desk(office, job_id)
        assert "Links cannot be made yet." in page.text
        assert "CYCLR_SIGNIN_USERNAME is not set" in page.text
        assert 'id="make"' not in page.text


def test_a_search_finds_one_account(office: Office) -> None:
    job_id = office.job(3)
    sign_in(office)
    page = desk(office, job_id, account="a3")
    assert ">a3<" in page.text
    assert ">a2<" not in page.text
    assert "No row matches." in desk(office, job_id, account="nobody").text


def test_a_notice_is_for_the_page_that_it_is_about(office: Office) -> None:
    job_id = office.job()
    sign_in(office)
    take_cookies(office, do(office, job_id))
    other = office.page.get(f"/jobs/{job_id}")
    assert "The links are made." not in other.text
    assert "set-cookie" not in other.headers
    assert "The links are made." in desk(office, job_id).text


def test_a_notice_that_is_not_signed_by_us_is_not_shown(office: Office) -> None:
    job_id = office.job()
    sign_in(office)
    office.page.cookies.set(NOTICE, f"at=/jobs/{job_id}/authorisations&done=links-made")
    assert 'id="notice"' not in desk(office, job_id).text


def test_an_address_says_nothing_of_what_was_done(office: Office) -> None:
    job_id = office.job()
    sign_in(office)
    assert 'id="notice"' not in desk(office, job_id, done="links-made").text
    assert 'id="notice"' not in office.page.get(f"/jobs/{job_id}?done=paused").text


def test_whoever_withdraws_a_link_is_asked_first(office: Office) -> None:
    job_id = office.job(2)
    sign_in(office)
    do(office, job_id)
    [link, _] = links_on(desk(office, job_id))
    address = f"/jobs/{job_id}/authorisations/2/withdraw"
    assert f'href="{address}"' in desk(office, job_id).text
    question = office.page.get(address)
    assert "Withdraw the link of row 2?" in question.text
    assert (
        "Account <bdi>a2</bdi>, Name <bdi>CRM 2</bdi>: the link in the customer&#39;s mail can no longer be used."
        in question.text
    )
    assert f'href="/jobs/{job_id}/authorisations" data-close' in question.text
    assert office.page.get(link.removeprefix(PUBLIC)).status_code == 200
    assert do(office, job_id, "/2/withdraw").status_code == 303
    assert office.page.get(link.removeprefix(PUBLIC)).status_code == 410
    assert "The link of this row is withdrawn already." in office.page.get(address).text
    assert office.page.get(f"/jobs/{job_id}/authorisations/9/withdraw").status_code == 404


def test_the_desk_names_what_is_to_be_authorised(office: Office) -> None:
    job_id = office.job()
    sign_in(office)
    page = desk(office, job_id).text
    assert '<th role="columnheader">Name</th>' in page
    assert '<td role="cell">CRM 2</td>' in page


def test_an_error_below_a_job_leads_back_to_it(office: Office) -> None:
    job_id = office.job()
    sign_in(office)
    for path in (
        f"/jobs/{job_id}/items/99",
        f"/jobs/{job_id}/authorisations?after=x",
        f"/jobs/{job_id}/nothing",
    ):
        page = office.page.get(path)
        assert page.status_code in (404, 422), path
        assert f'<a class="button" href="/jobs/{job_id}">Back to the job</a>' in page.text, path
    unknown = office.page.get("/jobs/261130-bcdfgh/items/2")
    assert '<a class="button" href="/jobs">To the jobs</a>' in unknown.text


def test_what_holds_links_is_not_compressed_and_other_pages_are(office: Office) -> None:
    job_id = office.job()
    sign_in(office)
    do(office, job_id)
    taken = {"Accept-Encoding": "gzip"}
    kept = office.page.get(f"/jobs/{job_id}/authorisations", headers=taken)
    assert "content-encoding" not in kept.headers
    listed = office.api("GET", job_id)
    assert "content-encoding" not in listed.headers
    job = office.page.get(f"/jobs/{job_id}", headers=taken)
    assert (job.headers["content-encoding"], job.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert int(job.headers["content-length"]) < len(job.content) / 2
