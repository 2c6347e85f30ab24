"""The limiter that the processes of an instance share, in Redis: the rule is a script there, `limiter.lua`."""

import asyncio
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from worker.clock import Clock
from worker.cyclr import limiter_rule
from worker.cyclr.errors import LimiterAway
from worker.cyclr.limiter import GateStore, Limiter
from worker.cyclr.limiter_rule import Limit, Reply
from worker.cyclr.slots import Sleep
from worker.domain.server_faults import Server, ServerFault
from worker.redis_faults import redis_fault, redis_server_fault
from worker.redis_url import parse_redis_url
from worker.telemetry import ALARMS

ASKING = "asking the limiter"
KEPT_S = 3700  # longer than any gate
REDIS_TIME = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n"
_CONSTANTS = (
    "SECOND",
    "HORIZON",
    "LATENESS",
    "SLOW_DOWN",
    "FLOOR_PER_SECOND",
    "GROWTH_PER_S",
    "FIRST_PAUSE",
    "FIRST_OUTAGE",
    "LONGEST_PAUSE",
    "LONGEST_GATE",
    "PROBE_QUESTION",
    "REMEMBERED",
)


class RedisLimiter(Limiter):
    """The limiter that all processes of an instance share.

    `limit`: what this process was set to; in force is the lowest of all that call. `url`: as REDIS_URL may say it. `probe_s`: how long the one call
    that probes after an outage may take before another may. To be closed by the loop that used it; not for use
    after a fork.
    """

    def __init__(
        self,
        url: str,
        instance_id: str,
        *,
        limit: Limit,
        gates: GateStore,
        probe_s: float = 35.0,
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        super().__init__(
            limit=limit,
            gates=gates,
            probe_s=probe_s,
            clock=clock,
            sleep=sleep,
        )
        self._key = f"cyclr-bulk:{instance_id}:limiter"
        self._outage_key = f"cyclr-bulk:{instance_id}:outage"
        self._redis = Redis.from_url(
            parse_redis_url(url).for_redis_py(),
            socket_timeout=5,
            socket_connect_timeout=3,
            retry=Retry(NoBackoff(), 0),
        )
        self._script = self._redis.register_script(limiter_script())

    async def aclose(self) -> None:
        await super().aclose()
        await self._redis.aclose()

    async def ask_rule(self, question: str, *given: float) -> Reply:
        try:
            answer = await self._script(
                keys=[self._key], args=[question, *written_limit(self._limit), *given]
            )
        except (RedisError, OSError) as error:
            raise _away(error) from error
        ALARMS.went_well(Server.REDIS, ASKING)
        return read_reply(answer)

    async def keep_outage(self, fault: ServerFault) -> None:
        try:
            await self._redis.set(self._outage_key, f"{fault.kind}\n{fault.said}", ex=KEPT_S)
        except (RedisError, OSError) as error:
            raise _away(error) from error

    async def find_outage(self) -> ServerFault | None:
        try:
            kept = await self._redis.get(self._outage_key)
        except (RedisError, OSError):
            return None  # the rule was answered a moment ago: that is what counts
        if kept is None:
            return None
        text = kept if isinstance(kept, str) else kept.decode(errors="replace")
        kind, _, said = text.partition("\n")
        return ServerFault(Server.CYCLR, kind, said)


def _away(error: Exception) -> LimiterAway:
    ALARMS.failed(redis_server_fault(error), ASKING)
    return LimiterAway(redis_fault(error))


def limiter_script(now: str = REDIS_TIME) -> str:
    """The whole script for Redis. `now`: Lua that gives `now` in microseconds."""
    constants = "".join(f"local {name} = {getattr(limiter_rule, name)!r}\n" for name in _CONSTANTS)
    return now + constants + Path(__file__).with_name("limiter.lua").read_text(encoding="utf-8")


def written_limit(limit: Limit) -> list[str]:
    """The limit as the script is given it: the same limit is written in one way only."""
    return [repr(limit.per_second), *(str(int(each)) for each in limit[1:])]


def read_reply(answer: Any) -> Reply:
    """What the script answers, as the rule says it."""
    *numbers, is_fresh, rate_per_second, configured_per_second = answer
    return Reply._make(
        [*map(int, numbers), bool(is_fresh), float(rate_per_second), float(configured_per_second)]
    )
