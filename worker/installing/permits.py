"""The last thing before a request is written: the call's slot has come, and the claim still holds for a whole deadline."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from worker.clock import Clock, Moment
from worker.cyclr.errors import CyclrError, GateClosed, SlotMissed
from worker.cyclr.limiter import Limiter
from worker.cyclr.slots import Slot
from worker.domain.steps import StepKind
from worker.store.claiming import Standing
from worker.store.tallies import CallMade

GIVE_BACK_S = 2.0  # what is left of a claim for giving the item back in time
# How far ahead slots are taken: what is taken cannot be given to another job, and hears of a pause only at its claim.
AHEAD_S = 0.5
# A call is sent so long at most after its job was asked for and was running: a pause or a cancel is heard within 2 s.
SEEN_WITHIN_S = 1.8


class GivenBack(CyclrError):
    """Nothing was sent, and nothing more may be sent in this attempt: the item goes back. Its text says why.

    Not a `NotStarted`: whoever reads patiently tries those again, and this would come again for ever.
    """

    did_not_act = True


class Holder(Protocol):
    """Holds the item for its attempt: what the install loop does for one."""

    async def prolong(self) -> tuple[Moment, Standing]:
        """Hold the item for another claim's time from that moment on, and write down what was done for good."""

    async def see(self) -> tuple[Moment, Standing]:
        """How its job stands, and a moment before that was asked."""

    def note_begun(self) -> None:
        """The first call is sent now."""

    def note_missed(self) -> None:
        """A slot went by unused."""


class HeldPermit:
    """The permit of one attempt's calls, which follow each other: each has a slot, and its check of the claim and of the job.

    `first_slot`: for the first call, where one was taken with the claim. `claimed_at`: a moment before the claim was asked for.
    `calls`: those that were made.
    """

    def __init__(
        self,
        first_slot: Slot | None,
        *,
        claimed_at: Moment,
        claim_s: float,
        deadline_s: float,
        limiter: Limiter,
        holder: Holder,
        is_stopping: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self.last_call: StepKind | str = "account"
        self.is_calling = False
        self.calls: list[CallMade] = []
        self._first_slot = first_slot
        self._claimed_at = claimed_at
        self._seen_at = claimed_at
        self._claim_s = claim_s
        self._sendable_s = claim_s - deadline_s
        self._limiter = limiter
        self._holder = holder
        self._has_begun = False
        self._is_stopping = is_stopping
        self._clock = clock

    @property
    def call_in_flight(self) -> StepKind | str:
        """The call whose failure is to be judged: before its permit was given nothing of it was sent,
        so what failed then was a mere preparation (a token, say)."""
        return self.last_call if self.is_calling else "account"

    async def next(self, call: StepKind | str, *, is_written: bool = True) -> "HeldPermit":
        """For one call. `is_written`: the database has it that this call may go out. Raises: GivenBack."""
        self.is_calling = False
        self.last_call = call
        if self._is_stopping():
            raise GivenBack("this process ends")
        if self._has_begun or not is_written:
            await self._hold_on(call)
        return self

    async def ready(self) -> None:
        """Return at the moment of sending: the call's slot has come, and claim and job were seen to hold.

        A slot that went by, or that the gate took, is replaced while the claim holds: to give the item back would cost
        a settle and a claim. Raises: GivenBack, LimiterAway.
        """
        call = self.last_call
        slot, self._first_slot = self._first_slot, None
        while True:
            if slot is None:
                await self._be_sure(call, 0.0)  # before the slot, which would go by meanwhile
                slot = await self._another_slot()
            await self._be_sure(call, slot.starts_in_s())
            try:
                await slot.ready()
            except (SlotMissed, GateClosed):
                self._holder.note_missed()
            else:
                # On the clock that goes on while the process is frozen or the machine sleeps.
                if self._is_held(0.0) and self._was_seen(0.0):
                    break
            slot = None
        self.is_calling = True
        if not self._has_begun:
            self._has_begun = True
            self._holder.note_begun()

    def ended(self, outcome: str, took_s: float) -> None:
        self.calls.append(CallMade(name_of(self.last_call), outcome, took_s))

    async def _another_slot(self) -> Slot:
        left_s = self._claim_s - self._clock.since(self._claimed_at)
        try:
            async with asyncio.timeout(max(GIVE_BACK_S, left_s - GIVE_BACK_S)):
                return await self._limiter.one(AHEAD_S)
        except TimeoutError:
            # An item held on to would look like one whose worker has died.
            raise GivenBack("nobody may call for longer than the claim lasts") from None

    def _is_held(self, in_s: float) -> bool:
        """Whether a call that starts in so long ends while the claim holds."""
        return self._clock.since(self._claimed_at) + in_s <= self._sendable_s

    def _was_seen(self, in_s: float) -> bool:
        """Whether its job was seen lately enough for a call that starts in so long."""
        return self._clock.since(self._seen_at) + in_s <= SEEN_WITHIN_S

    async def _be_sure(self, call: StepKind | str, in_s: float) -> None:
        if not self._is_held(in_s):
            await self._hold_on(call)
            if not self._is_held(in_s):
                raise GivenBack("the claim ends before a call that starts now would have to")
        if not self._was_seen(in_s):
            asked_at, standing = await self._holder.see()
            self._go_on(call, standing, asked_at)

    async def _hold_on(self, call: StepKind | str) -> None:
        asked_at, standing = await self._holder.prolong()
        self._go_on(call, standing, asked_at)
        self._claimed_at = asked_at

    def _go_on(self, call: StepKind | str, standing: Standing, asked_at: Moment) -> None:
        """Raises: GivenBack."""
        match standing:
            case Standing.HELD:
                self._seen_at = asked_at
            case Standing.CALLED_OFF if call in ("look", "account"):
                self._seen_at = asked_at
            case Standing.CALLED_OFF:
                raise GivenBack("the job was cancelled")
            case Standing.STOPPED:
                raise GivenBack("the job was paused")
            case Standing.LOST:
                raise GivenBack("the claim was lost")


def name_of(call: StepKind | str) -> str:
    """As attempts and tallies have it."""
    return call.call if isinstance(call, StepKind) else call
