"""The client of Cyclr, and the limiter that it calls under."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.clock import Clock
from worker.cyclr.client import CyclrClient
from worker.cyclr.exchange import Credentials
from worker.cyclr.limiter import InProcessLimiter, Limiter
from worker.cyclr.limiter_redis import RedisLimiter
from worker.cyclr.limiter_rule import Limit, Rule
from worker.cyclr.transport import open_http
from worker.settings import CyclrSettings
from worker.store.instances import DatabaseGate, ensure_instance
from worker.store.session import Engine

PROBE_MARGIN_S = 5.0


@asynccontextmanager
async def open_cyclr(
    settings: CyclrSettings, engine: Engine, *, clock: Clock, broker: str | Rule, is_idle: bool = False
) -> AsyncIterator[tuple[CyclrClient, Limiter]]:
    """The client and its limiter, for the running loop.

    `broker`: the URL of the Redis where the limit is kept; where there is none, the one rule of this process.
    `is_idle`: the caller knows that no other process has a call reserved.
    """
    settings.require_cyclr()
    assert settings.cyclr_api_url is not None
    assert settings.cyclr_client_id is not None
    assert settings.cyclr_client_secret is not None
    ensure_instance(engine, settings.instance_id, settings.api_host)
    limiter = make_limiter(settings, engine, clock=clock, broker=broker)
    if is_idle:
        await limiter.declare_idle()
    http = open_http(settings.cyclr_api_url, max_connections=settings.cyclr_concurrency + 10)
    credentials = Credentials(settings.cyclr_client_id, settings.cyclr_client_secret.get_secret_value())
    client = CyclrClient(
        http,
        settings.cyclr_api_url,
        credentials,
        timeout_s=settings.cyclr_timeout_s,
        clock=clock,
        limiter=limiter,
    )
    try:
        yield client, limiter
    finally:
        await client.aclose()
        await limiter.aclose()


def make_limiter(
    settings: CyclrSettings,
    engine: Engine,
    *,
    clock: Clock,
    broker: str | Rule,
    instance_id: str | None = None,
) -> Limiter:
    """`instance_id`: None for the one of the settings."""
    instance_id = instance_id or settings.instance_id
    gates = DatabaseGate(engine, instance_id)
    probe_s = settings.cyclr_timeout_s + PROBE_MARGIN_S
    if isinstance(broker, Rule):
        return InProcessLimiter(
            broker,
            limit=limit_of(settings),
            gates=gates,
            probe_s=probe_s,
            clock=clock,
        )
    return RedisLimiter(
        broker,
        instance_id,
        limit=limit_of(settings),
        gates=gates,
        probe_s=probe_s,
        clock=clock,
    )


def limit_of(settings: CyclrSettings) -> Limit:
    """The limit that these settings ask for, and which of it somebody has set."""
    is_rate_set = "cyclr_calls_per_second" in settings.model_fields_set
    return Limit(
        settings.cyclr_calls_per_second,
        settings.cyclr_burst,
        is_rate_set=is_rate_set,
        # Whoever set a rate has it with the burst that goes with it here, or another one's burst would break its limit.
        is_burst_set=is_rate_set or "cyclr_burst" in settings.model_fields_set,
    )
