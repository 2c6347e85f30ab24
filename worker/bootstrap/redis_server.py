"""What kind of Redis answers at REDIS_URL: asked once, when a process of a deployment starts."""

from contextlib import suppress
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from worker.domain.failures import ToldFailure
from worker.redis_url import parse_redis_url
from worker.telemetry import get_logger

ONE_SERVER = (
    "name one Redis or Valkey that is neither, or an address that leads to the one that may be written to"
)
MODES = {"cluster": "a node of a Redis Cluster", "sentinel": "a Redis Sentinel"}

log = get_logger()


class UnusableRedis(ToldFailure):
    """The server is of a kind that holds neither tickets nor a limit for all."""

    def __init__(self, mode: str) -> None:
        super().__init__(f"REDIS_URL: {MODES[mode]} answers there: {ONE_SERVER}")


def require_usable_redis(redis_url: str, *, says_doubts: bool = True) -> None:
    """One that is away, or that does not say what it is, may do. `says_doubts`: what is doubtful about it is logged. Raises: UnusableRedis."""
    url = parse_redis_url(redis_url).for_redis_py()
    with (
        suppress(RedisError, OSError),
        Redis.from_url(url, socket_timeout=5, socket_connect_timeout=3) as redis,
    ):
        # Every user may ask this, whatever else it may not.
        mode = _text(_fields(redis.execute_command("HELLO")).get("mode"))
        if mode in MODES:
            raise UnusableRedis(mode)
        if not says_doubts:
            return
        memory: Any = redis.info("memory")
        if str(memory.get("maxmemory_policy", "")).startswith("allkeys"):
            log.warning(
                "redis_may_evict",
                policy=memory["maxmemory_policy"],
                doubt="a Redis that is full may drop tickets and the limit, so that nobody calls for seconds; use noeviction",
            )


def _fields(answer: Any) -> dict[str, Any]:
    """A map, which a connection of the older protocol gets as a list."""
    pairs = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
    return {_text(name): value for name, value in pairs.items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
