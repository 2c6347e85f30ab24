"""Nobody makes the server read more than it is ready for, with a key or without."""

import http.client
from collections.abc import Iterator

import httpx
import pytest

from tests.integration.web.routes import routes_of
from tests.integration.web.site import Site
from tests.plain_http import AS_OWN_PAGE
from worker.web.middleware import MOST_BODY_BYTES, STREAMED


def endless(size: int) -> Iterator[bytes]:
    for _ in range(0, size, 50_000):
        yield b"x" * 50_000


def addresses(site: Site) -> list[str]:
    values = {
        "job_id": "261121-k3x9qd",
        "row": 2,
        "row_number": 2,
        "upload_id": "nowhere",
        "token": "nothing",
    }
    return [
        route.address(**values)
        for route in routes_of(site.app)
        if route.method == "POST" and route.path not in STREAMED
    ]


def test_a_large_body_is_refused_unread_at_every_address(site: Site):
    asked = addresses(site)
    assert len(asked) > 15
    for address in asked:
        connection = http.client.HTTPConnection(site.url.removeprefix("http://"), timeout=60)
        connection.putrequest("POST", address)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(MOST_BODY_BYTES + 1))
        connection.endheaders()
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status == 413, address
        assert answer.headers["content-security-policy"], address


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_a_body_that_does_not_say_how_long_it_is_is_read_only_so_far(site: Site, kind: str):
    client = site.client(site.key())
    address = "/v1/jobs/261121-k3x9qd/resume" if kind.endswith("json") else "/sign-in"
    try:
        headers = {"Content-Type": kind, **AS_OWN_PAGE}
        answer = client.post(address, content=endless(5 * MOST_BODY_BYTES), headers=headers)
    except (httpx.WriteError, httpx.RemoteProtocolError):
        return  # the server hung up while we were still sending
    assert answer.status_code == 413


def test_a_body_of_the_usual_size_is_read(site: Site):
    client = site.client(site.key())
    answer = client.post("/v1/jobs/261121-k3x9qd/resume", json={"first": 1})
    assert answer.status_code == 404
