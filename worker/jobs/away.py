"""Why nobody calls Cyclr just now, where it is a server of ours that is at fault."""

from typing import TYPE_CHECKING

from worker.cyclr.errors import LimiterAway
from worker.domain.pace import LimiterState
from worker.domain.server_faults import Server, ServerFault
from worker.redis_faults import kind_of, redis_server_fault
from worker.store.faults import database_fault

if TYPE_CHECKING:
    from worker.cyclr.limiter import Limiter


async def ask_limiter(limiter: "Limiter") -> LimiterState | ServerFault:
    """How the limiter stands, or why nobody may call."""
    try:
        return await limiter.state()
    except LimiterAway as away:
        return why_nobody_calls(away)


def why_nobody_calls(away: LimiterAway) -> ServerFault:
    """What ails Redis, or the database: without the gate that it keeps nobody may call."""
    cause = away.__cause__
    if cause is None:
        return ServerFault(Server.REDIS, kind_of(away.fault or "timeout"))
    return database_fault(cause) or redis_server_fault(cause)
