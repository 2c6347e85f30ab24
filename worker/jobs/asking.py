"""Who has authorised? Cyclr is asked in small steps, so that installs keep most of the limit."""

import asyncio
from enum import Enum, auto

from worker.cyclr.client import CyclrClient, Patience, read_patiently
from worker.cyclr.errors import CyclrError, NotFound, OutcomeUnknown, Refused
from worker.cyclr.exchange import Permit
from worker.cyclr.limiter import Limiter
from worker.domain.connectors import AccountConnector
from worker.jobs.authorising import OpenCyclr
from worker.store.asking import (
    ToAsk,
    ask_again,
    ask_no_more,
    is_anything_to_ask,
    put_back,
    take_after_clicks,
    take_of_round,
)
from worker.store.links import note_authorised
from worker.store.session import Engine
from worker.telemetry import get_logger

STEP_S = 2.0
SHARE = 0.25  # of the limit, at most
MOST_AT_ONCE = 100
STEP_WITHIN_S = 60.0
# The next step tries again anyway.
PATIENCE = Patience(pauses_s=(), throttled_tries=0, away_tries=0)

log = get_logger()


class HasAuthorised(Enum):
    YES = auto()
    NOT_YET = auto()
    GONE = auto()  # Cyclr has no such account connector, or no such account


class Asking:
    """Asks for one instance. Several processes may do so at once: each takes its own from the database."""

    def __init__(self, engine: Engine, instance_id: str) -> None:
        self._engine = engine
        self._instance_id = instance_id

    async def step(self, open_cyclr: OpenCyclr) -> int:
        """Ask about a few; how many. Those whose customers have clicked go first, then the rounds that people asked for.

        Where Cyclr cannot be asked nothing is lost: what was taken is due again.
        """
        if not await asyncio.to_thread(is_anything_to_ask, self._engine):
            return 0
        client, limiter = await open_cyclr()
        try:
            async with asyncio.timeout(STEP_WITHIN_S):
                per_second = (await limiter.state()).pace.per_second
                most = max(1, min(MOST_AT_ONCE, int(per_second * SHARE * STEP_S)))
                asked = await self._after_clicks(client, limiter, most)
                return asked + await self._of_round(client, limiter, most - asked)
        except (CyclrError, TimeoutError) as error:
            log.warning("asking_failed", reason=str(error) or "no answer in time")
            return 0

    async def _after_clicks(self, client: CyclrClient, limiter: Limiter, most: int) -> int:
        taken = await asyncio.to_thread(take_after_clicks, self._engine, self._instance_id, most)
        for item in taken:
            match await _ask(item, client, limiter):
                case HasAuthorised.YES:
                    await asyncio.to_thread(note_authorised, self._engine, item.item_id)
                case HasAuthorised.NOT_YET:
                    await asyncio.to_thread(ask_again, self._engine, item.item_id)
                case HasAuthorised.GONE:
                    await asyncio.to_thread(ask_no_more, self._engine, item.item_id)
        return len(taken)

    async def _of_round(self, client: CyclrClient, limiter: Limiter, most: int) -> int:
        if most < 1:
            return 0
        taken = await asyncio.to_thread(take_of_round, self._engine, self._instance_id, most)
        if taken is None:
            return 0
        asked: list[ToAsk] = []
        try:
            for item in taken.piece:
                if await _ask(item, client, limiter) is HasAuthorised.YES:
                    await asyncio.to_thread(note_authorised, self._engine, item.item_id)
                asked.append(item)
        finally:
            await asyncio.to_thread(put_back, self._engine, taken, asked)
        return len(asked)


async def _ask(item: ToAsk, client: CyclrClient, limiter: Limiter) -> HasAuthorised:
    """Raises: CyclrError, where nobody can be asked about."""

    async def read(permit: Permit) -> AccountConnector:
        return await client.get_account_connector(permit, item.account_id, item.account_connector_id)

    try:
        found = await read_patiently(client, limiter.one, read, account_id=item.account_id, patience=PATIENCE)
    except (NotFound, Refused):
        return HasAuthorised.GONE
    except OutcomeUnknown:
        # One account that gets no answer must not hold up the others; where none does, the gate closes.
        return HasAuthorised.NOT_YET
    return HasAuthorised.YES if found.is_authenticated else HasAuthorised.NOT_YET
