import socket
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from tests.integration.simulator.conftest import Cyclr, wait_until
from tests.plain_http import http_client
from worker.simulator.ledger import Call


def last_install(cyclr: Cyclr) -> Call:
    """The last install's entry, once the simulator is done with it."""
    call = cyclr.ledger.calls_of("install")[-1]
    wait_until(lambda: call.ended_at is not None)
    return call


def raw_install(cyclr: Cyclr) -> socket.socket:
    """A connection that has sent an install and read nothing."""
    url = httpx.URL(cyclr.thread.base_url)
    connection = socket.create_connection((url.host, url.port or 0), timeout=10)
    body = b'{"Name": "Mail"}'
    head = (
        "POST /v1.0/connectors/501/install HTTP/1.1\r\nHost: x\r\nX-Cyclr-Account: acme\r\n"
        f"Authorization: Bearer {cyclr.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def test_429_says_how_long_to_wait_in_seconds(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="throttled", retry_after=2, call="install")
    answer = cyclr.install(Name="Mail")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
    assert cyclr.names() == []
    assert (last_install(cyclr).status, last_install(cyclr).fault) == (429, "throttled")


def test_429_says_how_long_to_wait_as_a_date(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="throttled", retry_after=30, as_date=True)
    headers = cyclr.install(Name="Mail").headers
    wait = parsedate_to_datetime(headers["Retry-After"]) - parsedate_to_datetime(headers["Date"])
    assert 30 <= wait.total_seconds() <= 32


@pytest.mark.parametrize(("asked", "header"), [({}, None), ({"retry_after": "soon"}, "soon")])
def test_429_comes_without_a_wait_or_with_nonsense(
    cyclr: Cyclr, asked: dict[str, str], header: str | None
) -> None:
    cyclr.control("faults", kind="throttled", **asked)
    assert cyclr.install(Name="Mail").headers.get("Retry-After") == header


@pytest.mark.parametrize(
    ("fault", "status", "installed"),
    [
        ({"kind": "busy", "retry_after": 1}, 503, []),
        ({"kind": "busy", "after_effect": True}, 503, ["Mail"]),
        ({"kind": "server_error"}, 500, []),
        ({"kind": "server_error", "status": 504, "after_effect": True}, 504, ["Mail"]),
        ({"kind": "refused", "status": 403, "message": "The plan is full."}, 403, []),
        ({"kind": "garbage"}, 200, ["Mail"]),
        ({"kind": "garbage", "after_effect": False}, 200, []),
        ({"kind": "other_success"}, 202, []),
        ({"kind": "other_success", "status": 204, "after_effect": True}, 204, ["Mail"]),
        ({"kind": "redirected", "location": "https://console.example/"}, 302, []),
        ({"kind": "gateway_page"}, 502, []),
        ({"kind": "gateway_page", "after_effect": True}, 502, ["Mail"]),
        ({"kind": "late_effect", "later_s": 600, "status": 504}, 504, []),
    ],
)
def test_a_status_comes_before_or_after_the_effect(
    cyclr: Cyclr, fault: dict[str, Any], status: int, installed: list[str]
) -> None:
    cyclr.control("faults", **fault, call="install")
    answer = cyclr.install(Name="Mail")
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert cyclr.names() == installed
    assert last_install(cyclr).fault == fault["kind"]


def test_fault_bodies_are_what_was_asked_for(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="refused", status=400, message="Not today.", count=1)
    assert cyclr.install().json() == {"Message": "Not today."}
    cyclr.control("faults", kind="redirected", location="https://console.example/", status=307, count=1)
    assert cyclr.install().headers["Location"] == "https://console.example/"
    cyclr.control("faults", kind="gateway_page", count=1)
    assert "<h1>502 Bad Gateway</h1>" in cyclr.install().text
    cyclr.control("faults", kind="garbage", body="<p>hello</p>", content_type="text/html", count=1)
    assert cyclr.install().text == "<p>hello</p>"


@pytest.mark.parametrize(("after_effect", "installed"), [(False, []), (True, ["Mail"])])
def test_a_reset_comes_before_or_after_the_effect(
    cyclr: Cyclr, after_effect: bool, installed: list[str]
) -> None:
    cyclr.control("faults", kind="reset", after_effect=after_effect, call="install")
    with raw_install(cyclr) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    assert cyclr.names() == installed
    call = last_install(cyclr)
    assert (call.fault, call.status, call.answered_at) == ("reset", None, None)


def test_a_cut_body_is_shorter_than_announced_and_the_effect_took_place(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="cut_body", call="install")
    with raw_install(cyclr) as connection, connection.makefile("rb") as answer:
        head, _, body = answer.read().partition(b"\r\n\r\n")
    announced = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert head.startswith(b"HTTP/1.1 200 ")
    assert 0 < len(body) < announced
    assert cyclr.names() == ["Mail"]
    assert last_install(cyclr).answered_at is None


def test_a_cut_body_breaks_an_ordinary_client(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="cut_body", call="install")
    with pytest.raises(httpx.RemoteProtocolError):
        cyclr.install(Name="Mail")


@pytest.mark.parametrize(("after_effect", "installed"), [(False, []), (True, ["Mail"])])
def test_silence_lasts_until_the_caller_leaves(
    cyclr: Cyclr, after_effect: bool, installed: list[str]
) -> None:
    cyclr.control("faults", kind="silence", after_effect=after_effect, call="install")
    connection = raw_install(cyclr)
    wait_until(lambda: bool(cyclr.ledger.calls_of("install")))
    connection.settimeout(0.2)
    with connection, pytest.raises(TimeoutError):
        connection.recv(1)
    assert cyclr.names() == installed
    assert last_install(cyclr).answered_at is None


def test_a_late_effect_takes_place_after_the_caller_was_told_of_a_timeout(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="late_effect", later_s=0.3, status=504, call="install")
    assert cyclr.install(Name="Mail").status_code == 504
    wait_until(lambda: cyclr.names() == ["Mail"])
    effect, call = cyclr.ledger.effects[-1], last_install(cyclr)
    assert effect.at - call.received_at >= 0.29
    assert call.answered_at is not None
    assert call.answered_at < effect.at


def test_a_late_effect_takes_place_in_silence_after_the_caller_has_left(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="late_effect", later_s=0.3, call="install")
    raw_install(cyclr).close()
    wait_until(lambda: cyclr.names() == ["Mail"])


def test_a_slow_install_takes_place_though_the_caller_has_left(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="slow", latency_s=0.5, call="install")
    raw_install(cyclr).close()
    wait_until(lambda: cyclr.names() == ["Mail"])
    assert last_install(cyclr).answered_at is None


def test_latency_delays_every_call(cyclr: Cyclr) -> None:
    cyclr.control("latency", low_s=0.1, high_s=0.2)
    assert cyclr.get("/accounts").status_code == 200
    call = cyclr.ledger.calls_of("accounts")[-1]
    assert call.answered_at is not None
    assert call.answered_at - call.received_at >= 0.09


def test_a_fault_befalls_its_account_and_its_kind_of_call_only(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="server_error", call="look", account_id="acme")
    assert cyclr.get("/account/connectors", "acme").status_code == 500
    assert cyclr.get("/account/connectors", "globex").status_code == 200
    assert cyclr.install("acme", Name="Mail").status_code == 200


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        ("token", lambda c: c.http.post("/oauth/token")),
        ("accounts", lambda c: c.get("/accounts")),
        ("account", lambda c: c.get("/accounts/acme")),
        ("create_account", lambda c: c.call("POST", "/accounts", json={"Id": "n", "Name": "N"})),
        ("connectors", lambda c: c.get("/connectors")),
        ("connectors", lambda c: c.get("/connectors/501")),
        ("look", lambda c: c.get("/account/connectors")),
        ("install", lambda c: c.install(Name="Mail")),
        ("account_connector", lambda c: c.get("/account/connectors/1")),
        ("change_account_connector", lambda c: c.call("PUT", "/account/connectors/1", json={})),
        ("remove_account_connector", lambda c: c.call("DELETE", "/account/connectors/1")),
        ("deauthenticate", lambda c: c.call("PUT", "/account/connectors/1/deauthenticate")),
        ("properties", lambda c: c.get("/account/connectors/1/properties")),
        ("add_property", lambda c: c.call("POST", "/account/connectors/1/properties", json={})),
        ("property", lambda c: c.get("/account/connectors/1/properties/2")),
        ("change_property", lambda c: c.call("PUT", "/account/connectors/1/properties/2", json={})),
        ("remove_property", lambda c: c.call("DELETE", "/account/connectors/1/properties/2")),
        ("change_account", lambda c: c.call("PUT", "/accounts/acme", json={})),
        ("delete_account", lambda c: c.call("DELETE", "/accounts/acme")),
        ("methods", lambda c: c.get("/connectors/501/methods")),
    ],
)
def test_every_call_has_its_kind(cyclr: Cyclr, kind: str, call: Callable[[Cyclr], httpx.Response]) -> None:
    cyclr.control("faults", kind="refused", status=418, message="kind", call=kind)
    assert call(cyclr).status_code == 418
    assert cyclr.ledger.calls[-1].kind == kind


