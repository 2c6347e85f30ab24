"""Odd input at every address: an answer that was thought of, of bounded size, and never a 500."""

import http.client
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.end_to_end.harness import MAIL, small_world
from tests.integration.conftest import postgres_stores as postgres_stores
from tests.integration.conftest import sqlite_stores as sqlite_stores
from tests.integration.conftest import stores as stores
from tests.integration.store.databases import Stores
from tests.integration.web.conftest import ACCOUNTS
from tests.integration.web.conftest import redis_url as redis_url
from tests.integration.web.routes import Route, routes_of
from tests.integration.web.site import Site, new_site
from tests.integration.web.test_permissions import session_of
from tests.plain_http import AS_OWN_PAGE
from worker.simulator.server import SimulatorThread
from worker.web.guards import COOKIE, FORM_TOKEN

pytestmark = pytest.mark.slow

MOST_BYTES = 200_000  # of an answer: pages are smaller, and so is the document of the API
ODD_TEXTS = [
    "",
    "%00",
    "a%00b",
    "%ED%A0%80",  # half a character, as UTF-8 must not have it
    "%FF%FE",
    "%",
    "%zz",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "%E2%80%AE%1b%5b2J",
    "-1",
    "0",
    "2147483648",
    "9223372036854775808",
    "9999999999",
    "9" * 5_000,
    "1e309",
    "NaN",
    "%D9%A3",  # a digit, and none of ASCII
    "999999999-9999999999",
    "261121-k3x9qd",
    "%F0%9F%92%A5" * 50,
    "a" * 8_000,
    "%27%3B--",
    "%7B%7B7*7%7D%7D",
    "%0d%0aSet-Cookie:%20a=b",
]
ODD_HEADERS = [
    ("Range", "bytes=0-,0-,0-,5-1,-5,99999999999999999999-"),
    ("Range", "bytes=" + ",".join(f"{n}-{n}" for n in range(1_000))),
    ("Range", "lines=1-"),
    ("If-None-Match", '"' * 1_000),
    ("If-None-Match", "W/\xff"),
    ("If-Modified-Since", "yesterday"),
    ("If-Modified-Since", "Sun, 99 Nov 99999 99:99:99 GMT"),
    ("If-Range", "x" * 1_000),
    ("Accept-Encoding", "gzip;q=NaN, br, *;q=-1, \xff"),
    ("Cookie", f'{COOKIE}=\xff\xfe; {COOKIE}=.; ={COOKIE}; "; cyclr_bulk_notice=%00'),
    ("Cookie", f"{COOKIE}=" + "." * 4_000),
    ("Cookie", f"{COOKIE}=bm90aGluZw.AAAA"),
    ("Authorization", "Bearer \xff\xfe"),
    ("Authorization", "Bearer cbk_\xb2_\xb2"),
    ("Authorization", "Bearer"),
    ("Authorization", "Basic Og=="),
    ("Origin", "http://["),
    ("Last-Event-ID", "\xff" * 100),
    ("Accept", "*/*;q=\xff"),
    ("Content-Type", "multipart/form-data; boundary=" + "b" * 2_000),
    ("Content-Type", "\xff/\xff; charset=\xff"),
    ("Expect", "200-maybe"),
    ("Upgrade", "websocket"),
    ("X-Forwarded-For", "\xff, [, :, ::1%25"),
    ("HX-Request", "\xff"),
]
ODD_BODIES: list[tuple[str, bytes]] = [
    ("application/x-www-form-urlencoded", b"%00=%00&=&&==&%ff=%zz&" + b"a=b&" * 500),
    ("application/x-www-form-urlencoded", b"first=" + b"9" * 5_000 + b"&days=" + b"9" * 5_000 + b"&row=1e9"),
    (
        "application/x-www-form-urlencoded",
        b"first=%D9%A3&days=%D9%A3&row=%D9%A3&reason=%00&connector=%00&key=%00",
    ),
    ("application/x-www-form-urlencoded", b"connector=a%00b&as_written=a%00b&then=%0d%0a&key=cbk_%00_%00"),
    ("application/x-www-form-urlencoded", b"key=%F0%9F%92%A5&key=2&then=/&then=//evil.example.com"),
    ("multipart/form-data; boundary=" + "b" * 2_000, b"--x--"),
    (
        "multipart/form-data; boundary=x; charset=idna",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--x--',
    ),
    ("multipart/form-data", b"--x--"),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--"),
    ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 500 + b"\r\n\r\n--x--"),
    ("multipart/form-data; boundary=x", b"--x\r\n" + b"A" * 50_000),
    (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="\x00\xff"\r\n\r\n=1\r\n--x--',
    ),
    ("text/plain", b"\x00\xff"),
    ("application/json", b'{"options": {"connector": "\\ud800"}, "items": [{"\\u0000": "\\ud800"}]}'),
    ("application/json", b'{"expires_in_days": 1' + b"0" * 5_000 + b"}"),
    ("application/json", b"[" * 100_000),
    ("", b"\x00"),
]


