"""The install loop of one process: claim what will really begin, take slots for it, call at their time, settle in groups; and how much
it takes in hand, which is pure arithmetic."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import zip_longest
from typing import Any

from worker.clock import Clock, Moment
from worker.cyclr.client import CyclrClient
from worker.cyclr.errors import LimiterAway
from worker.cyclr.limiter import Limiter
from worker.cyclr.slots import Outlook, Slot
from worker.installing.attempt import PROLONGING, ItemAttempt
from worker.installing.groups import Settler, Together
from worker.installing.judging import Rules
from worker.installing.permits import AHEAD_S, SEEN_WITHIN_S, HeldPermit, name_of
from worker.operations.hands import Neighbours, Releases
from worker.operations.known import OPERATIONS
from worker.store.claiming import ClaimedItem, Hold, Standing, claim, count_due, find_standings, prolong
from worker.store.faults import note_database_failure, note_database_success
from worker.store.sealing import Sealer
from worker.store.session import Engine
from worker.store.settling import Settlement, settle

RING_EVERY_S = 1.0
LONGEST_PAUSE_S = 0.5  # between two questions for slots or work, so that a stop is heard
DATABASE_AWAY_S = 1.0
CLAIMING = "claiming rows"
GATHER_S = 0.02  # a count and a claim cost about the same for one item as for many
HOLD_EVERY_S = 0.1  # claims are prolonged in groups, as verdicts are settled

# How much is taken in hand.
PACE_OVER_S = 1.0  # what a pace is measured over
# So many items as end within this time are claimed before there is room for their calls: a claim takes that long on a
# busy machine.
ROOM_AHEAD_S = 0.1
FIRST_ITEMS = 25  # before anything is known of the pace
# An item that waits for so much longer than a claim takes was claimed too early.
PATIENT_S = 0.5
# Slots are taken for so long ahead where some were missed lately: less than one may be late.
CAREFUL_S = 0.2


class _InHand:
    """An item from its claim to its settlement: what its attempt asks of the loop."""

    def __init__(self, run: "InstallRun", item: ClaimedItem) -> None:
        self.item = item
        self.attempt: ItemAttempt
        self.task: asyncio.Task[None]
        self.has_begun = False  # the task, which is cancelled only then: its item would be forgotten before
        self._run = run

    @property
    def is_between_calls(self) -> bool:
        return self.has_begun and not self.attempt.permit.is_calling

    async def prolong(self) -> tuple[Moment, Standing]:
        notes = self.attempt.notes
        told = await self._run.holding.ask(Hold(self.item, notes))
        self.attempt.note_written(notes.sent)
        return told

    async def see(self) -> tuple[Moment, Standing]:
        return await self._run.seeing.ask(self.item.job_id)

    def note_begun(self) -> None:
        self._run.waiting.pop(self.item.id, None)
        self._run.window.note_begun(_now())

    def note_missed(self) -> None:
        self._run.window.note_missed(_now())


class InstallRun:
    """One run of the loop. `ring` sends a ticket when there may be more work than this process takes."""

    def __init__(
        self,
        *,
        engine: Engine,
        sealer: Sealer,
        instance_id: str,
        client: CyclrClient,
        limiter: Limiter,
        rules: Rules,
        ring: Callable[[], None],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._engine = engine
        self._sealer = sealer
        self._instance_id = instance_id
        self._client = client
        self._limiter = limiter
        self._rules = rules
        self._ring = ring
        self._clock = clock
        self._rng = rng
        self._threads = ThreadPoolExecutor(max_workers=3, thread_name_prefix="database")
        self._settler = Settler(self._settle)
        self._releases = Releases(engine, client, self._in_thread)
        self._neighbours = Neighbours(engine, self._in_thread)
        self.holding = Together(self._prolong, gather_s=HOLD_EVERY_S)
        self.seeing = Together(self._see, gather_s=0)
        self._in_hand: dict[int, _InHand] = {}
        # Items whose first call has not begun, and since when; the oldest first.
        self.waiting: dict[int, float] = {}
        self._room = asyncio.Semaphore(rules.concurrency)
        self.window = Window(rules.concurrency)
        self._has_signed_in = False
        self._has_one_alone = False  # what was claimed last, and alone
        self._stopping = asyncio.Event()
        self._rang_at: Moment | None = None
        self._has_more = False  # than the last claim has taken

    async def run(self, *, for_s: float) -> None:
        """Work for about `for_s` seconds, or until nothing is due and nothing in flight, or until `stop`."""
        started_at = self._clock.moment()
        settling = asyncio.create_task(self._settler.run())
        try:
            while not self._stopping.is_set():
                if self._clock.since(started_at) > for_s:
                    await self._ring_again()
                    break
                if not await self._take_more() and not self._in_hand:
                    break
        except BaseException:
            self.stop()
            raise
        finally:
            await self._finish_attempts()
            self._settler.close()
            await settling
            self._threads.shutdown(wait=False)

    def stop(self) -> None:
        """End soon: unsent items are given back, calls in flight are settled. May be called from a signal handler of the loop."""
        self._stopping.set()
        for hand in list(self._in_hand.values()):
            if hand.is_between_calls:
                hand.task.cancel()

    async def _take_more(self) -> bool:
        """One turn: claims, slots, attempts. Whether there was anything due."""
        wanted = self._wanted()
        if not wanted or not await self._has_due():
            return await self._has_more_after_a_while()
        await self._sign_in()
        if self._stopping.is_set():
            return True
        outlook = await self._outlook()
        count = min(wanted, outlook.slots)
        if not count:
            await self._wait_for_a_change(min(outlook.retry_in_s, LONGEST_PAUSE_S))
            return True
        asked_at = self._clock.moment()
        claimed_at, items = await self._claim(count)
        self.window.note_claim(self._clock.since(asked_at))
        self._has_more = len(items) == count
        self._has_one_alone = any(item.is_alone for item in items)
        slots = await self._take_slots(len(items), claimed_at)
        for item, slot in zip_longest(items, slots):
            self._begin(item, slot, claimed_at)
        if self._has_more:
            await self._ring_again()
        if not items:
            # What is due is for another process, or for one that holds nothing else.
            await self._wait_for_a_change(LONGEST_PAUSE_S)
        return True

    async def _outlook(self) -> Outlook:
        """What is claimed is what can begin: where nobody may call, nothing is."""
        try:
            return await self._limiter.outlook(within_s=AHEAD_S)
        except LimiterAway:
            return Outlook(0, LONGEST_PAUSE_S)

    async def _take_slots(self, count: int, claimed_at: Moment) -> list[Slot]:
        """Slots for the first calls of so many items, at most; the others wait for theirs one by one."""
        if self._clock.since(claimed_at) + AHEAD_S > SEEN_WITHIN_S:
            return []  # they would go by while the items' jobs are asked for again
        try:
            reservation = await self._limiter.reserve(self.window.slots(_now(), count), within_s=AHEAD_S)
        except LimiterAway:
            return []
        return reservation.slots

    async def _sign_in(self) -> None:
        """Before the first slots of a run: the token's call has to wait behind all that are reserved, and they go by unused."""
        if self._has_signed_in:
            return
        self._has_signed_in = True
        signing_in = asyncio.create_task(self._client.have_a_token())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([signing_in, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            signing_in.cancel()
            stopping.cancel()

    async def _has_more_after_a_while(self) -> bool:
        """Nothing can be taken now. Whether that may change once what is held is done and written."""
        if self._is_idle:
            return False
        await self._wait_for_a_change(LONGEST_PAUSE_S)
        await asyncio.sleep(GATHER_S)
        return True

    @property
    def _is_idle(self) -> bool:
        """Whether a death of this process would cost no item a life."""
        return not self._in_hand and self._settler.is_empty

    def _wanted(self) -> int:
        """How many items to take now: as many as there is room for, and will be by the time that they are here."""
        if self._has_one_alone and not self._is_idle:
            return 0
        now = _now()
        waits_s = now - next(iter(self.waiting.values()), now)
        return self.window.items(now, in_hand=len(self._in_hand), waiting=len(self.waiting), waits_s=waits_s)

    def _begin(self, item: ClaimedItem, slot: Slot | None, claimed_at: Moment) -> None:
        hand = _InHand(self, item)
        permit = HeldPermit(
            slot,
            claimed_at=claimed_at,
            claim_s=self._rules.claim_s,
            deadline_s=self._rules.deadline_s,
            limiter=self._limiter,
            holder=hand,
            is_stopping=self._stopping.is_set,
            clock=self._clock,
        )
        hand.attempt = ItemAttempt(
            item,
            OPERATIONS[item.operation],
            permit,
            self._client,
            self._releases,
            self._neighbours,
            self._sealer,
            self._rules,
            room=self._room,
            is_outage=self._limiter.is_outage,
            rng=self._rng,
        )
        hand.task = asyncio.create_task(self._attend(hand))
        self._in_hand[item.id] = hand
        self.waiting[item.id] = _now()

    async def _attend(self, hand: _InHand) -> None:
        """See one attempt through to its settlement, whatever happens to it."""
        hand.has_begun = True
        item = hand.item
        started_at, began = self._clock.now(), self._clock.moment()
        try:
            verdict = await hand.attempt.run()
        finally:
            self._in_hand.pop(item.id, None)
            self.waiting.pop(item.id, None)
            self.window.note_ended(_now())
        took_s, permit = self._clock.since(began), hand.attempt.permit
        last_call, calls = name_of(permit.last_call), tuple(permit.calls)
        self._settler.add(Settlement(item, verdict, hand.attempt.notes, started_at, took_s, last_call, calls))

    async def _finish_attempts(self) -> None:
        while self._in_hand:
            await asyncio.wait([hand.task for hand in self._in_hand.values()])

    async def _wait_for_a_change(self, seconds: float) -> None:
        """Sleep, but not past the end of an attempt (there is room again), the moment when all is settled, or a stop."""
        changes: list[asyncio.Task[Any]] = [asyncio.create_task(self._stopping.wait())]
        if not self._settler.is_empty:
            changes.append(asyncio.create_task(self._settler.wait_until_empty()))
        attempts = [hand.task for hand in self._in_hand.values()]
        try:
            await asyncio.wait([*attempts, *changes], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for change in changes:
                change.cancel()

    async def _ring_again(self) -> None:
        """Once a second at most, so that idle processes wake one after another."""
        if self._rang_at is None or self._clock.since(self._rang_at) >= RING_EVERY_S:
            self._rang_at = self._clock.moment()
            await self._in_thread(self._ring)

    async def _has_due(self) -> bool:
        """Whether anything may be claimed now: asked where the last claim has not shown it, since a question is cheaper
        than a claim that finds nothing."""
        if self._has_more:
            return True
        work = partial(count_due, self._engine, self._instance_id, limit=1, is_idle=self._is_idle)
        return bool(await self._patiently(work, 0))

    async def _claim(self, count: int) -> tuple[Moment, list[ClaimedItem]]:
        work = partial(
            claim,
            self._engine,
            self._sealer,
            instance_id=self._instance_id,
            count=count,
            claim_s=self._rules.claim_s,
            is_idle=self._is_idle,
            mark=self._mark,
            moment=self._clock.moment,
        )
        claimed: tuple[Moment, list[ClaimedItem]] = await self._patiently(work, (self._clock.moment(), []))
        return claimed

    def _mark(self, item: ClaimedItem) -> str:
        """What is written as sent of an item that is claimed now: no call of it may go out before that."""
        return OPERATIONS[item.operation].first_mark(item, self._rules.max_attempts)

    async def _patiently(self, work: Callable[[], Any], otherwise: Any) -> Any:
        """What `work` returns, or `otherwise` after a pause while the database is away."""
        try:
            done = await self._in_thread(work)
        except Exception as error:  # noqa: BLE001 - a claim that failed is tried again at the next turn
            note_database_failure(error, CLAIMING)
            await self._wait_for_a_change(DATABASE_AWAY_S)
            return otherwise
        note_database_success(CLAIMING)
        return done

    async def _prolong(self, holds: Sequence[Hold]) -> Sequence[tuple[Moment, Standing]]:
        claim_s, moment = self._rules.claim_s, self._clock.moment
        work = partial(prolong, self._engine, holds, claim_s=claim_s, moment=moment)
        asked_at, standings = await self._in_thread(work)
        note_database_success(PROLONGING)
        return [(asked_at, standing) for standing in standings]

    async def _see(self, job_ids: Sequence[str]) -> Sequence[tuple[Moment, Standing]]:
        work = partial(find_standings, self._engine, job_ids, moment=self._clock.moment)
        try:
            asked_at, standings = await self._in_thread(work)
        except Exception as error:  # noqa: BLE001 - what may not be sent is given back
            note_database_failure(error, PROLONGING)
            asked_at, standings = self._clock.moment(), [Standing.STOPPED] * len(job_ids)
        return [(asked_at, standing) for standing in standings]

    async def _settle(self, group: list[Settlement]) -> int:
        work = partial(settle, self._engine, group, pause_above_percent=self._rules.pause_above_percent)
        return int(await self._in_thread(work))

    async def _in_thread(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)


def _now() -> float:
    return asyncio.get_running_loop().time()


class Window:
    """The items in hand whose first call has not begun are the window; it follows the pace at which first calls begin.

    It doubles where it ran dry, and falls to what begins within a claim's time where items wait for longer than that.
    All moments are seconds of one monotonic clock.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._size = FIRST_ITEMS
        self._claim_s = 0.0
        self._begun: deque[float] = deque()
        self._ended: deque[float] = deque()
        self._missed: deque[float] = deque()

    def note_begun(self, at: float) -> None:
        """The first call of an item has begun."""
        self._begun.append(at)

    def note_ended(self, at: float) -> None:
        """An item's attempt is over: there is room for another."""
        self._ended.append(at)

    def note_missed(self, at: float) -> None:
        """A slot went by unused."""
        self._missed.append(at)

    def note_claim(self, took_s: float) -> None:
        """How long the last claim took."""
        self._claim_s = took_s

    def items(self, now: float, *, in_hand: int, waiting: int, waits_s: float) -> int:
        """How many items to claim now, where the limiter has slots for them.

        `waiting`: those of the items in hand whose first call has not begun; the oldest of them has waited for `waits_s`.
        """
        lead_s = AHEAD_S + self._claim_s
        begun = _within(self._begun, now)
        if waits_s > lead_s + PATIENT_S:
            # Where none begins, what the pace is cannot be told.
            self._size = max(1, min(self._size, round(begun * lead_s))) if begun else self._size
        elif not waiting and begun:
            self._size = min(2 * self._size, 2 * self._concurrency)
        ahead = round(_within(self._ended, now) * max(ROOM_AHEAD_S, min(self._claim_s, AHEAD_S)))
        room = self._concurrency + ahead - in_hand
        if waiting > self._size // 2 or room <= ahead // 2:
            return 0  # a claim costs about the same for one item as for many
        return min(room, self._size - waiting)

    def slots(self, now: float, calls: int) -> int:
        """For how many of so many calls to take slots at once: what is not used in time is lost to everybody."""
        if not _within(self._missed, now):
            return calls
        return min(calls, max(1, round(_within(self._begun, now) * CAREFUL_S)))


def _within(moments: deque[float], now: float) -> int:
    """How many of these were within PACE_OVER_S before `now`; forgets the others."""
    while moments and now - moments[0] > PACE_OVER_S:
        moments.popleft()
    return len(moments)