def test_a_fault_for_a_new_account_goes_by_the_id_in_the_body(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="server_error", account_id="new", after_effect=True)
    assert cyclr.call("POST", "/accounts", None, json={"id": "new", "name": "N"}).status_code == 500
    assert cyclr.call("POST", "/accounts", None, json={"Id": "other", "Name": "N"}).status_code == 200
    assert [e.account_id for e in cyclr.ledger.effects_of("account_created")] == ["new", "other"]


def test_a_fault_ends_after_its_count_and_all_end_on_request(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="server_error", count=2)
    assert [cyclr.get("/accounts").status_code for _ in range(3)] == [500, 500, 200]
    cyclr.control("faults", kind="server_error")
    assert cyclr.get("/accounts").status_code == 500
    assert cyclr.http.delete("/_sim/faults").status_code == 200
    assert cyclr.get("/accounts").status_code == 200


def test_a_fault_may_spare_the_first_calls(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="server_error", nth=3, count=1, call="accounts")
    assert [cyclr.get("/accounts").status_code for _ in range(4)] == [200, 200, 500, 200]


@pytest.mark.parametrize(
    ("fault", "status", "took_effect"),
    [
        ({"kind": "throttled"}, 429, False),
        ({"kind": "busy", "after_effect": True}, 503, True),
        ({"kind": "server_error"}, 500, False),
        ({"kind": "server_error", "after_effect": True}, 500, True),
        ({"kind": "reset"}, None, False),
        ({"kind": "reset", "after_effect": True}, None, True),
        ({"kind": "cut_body"}, None, True),
        ({"kind": "late_effect", "later_s": 0, "status": 504}, 504, True),
    ],
)
@pytest.mark.parametrize(
    ("kind", "verb", "path"),
    [
        ("change_account_connector", "PUT", ""),
        ("deauthenticate", "PUT", "/deauthenticate"),
        ("remove_account_connector", "DELETE", ""),
        ("add_property", "POST", "/properties"),
        ("change_property", "PUT", "/properties/40"),
        ("remove_property", "DELETE", "/properties/40"),
    ],
)
def test_each_call_that_changes_fails_before_or_after_its_effect(
    cyclr: Cyclr,
    kind: str,
    verb: str,
    path: str,
    fault: dict[str, Any],
    status: int | None,
    took_effect: bool,
) -> None:
    installed = cyclr.install(Name="Mail", Properties=[{"Name": "Region", "Value": "EU"}]).json()
    cyclr.control("faults", **fault, call=kind, count=1)
    body = {"Name": "Region", "Value": "US", "AuthValue": "k"}
    try:
        answer = cyclr.call(verb, f"/account/connectors/{installed['Id']}{path}", json=body).status_code
    except httpx.TransportError:
        answer = None
    assert answer == status
    if took_effect:
        wait_until(lambda: len(cyclr.ledger.effects) == 2)
    change = cyclr.ledger.changes()[-1]
    assert (change.kind, change.took_effect) == (kind, took_effect)


