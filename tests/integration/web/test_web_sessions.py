"""Sessions of browsers: each is a row, and over for every web process when its person says so."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select, update

from tests.integration.store.databases import Stores
from tests.integration.web.site import Site, open_site
from tests.integration.web.test_permissions import session_of, signed_in
from tests.plain_http import AS_OWN_PAGE
from worker.simulator.server import SimulatorThread
from worker.store.api_keys import delete_old_sessions, find_key_of_text, hash_of, revoke_key
from worker.store.session import Engine, db_now, reading, writing
from worker.store.tables import web_sessions
from worker.web.access import Access
from worker.web.guards import COOKIE, FORM_TOKEN_HEADER


def sign_in(client: httpx.Client, key: str) -> str:
    """The cookie's value."""
    answer = client.post("/sign-in", data={"key": key}, headers=AS_OWN_PAGE)
    assert answer.status_code == 303, answer.text
    return str(answer.cookies[COOKIE])


def opens(site: Site, session: str) -> bool:
    status = signed_in(site, session).get("/jobs").status_code
    assert status in (200, 303)
    return status == 200


def count_sessions(engine: Engine) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(web_sessions)).scalar_one()


def shift(engine: Engine, session: str, back: timedelta) -> None:
    """As if it had begun so much earlier."""
    with reading(engine) as connection:
        ends_at = db_now(connection) + timedelta(hours=12) - back
    mine = update(web_sessions).where(web_sessions.c.hash == hash_of(session))
    writing(engine, lambda connection: connection.execute(mine.values(ends_at=ends_at)))


def test_a_session_that_was_signed_out_opens_nothing_though_its_cookie_was_kept(site: Site):
    client = site.client()
    session = sign_in(client, site.key())
    assert opens(site, session)
    token = site.app.state.access.form_token(session)
    answer = client.post("/sign-out", headers={FORM_TOKEN_HEADER: token} | AS_OWN_PAGE)
    assert answer.status_code == 303
    assert not opens(site, session)
    assert signed_in(site, session).get("/v1/jobs").status_code == 401
    assert count_sessions(site.engine) == 0


def test_another_web_process_knows_that_it_was_signed_out(site: Site):
    other = Access(site.engine, site.place.settings, site.place.clock)
    session = session_of(site, site.key())
    assert other.find_session_caller(session) is not None
    site.app.state.access.end_session(session)
    assert other.find_session_caller(session) is None


def test_signing_in_again_begins_another_session_and_ends_the_one_before(site: Site):
    client = site.client()
    before, after = sign_in(client, site.key()), sign_in(client, site.key())
    assert before != after
    assert (opens(site, before), opens(site, after)) == (False, True)


def test_a_session_that_was_planted_is_not_gone_on_with(site: Site):
    planted = "a-text-that-somebody-else-knows"
    session = sign_in(signed_in(site, planted), site.key())
    assert session != planted
    assert not opens(site, planted)


def test_a_revoked_key_ends_its_sessions_and_no_others(site: Site):
    key = site.key(name="Ada")
    sessions = [session_of(site, key), session_of(site, key), session_of(site, site.key(name="Grace"))]
    found = find_key_of_text(site.engine, key)
    assert found is not None
    revoke_key(site.engine, found.id)
    assert [opens(site, each) for each in sessions] == [False, False, True]


def test_a_session_ends_after_twelve_hours(site: Site):
    session = session_of(site, site.key())
    shift(site.engine, session, timedelta(hours=11, minutes=59))
    assert opens(site, session)
    shift(site.engine, session, timedelta(hours=12))
    assert not opens(site, session)


def test_a_key_has_fifty_sessions_and_the_oldest_gives_way(site: Site):
    key, other = site.key(name="Ada"), session_of(site, site.key(name="Grace"))
    sessions = [session_of(site, key) for _ in range(52)]
    assert [opens(site, each) for each in sessions[:3]] == [False, False, True]
    assert opens(site, sessions[-1])
    assert opens(site, other)
    assert count_sessions(site.engine) == 51


def test_sessions_are_kept_as_hashes_and_deleted_a_day_after_their_end(site: Site):
    old, over, alive = (session_of(site, site.key()) for _ in range(3))
    shift(site.engine, old, timedelta(hours=12, days=1))
    shift(site.engine, over, timedelta(hours=12, minutes=1))
    assert delete_old_sessions(site.engine) == 1
    assert delete_old_sessions(site.engine) == 0
    with reading(site.engine) as connection:
        kept = set(connection.execute(select(web_sessions.c.hash)).scalars())
    assert kept == {hash_of(over), hash_of(alive)}
    assert not kept & {over, alive}


def test_on_plain_loopback_the_cookie_has_its_plain_name(site: Site):
    [line] = (
        site.client()
        .post("/sign-in", data={"key": site.key()}, headers=AS_OWN_PAGE)
        .headers.get_list("set-cookie")
    )
    assert line.startswith("cyclr_bulk_session=")
    assert {part.strip() for part in line.split(";")[1:]} == {
        "HttpOnly",
        "Max-Age=43200",
        "Path=/",
        "SameSite=strict",
    }


@pytest.fixture
def behind_tls(
    stores: Stores, engine: Engine, redis_url: str, simulator: SimulatorThread, tmp_path: Path
) -> Iterator[Site]:
    settings = {"cyclr_bulk_public_url": "https://bulk.example.com"}
    with open_site(simulator, engine, redis_url, tmp_path / "uploads", **settings) as site:
        yield site


def test_over_tls_the_cookie_is_of_this_host_alone(behind_tls: Site):
    key = behind_tls.key()
    [line] = (
        behind_tls.client()
        .post("/sign-in", data={"key": key}, headers=AS_OWN_PAGE)
        .headers.get_list("set-cookie")
    )
    name, _, session = line.partition(";")[0].partition("=")
    assert name == "__Host-cyclr_bulk_session"
    assert {part.strip() for part in line.split(";")[1:]} == {
        "HttpOnly",
        "Max-Age=43200",
        "Path=/",
        "SameSite=strict",
        "Secure",
    }
    client = behind_tls.client(cookies={name: session})
    assert client.get("/jobs").status_code == 200
    # A neighbour under the same domain could set the plain name.
    assert not opens(behind_tls, session)
    token = behind_tls.app.state.access.form_token(session)
    [gone] = client.post("/sign-out", headers={FORM_TOKEN_HEADER: token} | AS_OWN_PAGE).headers.get_list(
        "set-cookie"
    )
    assert gone.startswith('__Host-cyclr_bulk_session=""; ')
    assert {"Max-Age=0", "Path=/", "Secure"} <= {part.strip() for part in gone.split(";")}
    assert client.get("/jobs").status_code == 303


def test_cookies_of_the_release_before_open_nothing(site: Site):
    key = find_key_of_text(site.engine, site.key())
    assert key is not None
    signed = site.app.state.access._forms.sign(f"{key.id} 4102444800")
    assert not opens(site, signed)
