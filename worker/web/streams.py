"""How many streams of events one caller may have open: each holds a connection for as long as a job runs."""

from collections import Counter
from collections.abc import AsyncIterator

from fastapi import Request

from worker.web.guards import Reader
from worker.web.http_errors import HttpError

MOST_STREAMS = 50  # of one API key, with the sessions that were begun with it


async def one_of_few(request: Request, caller: Reader) -> AsyncIterator[None]:
    """A route's dependency, which lasts until its answer has ended. Raises: HttpError (429)."""
    counts: Counter[str] = request.app.state.streams
    if counts[caller.key_id] >= MOST_STREAMS:
        detail = f"This API key follows {MOST_STREAMS} jobs at once already: end one of these streams first."
        raise HttpError(429, "too_many_streams", detail, headers={"Retry-After": "30"})
    counts[caller.key_id] += 1
    try:
        yield
    finally:
        counts[caller.key_id] -= 1
        if not counts[caller.key_id]:
            del counts[caller.key_id]
