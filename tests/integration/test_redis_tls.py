"""TLS to Redis: whose certificate is not right is told nothing, by the broker's library and by the limiter's."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.certificates import Authority, Signed, server_context
from tests.redis_proxy import RedisProxy, redis_proxy
from tests.servers import valkey
from worker.clock import Clock
from worker.cyclr.errors import LimiterAway
from worker.cyclr.limiter_redis import RedisLimiter
from worker.cyclr.limiter_rule import Limit
from worker.domain.server_faults import Server
from worker.telemetry import ALARMS
from worker.tickets import Doorbell, count_tickets

LIMIT = Limit(10, 10, is_rate_set=True, is_burst_set=True)


class NoGate:
    def load_gate(self) -> None:
        return None

    def save_gate(self, until: object) -> None:
        raise AssertionError("nobody closed it")


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    with valkey() as url:
        yield url


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def ask_limiter(url: str) -> float:
    """The rate that it tells. Raises: LimiterAway."""

    async def ask() -> float:
        limiter = RedisLimiter(url, "instance", limit=LIMIT, gates=NoGate(), clock=Clock())
        try:
            return (await limiter.state()).rate_per_second
        finally:
            await limiter.aclose()

    return asyncio.run(ask())


def assert_refused(proxy: RedisProxy, url: str, fault: str) -> None:
    with capture_logs() as logs:
        with pytest.raises(LimiterAway) as caught:
            ask_limiter(url)
        assert Doorbell(url).ring() is False
    assert caught.value.fault == fault
    [line] = logs  # of both
    assert (line["event"], line["class"]) == ("redis_away", "certificate_verify_failed")
    assert fault.removeprefix("certificate verify failed: ") in line["said"]
    assert ALARMS.counts()[Server.REDIS, "certificate_verify_failed"] >= 2
    assert count_tickets(url) is None
    # They were there, and were told nothing.
    assert proxy.taken >= 3
    assert (proxy.received, proxy.commands) == (0, {})


def test_both_libraries_speak_to_a_server_of_our_own_authority(redis: str, authority: Authority) -> None:
    signed = authority.sign("redis", "localhost", "127.0.0.1")
    with redis_proxy(redis, server_context(signed)) as proxy:
        for host in ("localhost", "127.0.0.1"):
            url = f"rediss://{host}:{proxy.port}/0?ssl_ca_certs={authority.file}"
            assert ask_limiter(url) == 10
            Doorbell(url).ring()
            assert count_tickets(url) == 1
        assert proxy.commands["LPUSH"] == 1
        assert proxy.commands["EVALSHA"] >= 2


def test_the_authority_may_be_named_as_for_all_other_connections(
    redis: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = authority.sign("redis", "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with redis_proxy(redis, server_context(signed)) as proxy:
        url = f"rediss://localhost:{proxy.port}/0"
        assert ask_limiter(url) == 10
        assert count_tickets(url) is not None


def wrong_certificate(folder: Path, authority: Authority, kind: str) -> Signed:
    match kind:
        case "of another authority":
            return Authority(folder, "another").sign("redis", "localhost")
        case "of another host":
            return authority.sign("redis", "redis.example")
        case "without a host":
            return authority.sign("redis")
        case _:
            return authority.sign("redis", "localhost", is_expired=True)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("of another authority", "unable to get local issuer certificate"),
        ("of another host", "Hostname mismatch, certificate is not valid for 'localhost'."),
        ("without a host", "Hostname mismatch, certificate is not valid for 'localhost'."),
        ("expired", "certificate has expired"),
    ],
)
def test_a_server_with_a_wrong_certificate_is_told_nothing(
    redis: str, authority: Authority, tmp_path: Path, kind: str, why: str
) -> None:
    with redis_proxy(redis, server_context(wrong_certificate(tmp_path, authority, kind))) as proxy:
        url = f"rediss://bulk:hunter2@localhost:{proxy.port}/0?ssl_ca_certs={authority.file}"
        assert_refused(proxy, url, f"certificate verify failed: {why}")


def test_without_an_authority_of_our_own_those_of_the_machine_are_asked(
    redis: str, authority: Authority
) -> None:
    signed = authority.sign("redis", "localhost")
    with redis_proxy(redis, server_context(signed)) as proxy:
        url = f"rediss://bulk:hunter2@localhost:{proxy.port}/0"
        assert_refused(proxy, url, "certificate verify failed: unable to get local issuer certificate")


def test_a_server_without_tls_is_told_nothing(redis: str) -> None:
    with redis_proxy(redis) as proxy:
        url = f"rediss://bulk:hunter2@localhost:{proxy.port}/0"
        with pytest.raises(LimiterAway):
            ask_limiter(url)
        assert Doorbell(url).ring() is False
        assert (proxy.received, proxy.commands) == (0, {})


def test_a_server_that_asks_for_a_certificate_of_ours_gets_it(redis: str, authority: Authority) -> None:
    signed, client = authority.sign("redis", "localhost"), authority.sign("client")
    with redis_proxy(redis, server_context(signed, clients_of=authority.file)) as proxy:
        url = f"rediss://localhost:{proxy.port}/0?ssl_ca_certs={authority.file}"
        with pytest.raises(LimiterAway):
            ask_limiter(url)
        assert count_tickets(url) is None
        url += f"&ssl_certfile={client.certificate}&ssl_keyfile={client.key}"
        assert ask_limiter(url) == 10
        assert count_tickets(url) is not None
        assert Doorbell(url).ring() in (True, False)
