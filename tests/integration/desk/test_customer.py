"""A customer comes with a link: over HTTP, with the simulator as Cyclr."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.integration.desk.office import PUBLIC, SERVICE, Office, in_threads, open_office
from tests.integration.web.site import wait_until
from tests.plain_http import http_client
from worker.simulator.faults import refused, server_error
from worker.store.desks import find_desk, list_waiting
from worker.store.links import CLICKS_WITHIN, MOST_CLICKS, Link
from worker.store.session import Engine, writing
from worker.store.tables import links

CYCLRS_PAGE = "/connectorauth/updateaccountconnectoroauth"


def heading(answer: httpx.Response) -> str:
    found = re.search(r"<h1>(.*?)</h1>", answer.text)
    assert found is not None, answer.text
    return found[1]


def link_of(office: Office, job_id: str) -> Link:
    desk = find_desk(office.engine, job_id)
    [item] = list_waiting(office.engine, job_id)
    assert desk is not None
    assert desk.batch is not None
    return Link(desk.batch, item.item_id, item.generation, desk.expires_at)


def follow(office: Office, answer: httpx.Response) -> httpx.Response:
    """The customer's browser goes where it was sent; the service domain is the simulator's."""
    assert answer.status_code == 303, answer.text
    with http_client(timeout=60) as browser:
        return browser.get(answer.headers["location"].replace(SERVICE, office.simulator.base_url))


def test_a_customer_goes_from_the_link_to_cyclr_and_comes_back_authorised(office: Office) -> None:
    job_id = office.job()
    [token] = office.links(job_id)
    page = office.page.get(f"/authorise/{token}")
    assert (page.status_code, heading(page)) == (200, "Connect Harbour CRM")
    assert '<form method="post"><button>Go on to Harbour CRM</button></form>' in page.text
    sent = office.page.post(f"/authorise/{token}")
    to = urlsplit(sent.headers["location"])
    assert (sent.status_code, f"{to.scheme}://{to.netloc}{to.path}") == (303, SERVICE + CYCLRS_PAGE)
    asked = parse_qs(to.query, strict_parsing=True)
    assert asked["targetOrigin"] == [f"{PUBLIC}/authorised"]
    assert set(asked) == {"id", "token", "targetOrigin"}
    back = follow(office, sent)
    assert back.headers["location"] == f"{PUBLIC}/authorised"
    assert heading(office.page.get("/authorised")) == "Thank you"
    assert office.simulator.call(lambda world: list(world.accounts["a2"].usernames)) == [
        "connect+a2@example.com"
    ]
    with_clicks = office.api("GET", job_id).json()
    assert (with_clicks["opened"], with_clicks["clicked"], with_clicks["authorised"]) == (1, 1, 0)
    # A while after the click Cyclr is asked, by itself.
    writing(office.engine, lambda c: c.execute(links.update().values(ask_at=datetime.now(UTC))))
    wait_until(lambda: office.api("GET", job_id).json()["authorised"] == 1, within_s=60)
    assert heading(office.page.get(f"/authorise/{token}")) == "Already connected"
    again = office.page.post(f"/authorise/{token}")
    assert (again.status_code, heading(again)) == (200, "Already connected")
    assert office.calls("sign_in") == 1


def test_a_mail_scanner_that_opens_a_link_twenty_times_spends_nothing(office: Office) -> None:
    job_id = office.job()
    [token] = office.links(job_id)
    for _ in range(20):
        assert office.page.get(f"/authorise/{token}").status_code == 200
        head = office.page.head(f"/authorise/{token}")
        assert (head.status_code, head.content) == (200, b"")
    assert office.simulator.ledger.calls == []
    found = office.api("GET", job_id).json()
    assert (found["opened"], found["clicked"]) == (1, 0)
    assert follow(office, office.page.post(f"/authorise/{token}")).status_code == 302


def test_a_head_does_not_count_as_opened(office: Office) -> None:
    job_id = office.job()
    [token] = office.links(job_id)
    office.page.head(f"/authorise/{token}")
    assert office.api("GET", job_id).json()["opened"] == 0


def test_a_double_click_leads_to_cyclr_both_times(office: Office) -> None:
    [token] = office.links(office.job())
    answers = in_threads(2, lambda: office.page.post(f"/authorise/{token}"))
    minted = [parse_qs(urlsplit(answer.headers["location"]).query)["token"][0] for answer in answers]
    assert len(set(minted)) == 2
    assert [follow(office, answer).status_code for answer in answers] == [302, 302]


def test_a_link_is_clicked_so_often_and_no_more(office: Office) -> None:
    job_id = office.job()
    [token] = office.links(job_id)
    answers = in_threads(MOST_CLICKS + 4, lambda: office.page.post(f"/authorise/{token}"))
    assert sorted(answer.status_code for answer in answers) == [303] * MOST_CLICKS + [429] * 4
    assert office.calls("sign_in") == MOST_CLICKS
    refused_ = next(answer for answer in answers if answer.status_code == 429)
    assert heading(refused_) == "Please wait a little"
    assert refused_.headers["retry-after"] == "600"
    earlier = datetime.now(UTC) - CLICKS_WITHIN - timedelta(seconds=1)
    writing(office.engine, lambda c: c.execute(links.update().values(clicks_since=earlier)))
    assert office.page.post(f"/authorise/{token}").status_code == 303


@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_a_link_that_is_not_ours_is_unknown(office: Office, verb: str) -> None:
    job_id = office.job()
    [token] = office.links(job_id)
    link = link_of(office, job_id)
    payload, _, signature = token.partition(".")
    forged = [
        "x",
        token[:-1],
        payload,
        f"{payload}.",
        f"{payload}.{'A' * len(signature)}",
        office.sign(link, key=b"2" * 32),
        office.sign(link, purpose="session"),
        office.sign(Link(link.batch, link.item_id + 1_000, 0, link.expires_at)),
        "é" * 20,
        "a" * 4_000,
        token + token,
    ]
    for each in forged:
        answer = office.page.request(verb, f"/authorise/{each}")
        assert (answer.status_code, heading(answer)) == (404, "This link does not work"), each
    assert office.simulator.ledger.calls == []


@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_a_link_whose_time_is_over_has_ended(office: Office, verb: str) -> None:
    job_id = office.job()
    office.links(job_id)
    link = link_of(office, job_id)
    late = Link(link.batch, link.item_id, 0, datetime.now(UTC) - timedelta(seconds=1))
    answer = office.page.request(verb, f"/authorise/{office.sign(late)}")
    assert (answer.status_code, heading(answer)) == (410, "This link has ended")
    assert office.simulator.ledger.calls == []


@pytest.mark.parametrize("verb", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/withdraw", "/2/withdraw"])
def test_a_withdrawn_link_leads_nowhere(office: Office, verb: str, path: str) -> None:
    job_id = office.job()
    [token] = office.links(job_id)
    assert office.api("POST", job_id, path).status_code == 204
    answer = office.page.request(verb, f"/authorise/{token}")
    assert (answer.status_code, heading(answer)) == (410, "This link is no longer in use")
    assert office.simulator.ledger.calls == []


def test_a_link_holds_while_its_sealing_key_is_known(engine: Engine) -> None:
    with open_office(engine) as office:
        [token] = office.links(office.job())
    both = "new:MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjI=,k1:MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="
    settings = {"cyclr_api_url": office.simulator.base_url}
    with open_office(engine, cyclr_bulk_sealing_keys=both, **settings) as rotated:
        assert rotated.page.get(f"/authorise/{token}").status_code == 200
    with open_office(engine, cyclr_bulk_sealing_keys=both.partition(",")[0], **settings) as forgotten:
        assert forgotten.page.get(f"/authorise/{token}").status_code == 404


def test_while_cyclr_is_away_the_customer_is_asked_to_come_back(office: Office) -> None:
    job_id = office.job()
    [token] = office.links(job_id)
    office.simulator.call(lambda world: world.faults.add(server_error(500), call="sign_in"))
    answer = office.page.post(f"/authorise/{token}")
    assert (answer.status_code, heading(answer)) == (503, "Just a moment")
    assert answer.headers["retry-after"] == "60"
    office.simulator.call(lambda world: world.faults.clear())
    assert office.page.post(f"/authorise/{token}").status_code == 303


def test_a_passing_error_of_cyclr_is_not_the_customers_business(office: Office) -> None:
    [token] = office.links(office.job())
    office.simulator.call(lambda world: world.faults.add(server_error(500), call="sign_in", count=1))
    assert follow(office, office.page.post(f"/authorise/{token}")).status_code == 302


def test_what_cyclr_refuses_for_good_is_said_without_its_words(office: Office) -> None:
    [token] = office.links(office.job())
    fault = refused(403, "The user of account a2 is locked.")
    office.simulator.call(lambda world: world.faults.add(fault, call="sign_in"))
    answer = office.page.post(f"/authorise/{token}")
    assert (answer.status_code, heading(answer)) == (502, "This cannot be finished yet")
    assert "locked" not in answer.text
    assert "sign_in_refused" in office.log.getvalue()


def test_a_revoked_partner_token_is_renewed_on_the_way(office: Office) -> None:
    [token] = office.links(office.job())
    assert office.page.post(f"/authorise/{token}").status_code == 303
    office.simulator.call(lambda world: world.tokens.revoke_all())
    assert office.page.post(f"/authorise/{token}").status_code == 303


def test_without_settings_no_link_leads_anywhere(engine: Engine) -> None:
    with open_office(engine) as office:
        [token] = office.links(office.job())
    api_url = office.simulator.base_url
    with open_office(engine, cyclr_service_url=None, cyclr_api_url=api_url) as bare:
        assert bare.page.get(f"/authorise/{token}").status_code == 503
        assert bare.page.post(f"/authorise/{token}").status_code == 503


def test_a_link_of_another_instance_is_unknown_here(engine: Engine) -> None:
    with open_office(engine) as office:
        [token] = office.links(office.job())
    with open_office(engine) as other:  # its Cyclr is at another address
        assert other.page.get(f"/authorise/{token}").status_code == 404
        assert other.page.post(f"/authorise/{token}").status_code == 404


def test_no_link_and_no_token_is_logged_stored_or_told_to_others(office: Office) -> None:
    job_id = office.job()
    [token] = office.links(job_id)
    pages = [office.page.get(f"/authorise/{token}"), office.page.get("/authorised")]
    sent = office.page.post(f"/authorise/{token}")
    minted = parse_qs(urlsplit(sent.headers["location"]).query)["token"][0]
    office.simulator.call(lambda world: world.faults.add(server_error(500), call="sign_in"))
    pages.append(office.page.post(f"/authorise/{token}"))
    follow(office, sent)
    assert token not in sent.headers["location"]
    signature = token.partition(".")[2]
    for secret in (signature, minted):
        assert secret not in office.log.getvalue()
    for page in [*pages, sent]:
        assert page.headers["referrer-policy"] == "same-origin"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-robots-tag"] == "noindex, nofollow"
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; ")
        assert f"form-action 'self' {SERVICE};" in policy
        assert "set-cookie" not in page.headers
    for page in pages:
        for inner in ("a2", "CRM 2", job_id, "Cyclr", "token", "cyclr-bulk", signature):
            assert inner not in page.text, inner


@pytest.mark.parametrize(
    "path",
    [
        "/authorise/",
        "/authorise",
        "/authorise/one/two",
        "/Authorise/abc",
        "/auth",
        "/a",
    ],
)
def test_what_is_left_of_a_cut_link_speaks_to_a_customer(office: Office, path: str) -> None:
    answer = office.page.get(path)
    assert (answer.status_code, heading(answer)) == (404, "This link does not work")
    assert_for_customers_only(answer)


def test_what_a_customer_cannot_do_is_told_in_their_words(office: Office) -> None:
    wrong = office.page.request("DELETE", "/authorised")
    assert (wrong.status_code, heading(wrong)) == (405, "This link does not work")
    large = office.page.post("/authorise/x", content=b"x" * 1_000_001)
    assert (large.status_code, heading(large)) == (413, "This link does not work")
    for answer in (wrong, large):
        assert_for_customers_only(answer)


def assert_for_customers_only(answer: httpx.Response) -> None:
    assert "customer.css" in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'; ")
    for inner in ("cyclr", "Cyclr", "job", "API", "JSON"):
        assert inner not in answer.text, inner


def test_the_front_door_tells_a_customer_what_is_missing_and_staff_the_way_in(office: Office) -> None:
    front = office.page.get("/")
    assert (front.status_code, heading(front)) == (200, "A part of the address is missing")
    assert "its link was cut" in front.text
    assert '<a href="/sign-in">Sign in, if you work here</a>' in front.text
    assert_for_customers_only(front)


def test_where_no_customer_comes_the_front_door_is_that_of_staff(engine: Engine) -> None:
    with open_office(engine, cyclr_service_url=None) as office:
        front = office.page.get("/")
        assert (front.status_code, front.headers["location"]) == (303, "/jobs")