@dataclass
class Scene:
    """`cookie`: of somebody who may write; `token`: of their forms."""

    site: Site
    key: str
    cookie: str
    token: str
    job_id: str
    connection: http.client.HTTPConnection

    def values(self) -> dict[str, object]:
        return {"job_id": self.job_id, "row": 2, "row_number": 2, "upload_id": "nowhere", "token": "nothing"}

    def ask(
        self, method: str, target: str, headers: list[tuple[str, str]], body: bytes | None = None
    ) -> tuple[int, bytes]:
        """What is answered. The target is sent as it is."""
        connection = self.connection
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value.encode("latin-1"))
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        try:
            connection.endheaders(body)
            answer = connection.getresponse()
            found = answer.status, answer.read(MOST_BYTES * 20)
        finally:
            connection.close()
        return found

    def who(self, route: Route) -> list[tuple[str, str]]:
        """As whoever may use this route."""
        if (route.guard or "").startswith("page_") or route.guard is None:
            return [("Cookie", f"{COOKIE}={self.cookie}"), *AS_OWN_PAGE.items()]
        return [("Authorization", f"Bearer {self.key}")]


@pytest.fixture(scope="module")
def scene(stores: Stores, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("odd")
    with (
        SimulatorThread(small_world(*ACCOUNTS)) as simulator,
        new_site(stores, redis_url, simulator, folder) as site,
    ):
        key = site.key()
        client = site.client(key)
        items = [{"account_id": each, "connector": MAIL, "api_key": "k"} for each in ACCOUNTS]
        job_id = client.post("/v1/jobs", json={"items": items}).json()["id"]
        client.post(f"/v1/jobs/{job_id}/pause").raise_for_status()
        session = session_of(site, key)
        site.app.state.access.brake.FIRST_S = 0.0
        token = site.app.state.access.form_token(session)
        connection = http.client.HTTPConnection(site.url.removeprefix("http://"), timeout=60)
        yield Scene(site, key, session, token, job_id, connection)


def looked_at(scene: Scene) -> list[Route]:
    """All that answer and end."""
    return [each for each in routes_of(scene.site.app) if each.method == "GET" and "/events" not in each.path]


def check(found: tuple[int, bytes], what: Any) -> None:
    status, body = found
    assert 200 <= status < 500 or status == 503, (what, status, body[:500])
    assert len(body) < MOST_BYTES or b"swagger" in body or b'"openapi"' in body[:50], (what, len(body))
    assert b"Traceback" not in body, what


def test_no_odd_part_of_a_path_is_an_error_of_ours(scene: Scene):
    for route in routes_of(scene.site.app):
        for name in re.findall(r"{(\w+)}", route.path):
            for text in ODD_TEXTS:
                path = route.address(**scene.values() | {name: text or "%20"})
                if "/events" not in path:
                    check(scene.ask(route.method, path, scene.who(route)), (route, text))


def test_no_odd_parameter_is_an_error_of_ours(scene: Scene):
    asked = 0
    for route in looked_at(scene):
        for name in sorted(route.parameters | {"unknown"}):
            for text in ODD_TEXTS if name in route.parameters else ODD_TEXTS[:5]:
                target = f"{route.address(**scene.values())}?{name}={text}&{name}={text}"
                check(scene.ask("GET", target, scene.who(route)), (route, name, text))
                asked += 1
    assert asked > 500


def test_no_odd_header_is_an_error_of_ours(scene: Scene):
    for route in looked_at(scene):
        path = f"{route.address(**scene.values())}"
        for header in ODD_HEADERS:
            given = [each for each in scene.who(route) if each[0] != header[0]]
            check(scene.ask("GET", path, [*given, header]), (route, header))


def test_odd_ranges_and_dates_of_a_file_are_answered(scene: Scene):
    for header in ODD_HEADERS:
        for path in (
            "/static/app.css",
            "/static/",
            "/static/%00",
            "/static/..%2f..%2fapp.py",
            "/static/" + "a" * 5_000,
        ):
            check(scene.ask("GET", path, [header]), (path, header))


def test_no_odd_body_is_an_error_of_ours(scene: Scene):
    for route in routes_of(scene.site.app):
        if route.method == "GET":
            continue
        path = route.address(**scene.values())
        for kind, body in ODD_BODIES:
            for with_token in (True, False):
                headers = [*scene.who(route), ("Content-Type", kind)]
                if with_token:
                    headers.append(("X-Form-Token", scene.token))
                check(scene.ask(route.method, path, headers, body), (route, kind, body[:100]))


def test_a_form_of_ours_with_odd_values_is_answered(scene: Scene):
    texts = ["\0", "a\0b", "9" * 5_000, "-1", "\u0663", "1e9", "\u202e", "x" * 9_000, "=1+1", "\n"]
    for route in routes_of(scene.site.app):
        if route.method == "GET" or not (route.guard or "").startswith("page_"):
            continue
        path = route.address(**scene.values())
        for text in texts:
            for name in sorted(route.parameters | {"unknown"}):
                body = urlencode([(FORM_TOKEN, scene.token), (name, text)], quote_via=quote).encode()
                headers = [*scene.who(route), ("Content-Type", "application/x-www-form-urlencoded")]
                check(scene.ask(route.method, path, headers, body), (route, name, text[:20]))
