"""A request names the host that its sender believes in: a stranger's name that leads here is refused, and never repeated."""

import time
from pathlib import Path

import pytest

from tests.browser.served import Served
from tests.hostile.raw_client import RawClient
from tests.plain_http import AS_OWN_PAGE, http_client
from tests.served.home import client_of, open_home
from worker.settings import CyclrSettings
from worker.web.middleware import Hosts

pytestmark = pytest.mark.slow


def ask(served: Served, target: str, *lines: str) -> str:
    with RawClient(served.url) as client:
        client.send("\r\n".join([f"GET {target} HTTP/1.1", *lines, "Connection: close", "", ""]))
        return client.read_to_end().decode("latin-1")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.com",
        "evil.example.com:8080",
        "localhost.evil.example.com",
        "127.0.0.1.evil.example.com",
        "evil.example.com@127.0.0.1",
        "[",
        "[::1",
        "127.0.0.1:port",
        "127.0.0.1, evil.example.com",
        "",
        "x" * 5_000,
    ],
)
@pytest.mark.parametrize(
    "target", ["/sign-in", "/jobs", "/v1/jobs", "/static/app.css", "/authorise/x", "/nowhere"]
)
def test_a_name_that_is_not_ours_is_refused(served: Served, target: str, host: str):
    answer = ask(served, target, f"Host: {host}")
    assert answer.startswith("HTTP/1.1 421 Misdirected Request\r\n"), answer[:200]
    assert "evil.example.com" not in answer
    if not target.startswith("/authorise"):
        assert "CYCLR_BULK_HOSTS" in answer


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LOCALHOST:80", "localhost.", "[::1]:8080", "10.1.2.3", "[2001:db8::1]"],
)
def test_this_machine_and_any_address_are_ours(served: Served, host: str):
    assert ask(served, "/sign-in", f"Host: {host}").startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_told_to_whoever_asks(served: Served, path: str):
    assert ask(served, path, "Host: whatever.internal").split(" ")[1] in ("200", "503")
    assert ask(served, path, "Host: [").split(" ")[1] in ("200", "503")


def test_no_answer_leads_to_the_host_of_the_request(served: Served):
    """A slash too many is taken away, on this host; everything else is a path too."""
    with client_of(served) as client:
        host = {"Host": "localhost:9"}
        for path, leads_to in (
            ("/jobs/?q=a%20b", "/jobs?q=a%20b"),
            ("/authorise/some.token/", "/authorise/some.token"),
            ("/jobs", "/sign-in?then=/jobs"),
        ):
            answer = client.get(path, headers=host)
            assert (answer.status_code in (303, 307), answer.headers["location"]) == (True, leads_to)
        for path in ("//evil.example.com/", "//evil.example.com/%2f..", "/\\evil.example.com/", "/nowhere/"):
            answer = client.get(served.url + path, headers=host)
            assert (answer.status_code, "location" in answer.headers) == (404, False), path


def test_a_name_and_a_proxy_of_the_settings_are_known(tmp_path: Path):
    """In `.env`, too: of the proxy's word the scheme is believed, and the caller's address."""
    (tmp_path / ".env").write_text("FORWARDED_ALLOW_IPS=127.0.0.1\nCYCLR_BULK_HOSTS=bulk.example.com, web\n")
    (tmp_path / ".env").chmod(0o600)
    with open_home(tmp_path) as served, http_client(base_url=served.url, timeout=60) as browser:
        for host in ("bulk.example.com", "Web:8080"):
            assert browser.get("/sign-in", headers={"Host": host}).status_code == 200
        assert browser.get("/sign-in", headers={"Host": "example.com"}).status_code == 421
        told = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
        answer = browser.post("/sign-in", data={"key": served.write_key}, headers=AS_OWN_PAGE | told)
        assert "; Secure" in answer.headers["set-cookie"]
        # Each caller of the proxy has a count of his own.
        began = time.monotonic()
        for number in range(8):
            headers = {"X-Forwarded-For": f"198.51.100.{number}", "Authorization": f"Bearer cbk_{number}_x"}
            assert browser.get("/v1/jobs", headers=headers).status_code == 401
        assert time.monotonic() - began < 8.0


def test_nobody_speaks_for_others_where_no_proxy_is_named(served: Served):
    with http_client(base_url=served.url, timeout=60) as stranger:
        told = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example.com"}
        answer = stranger.post("/sign-in", data={"key": served.write_key}, headers=AS_OWN_PAGE | told)
        assert "Secure" not in answer.headers["set-cookie"]
        began = time.monotonic()
        for number in range(6):
            headers = {"X-Forwarded-For": f"203.0.113.{number}", "Authorization": f"Bearer cbk_{number}_x"}
            assert stranger.get("/v1/jobs", headers=headers).status_code == 401
        # 0.1 s, and twice as long each time.
        assert time.monotonic() - began >= 6.0


@pytest.mark.parametrize(
    ("origin", "host", "is_own"),
    [
        ("https://bulk.example.com", "bulk.example.com:443", True),
        ("http://bulk.example.com", "bulk.example.com:80", True),
        ("https://bulk.example.com", "127.0.0.1:8080", True),
        ("https://bulk.example.com", "bulk.example.com:80", True),
        ("http://bulk.example.com", "127.0.0.1:8080", False),
        ("https://bulk.example.com:80", "127.0.0.1:8080", False),
        ("https://localhost", "localhost:8080", False),
        ("https://localhost:443", "localhost:80", False),
        ("https://:443", "127.0.0.1:8080", False),
        ("https://", ":443", False),
    ],
)
def test_the_port_that_goes_without_saying_is_no_other_site(origin: str, host: str, is_own: bool):
    """A proxy may name it, as nginx does with `$host:$server_port`, and so may the public address."""
    hosts = Hosts(CyclrSettings(cyclr_bulk_public_url="https://bulk.example.com:443"))
    assert hosts.is_own(origin, host) is is_own
