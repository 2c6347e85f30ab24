"""Who may do what: every route without a key, with a read key, with an expired and with a revoked one."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import func, select, update

from tests.integration.web.routes import Route, routes_of
from tests.integration.web.site import Site, wait_until
from tests.integration.web.test_reading import submit
from tests.plain_http import AS_OWN_PAGE
from worker.store.api_keys import Scope, find_key_of_text, list_keys, revoke_key
from worker.store.session import Engine, reading, writing
from worker.store.tables import api_keys, items, jobs
from worker.web.guards import COOKIE, FORM_TOKEN_HEADER

PUBLIC = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/version"),
    ("GET", "/docs"),
    ("GET", "/v1/openapi.json"),
    ("GET", "/static"),
    ("GET", "/favicon.ico"),
    # To begin and to end a session, and the way from the front door there.
    ("GET", "/"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("POST", "/sign-out"),
    # A customer has a signed link, and no key.
    ("GET", "/authorise/{token}"),
    ("POST", "/authorise/{token}"),
    ("GET", "/authorised"),
}


@pytest.fixture
def job_id(site: Site) -> str:
    client = site.client(site.key(name="made the job"))
    made = submit(client, "acme", "globex")
    with site.working():
        wait_until(lambda: client.get(f"/v1/jobs/{made}").json()["state"] == "completed")
    return made


def key_that_expired(site: Site) -> str:
    text = site.key(lasts=timedelta(microseconds=1), name="expired")
    wait_until(lambda: find_key_of_text(site.engine, text) is None)
    return text


def key_that_was_revoked(site: Site) -> str:
    text = site.key(name="revoked")
    [key] = [key for key in list_keys(site.engine) if key.name == "revoked"]
    assert revoke_key(site.engine, key.id)
    return text


def session_of(site: Site, key_text: str) -> str:
    access = site.app.state.access
    caller = access.find_caller(key_text)
    assert caller is not None
    return str(access.begin_session(caller))


def signed_in(site: Site, session: str) -> httpx.Client:
    """A browser at our own pages."""
    client = site.client(cookies={COOKIE: session})
    client.headers.update(AS_OWN_PAGE)
    return client


def call(client: httpx.Client, route: Route, job_id: str, **more: object) -> httpx.Response:
    values = {"job_id": job_id, "row": 2, "row_number": 2, "upload_id": "nowhere", "token": "nothing"}
    return client.request(route.method, route.address(**values), **more)  # type: ignore[arg-type]


def snapshot(engine: Engine) -> list[tuple[object, ...]]:
    with reading(engine) as connection:
        states = connection.execute(select(jobs.c.id, jobs.c.state, jobs.c.held, jobs.c.finished_at)).all()
        count = connection.execute(select(func.count()).select_from(items)).scalar_one()
    return [*map(tuple, states), (count,)]


def test_every_route_has_a_guard_or_is_known_to_be_for_everybody(site: Site):
    open_to_all = {(route.method, route.path) for route in routes_of(site.app) if route.guard is None}
    assert open_to_all == PUBLIC
    assert len(routes_of(site.app)) > len(PUBLIC) + 20


def test_a_route_that_changes_something_is_for_writers(site: Site):
    changing = [route for route in routes_of(site.app) if route.method != "GET" and route.guard]
    assert {route.guard for route in changing} == {"writer", "page_writer", "page_uploader"}


def test_without_a_key_nothing_of_the_api_answers(site: Site, job_id: str):
    before = snapshot(site.engine)
    texts = [None, "cbk_nothing_nothing", key_that_expired(site), key_that_was_revoked(site)]
    site.app.state.access.brake.FIRST_S = 0.0  # more than sixty wrong keys are not to be waited for
    for text in texts:
        client = site.client(text)
        for route in routes_of(site.app):
            if route.guard not in ("reader", "writer"):
                continue
            answer = call(client, route, job_id)
            assert answer.status_code == 401, (route, text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"] == "Bearer"
    assert snapshot(site.engine) == before


def test_a_read_key_reads_and_changes_nothing(site: Site, job_id: str):
    before = snapshot(site.engine)
    client = site.client(site.key(Scope.READ))
    for route in routes_of(site.app):
        answer = call(client, route, job_id) if route.guard in ("reader", "writer") else None
        if answer is None:
            continue
        if route.guard == "writer":
            assert (answer.status_code, answer.json()["code"]) == (403, "read_only_key"), route
        else:
            assert answer.status_code < 400, (route, answer.text)
    assert snapshot(site.engine) == before


def test_who_is_not_signed_in_is_sent_to_sign_in(site: Site, job_id: str):
    before = snapshot(site.engine)
    expired = site.key(lasts=timedelta(hours=1), name="about to expire")
    sessions = [session_of(site, expired), session_of(site, site.key(name="to be revoked")), "nonsense.x", ""]
    [key] = [key for key in list_keys(site.engine) if key.name == "to be revoked"]
    revoke_key(site.engine, key.id)
    over = update(api_keys).where(api_keys.c.name == "about to expire")
    writing(site.engine, lambda c: c.execute(over.values(expires_at=datetime.now(UTC))))
    assert find_key_of_text(site.engine, expired) is None
    for session in sessions:
        client = signed_in(site, session)
        for route in routes_of(site.app):
            if (route.guard or "").startswith("page_"):
                answer = call(client, route, job_id)
                assert answer.status_code == 303, (route, session)
                assert answer.headers["location"].startswith("/sign-in"), route
    assert snapshot(site.engine) == before


def test_a_session_of_a_read_key_reads_and_changes_nothing(site: Site, job_id: str):
    before = snapshot(site.engine)
    session = session_of(site, site.key(Scope.READ))
    client = signed_in(site, session)
    token = site.app.state.access.form_token(session)
    for route in routes_of(site.app):
        if route.guard is None:  # to sign out is one of these
            continue
        answer = call(client, route, job_id, headers={FORM_TOKEN_HEADER: token})
        if route.guard in ("page_writer", "page_uploader"):
            assert answer.status_code == 403, route
        elif route.guard == "page_reader" or route.guard == "reader":
            assert answer.status_code < 400, (route, answer.text)
        elif route.guard == "writer":
            assert answer.status_code == 401, route  # a header is asked for, which no other site can send
    assert snapshot(site.engine) == before


def test_what_another_site_sends_changes_nothing(site: Site, job_id: str):
    before = snapshot(site.engine)
    session = session_of(site, site.key())
    client = signed_in(site, session)
    token = site.app.state.access.form_token(session)
    other_token = site.app.state.access.form_token(session_of(site, site.key(name="somebody else")))
    foreign = [
        {},
        {FORM_TOKEN_HEADER: "nothing"},
        {FORM_TOKEN_HEADER: other_token},
        {FORM_TOKEN_HEADER: token, "Sec-Fetch-Site": "cross-site"},
        {FORM_TOKEN_HEADER: token, "Sec-Fetch-Site": "same-site"},
        {FORM_TOKEN_HEADER: token, "Origin": "https://evil.example"},
    ]
    for headers in foreign:
        for route in routes_of(site.app):
            if (route.guard or "").startswith("page_") and route.method != "GET":
                answer = call(client, route, job_id, headers=headers)
                assert answer.status_code == 403, (route, headers)
    assert snapshot(site.engine) == before


def test_wrong_keys_are_answered_later_and_later(site: Site):
    brake = site.app.state.access.brake
    waits = [brake._wait_s("203.0.113.7") for _ in range(7)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0]
    assert brake._wait_s("203.0.113.8") == 0.1


def test_right_keys_are_not_slowed_down_by_wrong_ones(site: Site):
    brake = site.app.state.access.brake
    for _ in range(20):
        brake._wait_s("127.0.0.1")
    before = brake._waiting
    client = site.client(site.key())
    assert client.get("/v1/jobs").status_code == 200
    assert brake._waiting == before == 0