def test_a_share_of_calls_fails_the_same_ones_for_the_same_seed(cyclr: Cyclr) -> None:
    def statuses() -> list[int]:
        cyclr.http.delete("/_sim/faults")
        cyclr.control("faults", kind="server_error", share=0.3, seed=7)
        return [cyclr.get("/accounts").status_code for _ in range(60)]

    first = statuses()
    assert first == statuses()
    assert 8 <= first.count(500) <= 30


@pytest.mark.parametrize(
    "asked", [{"kind": "no_such"}, {"kind": "slow"}, {"kind": "reset", "call": "no_such"}]
)
def test_a_fault_that_makes_no_sense_is_refused(cyclr: Cyclr, asked: dict[str, str]) -> None:
    answer = cyclr.http.post("/_sim/faults", json=asked)
    assert answer.status_code == 400
    assert "error" in answer.json()


def test_away_refuses_everything_until_told_otherwise(cyclr: Cyclr) -> None:
    cyclr.control("switches", away="503")
    assert cyclr.get("/accounts").status_code == 503
    cyclr.control("switches", away="reset")
    with pytest.raises(httpx.ReadError):
        cyclr.get("/accounts")
    cyclr.control("switches", away=None)
    assert cyclr.get("/accounts").status_code == 200


def test_a_stopped_simulator_refuses_connections_and_comes_back_with_its_world(cyclr: Cyclr) -> None:
    cyclr.install(Name="Mail")
    cyclr.thread.stop()
    with http_client() as http, pytest.raises(httpx.ConnectError):
        http.get(cyclr.thread.base_url)
    cyclr.thread.start()
    assert cyclr.names() == ["Mail"]
    assert cyclr.get("/account/connectors").status_code == 200


def test_a_silence_does_not_hold_up_the_end(cyclr: Cyclr) -> None:
    cyclr.control("faults", kind="silence", call="install")
    with raw_install(cyclr) as connection:
        wait_until(lambda: bool(cyclr.ledger.calls_of("install")))
        cyclr.thread.stop()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
