"""Where one request ends and the next begins: nobody may see two different ends."""

import pytest

from tests.browser.served import Served
from tests.hostile.raw_client import RawClient

NEXT = "GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("path", ["/v1/jobs", "/jobs/new", "/sign-in", "/v1/jobs/x/pause", "/nowhere"])
@pytest.mark.parametrize(
    ("version", "lengths"),
    [
        ("1.1", "Content-Length: 4\r\nTransfer-Encoding: chunked"),
        ("1.1", "Transfer-Encoding: chunked\r\nContent-Length: 400"),
        ("1.0", "Transfer-Encoding: chunked\r\nConnection: keep-alive"),
    ],
)
def test_a_body_with_two_ends_is_refused_and_nothing_behind_it_is_read(
    served: Served, path: str, version: str, lengths: str
):
    with RawClient(served.url) as client:
        client.send(
            f"POST {path} HTTP/{version}\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n{lengths}\r\n\r\n0\r\n\r\n{NEXT}"
        )
        answer = client.read_to_end().decode()
    assert answer.startswith("HTTP/1.1 400 "), answer
    assert "Expected one way to tell where the body ends" in answer
    assert answer.count("HTTP/1.1 ") == 1, answer


def test_what_cannot_be_read_behind_an_answer_is_no_error_of_ours(served: Served):
    with RawClient(served.url) as client:
        client.send(
            "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        )
        assert client.read_answer().startswith(b"HTTP/1.1 401 ")
        client.send("no length\r\n")
        client.read_to_end()
    assert "Traceback" not in served.command.err
    assert "Fatal error" not in served.command.err
