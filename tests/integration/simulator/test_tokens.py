import time
from contextlib import closing

import pytest

from tests.integration.simulator.conftest import Cyclr, small_world
from tests.plain_http import http_client
from worker.simulator.server import SimulatorThread
from worker.simulator.world import World

DENIED = {"Message": "Authorization has been denied for this request."}
FORM = {"grant_type": "client_credentials", "client_id": "id", "client_secret": "secret"}


def test_a_token_is_64_hex_characters_and_lives_14_days_less_a_second(cyclr: Cyclr) -> None:
    answer = cyclr.http.post("/oauth/token", data=FORM).json()
    assert len(answer["access_token"]) == 64
    assert int(answer["access_token"], 16) >= 0
    assert answer["expires_in"] == 1_209_599
    assert answer["token_type"] == "bearer"
    assert answer["clientId"] == "id"
    assert answer[".refresh"] == "False"
    assert answer[".issued"].endswith(" GMT")


def test_a_token_is_given_to_a_get_with_a_form_in_its_body(cyclr: Cyclr) -> None:
    answer = cyclr.http.request("GET", "/oauth/token", data=FORM)
    assert answer.status_code == 200
    assert len(answer.json()["access_token"]) == 64


def test_a_token_is_not_given_for_what_stands_in_the_query(cyclr: Cyclr) -> None:
    answer = cyclr.http.post("/oauth/token", params=FORM)
    assert (answer.status_code, answer.text) == (400, '{"error":"unsupported_grant_type"}')


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_secret": ""}, "invalid_client"),
        ({"scope": "account:nobody"}, "invalid_scope"),
    ],
)
def test_the_token_endpoint_refuses_with_an_error_code(
    cyclr: Cyclr, change: dict[str, str], error: str
) -> None:
    answer = cyclr.http.post("/oauth/token", data={**FORM, **change})
    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_a_world_with_credentials_takes_no_others() -> None:
    with SimulatorThread(World(credentials={"id": "right"})) as thread, http_client() as http:
        url = f"{thread.base_url}/oauth/token"
        assert http.post(url, data=FORM).json() == {"error": "invalid_client"}
        assert http.post(url, data={**FORM, "client_secret": "right"}).status_code == 200


def test_partner_credentials_are_rejected_on_request(cyclr: Cyclr) -> None:
    cyclr.control("switches", reject_credentials=True)
    assert cyclr.http.post("/oauth/token", data=FORM).json() == {"error": "invalid_client"}
    assert cyclr.get("/accounts").status_code == 200


def test_a_new_token_leaves_the_old_one_alive_and_revoking_ends_both(cyclr: Cyclr) -> None:
    first, second = cyclr.token, cyclr.new_token()
    for cyclr.token in (first, second):
        assert cyclr.get("/accounts").status_code == 200
    cyclr.control("revoke_tokens")
    for cyclr.token in (first, second):
        answer = cyclr.get("/accounts")
        assert (answer.status_code, answer.json()) == (401, DENIED)


def test_a_token_ends_after_14_days() -> None:
    start = time.time()
    clock = [start]
    with SimulatorThread(small_world(lambda: clock[0])) as thread:
        cyclr = Cyclr(thread)
        with closing(cyclr.http):
            clock[0] = start + 1_209_598
            assert cyclr.get("/accounts").status_code == 200
            clock[0] = start + 1_209_599
            assert cyclr.get("/accounts").status_code == 401


@pytest.mark.parametrize("account_id", ["", "nobody", None])
def test_an_account_header_that_is_empty_unknown_or_absent_is_401(
    cyclr: Cyclr, account_id: str | None
) -> None:
    answer = cyclr.get("/account/connectors", account_id)
    assert (answer.status_code, answer.json()) == (401, DENIED)


def test_the_token_is_checked_before_the_account_and_the_account_before_the_connector(cyclr: Cyclr) -> None:
    assert cyclr.install("nobody", connector="9").status_code == 401
    assert cyclr.install("acme", connector="9").status_code == 404
    cyclr.token = "wrong"
    assert cyclr.get("/accounts/nobody").status_code == 401


def test_a_restricted_token_is_good_for_its_account_only(cyclr: Cyclr) -> None:
    cyclr.token = cyclr.new_token(scope="account:acme")
    assert cyclr.get("/account/connectors", "acme").status_code == 200
    assert cyclr.get("/account/connectors", "globex").status_code == 401
    assert cyclr.get("/accounts").status_code == 401


def test_a_sign_in_token_works_once_makes_the_user_and_authorises(cyclr: Cyclr) -> None:
    connector_id = cyclr.install(Name="CRM").json()["Id"]
    answer = cyclr.call("POST", "/accounts/acme/signintoken", json={"Username": "jo@example.com"})
    assert cyclr.get("/accounts/acme/users").json() == ["jo@example.com"]
    query = {"id": connector_id, "token": answer.json()["Token"], "targetOrigin": "https://app.example/"}
    page = "/connectorauth/updateaccountconnectoroauth"
    first, second = cyclr.http.get(page, params=query), cyclr.http.get(page, params=query)
    assert (first.status_code, first.headers["Location"]) == (302, "https://app.example/")
    assert second.status_code == 403
    assert "403 – Forbidden: Access is denied." in second.text
    assert cyclr.get(f"/account/connectors/{connector_id}").json()["Authenticated"] is True


def test_a_sign_in_token_ends_after_5_minutes() -> None:
    clock = [1_700_000_000.0]
    world = small_world(lambda: clock[0])
    token, expires_at = world.tokens.issue_sign_in("acme")
    assert expires_at == 1_700_000_300.0
    clock[0] += 300
    assert world.tokens.use_sign_in(token) is None
