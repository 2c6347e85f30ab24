"""A process that calls whenever the limiter lets it: `python -m tests.integration.limiter_caller URL SECONDS RATE BURST`.

It writes the time of each start, on the clock that all processes of the machine share, or why there was none.
"""

import asyncio
import sys
import time

from tests.limits import KeptGate
from worker.clock import Clock
from worker.cyclr.errors import NotStarted
from worker.cyclr.limiter_redis import RedisLimiter
from worker.cyclr.limiter_rule import Limit
from worker.telemetry import configure_logging


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def call(url: str, seconds: float, rate: float, burst: int) -> None:
    limiter = RedisLimiter(url, "shared", limit=Limit(rate, burst), gates=KeptGate(), clock=Clock())
    until = time.monotonic() + seconds
    await limiter.state()
    write("ready")
    while time.monotonic() < until:
        reservation = await limiter.reserve(100, within_s=0.5)
        for slot in reservation.slots:
            try:
                await slot.ready()
                write(str(time.monotonic()))
            except NotStarted as error:
                write(type(error).__name__)
        if not reservation.slots:
            await asyncio.sleep(reservation.retry_in_s)
    await limiter.aclose()


if __name__ == "__main__":
    url, seconds, rate, burst = sys.argv[1:]
    configure_logging()
    asyncio.run(call(url, float(seconds), float(rate), int(burst)))
