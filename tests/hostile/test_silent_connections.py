"""Connections that say nothing, say it slowly, or do not listen: they end, and others are served meanwhile."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

from tests.browser.served import Served
from tests.end_to_end.processes.commands import eventually
from tests.hostile.raw_client import RawClient
from tests.plain_http import http_client
from tests.served.home import client_of
from worker.settings import CyclrSettings
from worker.web.serving import FILES_OF_OUR_OWN, MOST_CONNECTIONS, Deadlines, WebServer, connections_allowed

pytestmark = pytest.mark.slow

HEAD = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
SOON_S = 10.0  # generous: a machine may be busy with other things


def is_well(served: Served) -> None:
    """A health check, and a right request with a key, are answered soon."""
    began = time.monotonic()
    with http_client(base_url=served.url, timeout=SOON_S) as anybody:
        assert anybody.get("/healthz").json() == {"status": "ok"}
    with client_of(served) as owner:
        assert owner.get("/v1/jobs", timeout=SOON_S).status_code == 200
    assert time.monotonic() - began < 2 * SOON_S


def test_four_hundred_silent_connections_shut_nobody_out(served: Served):
    with ExitStack() as stack:
        silent = [stack.enter_context(RawClient(served.url)) for _ in range(400)]
        is_well(served)
        # Those in front have given way to those behind them.
        eventually(lambda: silent[0].read_some() is None, "the first was hung up on")
        for each in silent:
            each.send("GET /")
        is_well(served)
    assert "Too many open files" not in served.command.err


def test_four_hundred_begun_uploads_shut_nobody_out(served: Served):
    with ExitStack() as stack:
        for number in range(400):
            each = stack.enter_context(RawClient(served.url))
            each.send(
                f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nX: {number}\r\n\r\nhalf"
            )
        is_well(served)


def test_a_head_must_come_within_ten_seconds(served: Served):
    with RawClient(served.url) as silent, RawClient(served.url) as dripping:
        sent = 0
        while dripping.send(HEAD[sent]) and dripping.read_some(0.5) == b"":
            sent += 1
            assert time.monotonic() - dripping.began < 40, "it may drip for ever"
        assert 9 < time.monotonic() - dripping.began < 25
        assert silent.read_to_end() == b""
        is_well(served)


# With less patience, so that nobody waits a minute for a test


@contextmanager
def server(patience: Deadlines, most: int = MOST_CONNECTIONS) -> Iterator[str]:
    app = FastAPI()
    app.state.proxies = CyclrSettings().proxies

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    @app.get("/large")
    async def large() -> Response:
        async def pieces():
            for _ in range(1_000):
                yield b"x" * 100_000
                await asyncio.sleep(0)

        return StreamingResponse(pieces())

    @app.post("/body")
    async def body(request: Request) -> int:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
        return received

    @app.post("/refused")
    async def refused() -> Response:
        return Response("no", status_code=401)

    opened = WebServer(app, "127.0.0.1", 0, patience)
    opened.door.most = most
    with opened:
        yield f"http://127.0.0.1:{opened.port}"


PATIENCE = Deadlines(
    head_s=1,
    idle_s=1,
    body_window_s=1,
    body_window_bytes=2_000,
    answered_body_s=1,
    unread_s=1,
    closing_s=1,
    check_every_s=0.1,
)


@pytest.fixture(scope="module")
def impatient() -> Iterator[str]:
    with server(PATIENCE) as url:
        yield url


def post(path: str, length: int) -> str:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"


def test_who_stops_in_a_head_is_told_and_hung_up_on(impatient: str):
    with RawClient(impatient) as client:
        client.send(HEAD)
        assert client.read_to_end().endswith(b"The request's head did not come in time.\n")


def test_a_second_request_may_not_drip_either(impatient: str):
    with RawClient(impatient) as client:
        client.send(f"{HEAD}\r\n")
        assert client.read_answer().startswith(b"HTTP/1.1 200 ")
        while client.send("G") and client.read_some(0.2) == b"":
            assert time.monotonic() - client.began < 20, "it may drip for ever"


def test_half_a_body_is_not_waited_for(impatient: str):
    with RawClient(impatient) as client:
        client.send(post("/body", 1_000) + "half")
        answer = client.read_to_end()
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert answer.endswith(b"The request's body came too slowly.\n")


def test_a_body_that_drips_is_not_waited_for(impatient: str):
    with RawClient(impatient) as client:
        client.send(post("/body", 1_000_000))
        while client.send("x") and client.read_some(0.1) == b"":
            assert time.monotonic() - client.began < 20, "it may drip for ever"


def test_a_body_that_comes_slowly_and_steadily_is_taken(impatient: str):
    """Four windows long, at twice the least pace."""
    with RawClient(impatient) as client:
        client.send(post("/body", 16_000))
        for _ in range(39):
            assert client.send(b"x" * 400)
            assert client.read_some(0.1) == b""
        client.send(b"x" * 400)
        assert client.read_answer().endswith(b"16000")


def test_what_is_sent_behind_the_answer_is_not_waited_for(impatient: str):
    with RawClient(impatient) as client:
        client.send(post("/refused", 1_000_000))
        assert client.read_answer().startswith(b"HTTP/1.1 401 ")
        while client.send(b"x" * 5_000) and client.read_some(0.1) is not None:
            assert time.monotonic() - client.began < 20, "it may go on for ever"


def test_an_answer_that_nobody_reads_is_ended(impatient: str):
    with RawClient(impatient, receives=4_096) as client:
        client.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")

        def is_ended() -> bool:
            # What is still sent to a connection that was ended is answered with a reset.
            return not client.send("x")

        eventually(is_ended, "the connection was ended", within_s=20, every_s=0.1)


def test_who_is_between_two_requests_gives_way_before_who_uploads():
    with server(Deadlines(check_every_s=60), most=40) as url, ExitStack() as stack:
        upload = stack.enter_context(RawClient(url))
        upload.send(post("/body", 20).replace("Host", "Expect: 100-continue\r\nHost"))
        assert upload.read_answer() == b"HTTP/1.1 100 Continue\r\n\r\n"  # its body is waited for
        upload.send("x" * 10)
        for _ in range(60):
            stack.enter_context(RawClient(url))
        late = stack.enter_context(RawClient(url))
        late.send(f"{HEAD}\r\n")
        assert late.read_answer().startswith(b"HTTP/1.1 200 ")
        upload.send("x" * 10)
        assert upload.read_answer().endswith(b"20")


def test_there_are_never_more_connections_than_descriptors(monkeypatch: pytest.MonkeyPatch):
    for files, allowed in ((1_024, 824), (256, 56), (100, 20), (1_000_000, MOST_CONNECTIONS)):
        monkeypatch.setattr("resource.getrlimit", lambda _, files=files: (files, files))
        assert connections_allowed() == allowed
    assert FILES_OF_OUR_OWN == 200
