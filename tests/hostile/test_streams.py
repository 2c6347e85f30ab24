"""Streams of events: each holds a connection, so one caller has so many and no more."""

from contextlib import ExitStack

from tests.browser.served import Served
from tests.end_to_end.processes.commands import eventually
from tests.hostile.raw_client import RawClient
from tests.hostile.visits import paused_job
from tests.served.home import client_of


def test_a_key_follows_fifty_jobs_at_once_and_no_more(served: Served):
    job_id = paused_job(served, "followed")
    lines = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
    with ExitStack() as stack, client_of(served) as owner:

        def follow(key: str) -> RawClient:
            client = stack.enter_context(RawClient(served.url))
            client.send(f"{lines}{key}\r\n\r\n")
            return client

        streams = [follow(served.read_key) for _ in range(50)]
        for each in streams:
            assert each.read_answer().startswith(b"HTTP/1.1 200 ")
        refused = follow(served.read_key).read_answer()
        assert refused.startswith(b"HTTP/1.1 429 ")
        assert b"This API key follows 50 jobs at once already" in refused
        # Nobody else is shut out.
        assert follow(served.write_key).read_answer().startswith(b"HTTP/1.1 200 ")
        assert owner.get("/v1/jobs").status_code == 200
        streams[0].close()
        eventually(
            lambda: follow(served.read_key).read_answer().startswith(b"HTTP/1.1 200 "),
            "a stream that has ended makes room for another",
            every_s=0.2,
        )
