"""Which kind of Redis is taken when a process of a deployment starts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from tests.servers import ValkeyServer, valkey_server
from worker.bootstrap.starting import UnusableRedis, require_usable_redis


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as running:
        yield running


def test_a_node_of_a_cluster_is_refused_in_words() -> None:
    with valkey_server("--cluster-enabled", "yes") as node, pytest.raises(UnusableRedis) as caught:
        require_usable_redis(node.url)
    assert str(caught.value) == (
        "REDIS_URL: a node of a Redis Cluster answers there: name one Redis or Valkey that is neither, or an address that"
        " leads to the one that may be written to"
    )


def test_a_sentinel_is_refused_in_words() -> None:
    with valkey_server("--sentinel") as sentinel, pytest.raises(UnusableRedis) as caught:
        require_usable_redis(sentinel.url)
    assert str(caught.value).startswith("REDIS_URL: a Redis Sentinel answers there: name one Redis or Valkey")


@pytest.mark.parametrize(
    ("policy", "is_doubted"), [("noeviction", False), ("allkeys-lru", True), ("volatile-lru", False)]
)
def test_a_redis_that_may_drop_our_keys_is_doubted(
    server: ValkeyServer, policy: str, is_doubted: bool
) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", policy)
    with capture_logs() as logs:
        require_usable_redis(server.url)
    assert [(entry["event"], entry["policy"]) for entry in logs] == [("redis_may_evict", policy)] * is_doubted


def test_a_user_who_may_ask_nothing_is_taken(server: ValkeyServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "bulk", "on", ">pw", "-@all")
    with capture_logs() as logs:
        require_usable_redis(server.url.replace("unix://", "unix://bulk:pw@"))
    assert logs == []


def test_a_redis_that_is_away_may_do(tmp_path: Path) -> None:
    with capture_logs() as logs:
        require_usable_redis(f"unix://{tmp_path}/none.sock")
    assert logs == []
