"""The last thing before a request is written: the call's slot has come, and the claim still holds for a whole deadline."""

import asyncio
from collections.abc import Awaitable, Callable

from worker.clock import Clock, Moment
from worker.cyclr.errors import CyclrError
from worker.cyclr.limiter import Limiter
from worker.cyclr.slots import Slot
from worker.installing.judging import Call
from worker.store.claiming import Standing
from worker.store.tallies import CallMade

PROLONG_BEFORE_S = 0.5  # so late that a pause or a cancel before it is seen in time
GIVE_BACK_S = 2.0  # what is left of a claim for giving the item back in time


class GivenBack(CyclrError):
    """Nothing was sent, and nothing more may be sent in this attempt: the item goes back.

    Not a `NotStarted`: whoever reads patiently tries those again, and this would come again for ever.
    """


class ClaimRanOut(GivenBack):
    """The claim ends before a call that starts now would have to: another worker may be about to take the item."""


class NoSlotInTime(GivenBack):
    """A closed gate outlasts the claim. An item held on to would look like one whose worker has died."""


class NoRoom(GivenBack):
    """The calls before it take so long that the item is better given back."""


class Stopped(GivenBack):
    """The job was paused, the claim was lost, or this process ends."""


class CalledOff(GivenBack):
    """The job was cancelled: no install may be sent."""


class Permits:
    """The permits of one attempt's calls: a slot each, and for each the check of the claim.

    `claimed_at`: a moment before the claim was asked for. `prolong` holds the item for another `claim_s`.
    `calls`: those that were made.
    """

    def __init__(
        self,
        first_slot: Slot,
        *,
        claimed_at: Moment,
        claim_s: float,
        deadline_s: float,
        limiter: Limiter,
        prolong: Callable[[], Awaitable[Standing]],
        is_stopping: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self.last_call: Call = "account"
        self.is_calling = False
        self.calls: list[CallMade] = []
        self._first_slot: Slot | None = first_slot
        self._claimed_at = claimed_at
        self._claim_s = claim_s
        self._sendable_s = claim_s - deadline_s
        self._limiter = limiter
        self._prolong = prolong
        self._is_stopping = is_stopping
        self._clock = clock

    @property
    def call_in_flight(self) -> Call:
        """The call whose failure is to be judged: before its permit was given nothing of it was sent,
        so what failed then was a mere preparation (a token, say)."""
        return self.last_call if self.is_calling else "account"

    async def next(self, call: Call) -> "Permit":
        """A permit for one call. Raises: GivenBack, LimiterAway."""
        self.is_calling = False
        self.last_call = call
        if self._is_stopping():
            raise Stopped
        slot, self._first_slot = self._first_slot, None
        if slot is None:
            slot = await self._further_slot()
            await asyncio.sleep(max(0.0, slot.starts_in_s() - PROLONG_BEFORE_S))
            await self._hold_on(call)
        return Permit(self, slot, call)

    async def _further_slot(self) -> Slot:
        left_s = self._claim_s - self._clock.since(self._claimed_at)
        try:
            async with asyncio.timeout(max(GIVE_BACK_S, left_s - GIVE_BACK_S)):
                return await self._limiter.one()
        except TimeoutError:
            raise NoSlotInTime from None

    async def _hold_on(self, call: Call) -> None:
        asked_at = self._clock.moment()
        match await self._prolong():
            case Standing.HELD:
                self._claimed_at = asked_at
            case Standing.CALLED_OFF if call in ("look", "account"):
                self._claimed_at = asked_at
            case Standing.CALLED_OFF:
                raise CalledOff
            case Standing.LOST | Standing.STOPPED:
                raise Stopped

    def check_claim(self) -> None:
        """Raises: ClaimRanOut, unless a call that starts now ends while the claim holds, whatever the machine slept through."""
        if self._clock.since(self._claimed_at) > self._sendable_s:
            raise ClaimRanOut


class Permit:
    """Leave to start one call. `ready` returns at the moment of sending, or raises NotStarted or GivenBack."""

    def __init__(self, permits: Permits, slot: Slot, call: Call) -> None:
        self._permits = permits
        self._slot = slot
        self._call = call

    async def ready(self) -> None:
        await self._slot.ready()
        self._permits.check_claim()
        self._permits.is_calling = True

    def ended(self, outcome: str, took_s: float) -> None:
        self._permits.calls.append(CallMade(self._call, outcome, took_s))
