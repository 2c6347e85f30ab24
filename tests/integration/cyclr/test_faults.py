"""What ails Cyclr, as its client and the limiter that all share tell it."""

import asyncio
import json
from pathlib import Path

import pytest
from redis import Redis
from structlog.testing import capture_logs

from tests.servers import ValkeyServer, valkey_server
from worker.clock import Clock
from worker.cyclr.errors import LimiterAway
from worker.cyclr.limiter_redis import RedisLimiter
from worker.cyclr.limiter_rule import Limit
from worker.domain.server_faults import Server, ServerFault
from worker.jobs.views import why_nobody_calls
from worker.telemetry import ALARMS, configure_logging

TLS = ServerFault(Server.CYCLR, "certificate_verify_failed", "the certificate has expired")


def limiter(server: ValkeyServer) -> RedisLimiter:
    return RedisLimiter(server.url, "instance-a", limit=Limit(100, 10), gates=None, clock=Clock())


def test_what_ails_cyclr_in_an_outage_is_known_to_all_who_share_the_limit() -> None:
    async def work(server: ValkeyServer) -> ServerFault | None:
        first, second = limiter(server), limiter(server)
        try:
            await first.declare_idle()
            assert (await second.state()).outage is None
            ALARMS.failed(TLS, "calling Cyclr")
            for number in range(10):
                await first.note_failure(f"account-{number}", Clock().moment())
            ALARMS.forget()  # another process has met nothing itself
            return (await second.state()).outage
        finally:
            await first.aclose()
            await second.aclose()

    with valkey_server() as server:
        assert asyncio.run(work(server)) == TLS


def test_a_limiter_that_redis_refuses_says_why_and_when_it_is_over() -> None:
    async def work(server: ValkeyServer) -> ServerFault:
        shared = limiter(server)
        try:
            with Redis.from_url(server.url) as redis:
                redis.replicaof("127.0.0.1", "1")  # type: ignore[no-untyped-call]
                for _ in range(3):
                    with pytest.raises(LimiterAway) as caught:
                        await shared.reserve(1)
                redis.replicaof("NO", "ONE")  # type: ignore[no-untyped-call]
            await shared.reserve(1)
            return why_nobody_calls(caught.value)
        finally:
            await shared.aclose()

    with valkey_server() as server, capture_logs() as logs:
        fault = asyncio.run(work(server))
    assert str(fault) == "Redis answers READONLY: You can't write against a read only replica"
    assert [(line["event"], line["class"]) for line in logs] == [
        ("redis_away", "READONLY"),
        ("redis_back", "READONLY"),
    ]


def test_a_log_line_of_a_fault_is_json(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w", encoding="utf-8") as stream:
        configure_logging(stream)
        ALARMS.failed(TLS, "calling Cyclr")
    configure_logging()
    [line] = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["class"] == "certificate_verify_failed"
