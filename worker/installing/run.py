"""The install loop of one process: reserve slots, claim as many items, call at each slot's time, settle in groups."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from worker.clock import Clock, Moment
from worker.cyclr.client import CyclrClient
from worker.cyclr.errors import LimiterAway
from worker.cyclr.limiter import Limiter
from worker.cyclr.slots import Slot
from worker.domain.states import Code
from worker.domain.verdicts import LookFirst, Verdict, conclude
from worker.installing.attempt import Attempt
from worker.installing.judging import Rules
from worker.installing.permits import Permits
from worker.installing.releases import Releases
from worker.installing.settler import Settler
from worker.store.claiming import ClaimedItem, Standing, claim, count_due, prolong
from worker.store.faults import note_database_failure, note_database_success
from worker.store.losses import is_database_away
from worker.store.sealing import Sealer
from worker.store.session import Engine
from worker.store.settling import Settlement, settle
from worker.telemetry import get_logger

RING_EVERY_S = 1.0
# How far ahead slots are taken: what is taken cannot be given to another job, and hears of a pause only at its claim.
AHEAD_S = 0.5
LONGEST_PAUSE_S = 0.5  # between two questions for slots or work, so that a stop is heard
DATABASE_AWAY_S = 1.0
CLAIMING = "claiming rows"
PROLONGING = "holding on to rows"
# Due items are counted far ahead of what can be taken: one count serves many turns while the queue is full.
COUNT_AHEAD = 10
COUNT_TRUSTED_S = 0.5
# So many items as end within this time are claimed before there is room for their calls: a claim takes that long on a
# busy machine. Less than a slot may be late.
CLAIM_AHEAD_S = 0.1
PACE_OVER_S = 1.0  # what "so many" is measured over
GATHER_S = 0.02  # a count and a claim cost about the same for one item as for many

log = get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """`concurrency`: the most calls in flight in this process. `deadline_s`: of one call. `claim_s`: of one claim."""

    concurrency: int
    deadline_s: float
    claim_s: float
    pause_above_percent: float


@dataclass(slots=True)
class _Account:
    """What an attempt did for good, to be written with the next prolonging."""

    exists: bool = False
    created: bool = False

    def note(self, is_new: bool) -> None:
        self.exists = True
        self.created = self.created or is_new


@dataclass(slots=True)
class _InHand:
    attempt: Attempt
    has_begun: bool = False
    task: "asyncio.Task[None]" = field(init=False)

    @property
    def is_between_calls(self) -> bool:
        # A task that is cancelled before its first step never takes it, and its item would be forgotten.
        return self.has_begun and not self.attempt.permits.is_calling


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
        limits: Limits,
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
        self._limits = limits
        self._ring = ring
        self._clock = clock
        self._rng = rng
        self._threads = ThreadPoolExecutor(max_workers=3, thread_name_prefix="database")
        self._settler = Settler(self._settle)
        self._releases = Releases(engine, client, self._in_thread)
        self._in_hand: dict[int, _InHand] = {}
        self._room = asyncio.Semaphore(limits.concurrency)
        self._ended_at: deque[Moment] = deque()  # of the attempts that ended within PACE_OVER_S
        self._has_signed_in = False
        self._has_one_alone = False  # what was claimed last, and alone
        self._spare: list[Slot] = []
        self._stopping = asyncio.Event()
        self._rang_at: Moment | None = None
        self._known_due = 0
        self._counted_at: Moment | None = None

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
        """One turn: slots, claims, attempts. Whether there was anything due."""
        wanted = self._wanted()
        due = await self._count_due(wanted) if wanted else 0
        if not due:
            return await self._has_more_after_a_while()
        await self._sign_in()
        if self._stopping.is_set():
            return True
        slots, retry_in_s = await self._reserve(min(wanted, due))
        if not slots:
            await self._wait_for_a_change(min(retry_in_s, LONGEST_PAUSE_S))
            return True
        claimed_at = self._clock.moment()
        items = await self._claim(len(slots))
        self._known_due = self._known_due - len(items) if len(items) == len(slots) else 0
        self._has_one_alone = any(item.is_alone for item in items)
        for item, slot in zip(items, slots, strict=False):
            self._begin(item, slot, claimed_at)
        self._spare = slots[len(items) :]
        if len(items) == len(slots):
            await self._ring_again()
        if not items:
            # What is due is for another process, or for one that holds nothing else.
            await self._wait_for_a_change(LONGEST_PAUSE_S)
        return True

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
        while self._ended_at and self._clock.since(self._ended_at[0]) > PACE_OVER_S:
            self._ended_at.popleft()
        ahead = round(len(self._ended_at) * CLAIM_AHEAD_S / PACE_OVER_S)
        wanted = self._limits.concurrency + ahead - len(self._in_hand)
        return wanted if wanted > ahead // 2 else 0

    async def _reserve(self, count: int) -> tuple[list[Slot], float]:
        """Slots in hand from the last turn, and new ones up to `count`; how long to wait where there are none."""
        slots = [slot for slot in self._spare if not slot.is_over][:count]
        self._spare = []
        retry_in_s = 0.0
        if len(slots) < count:
            try:
                reservation = await self._limiter.reserve(count - len(slots), within_s=AHEAD_S)
            except LimiterAway:
                return slots, LONGEST_PAUSE_S
            slots += reservation.slots
            retry_in_s = reservation.retry_in_s
        return slots, retry_in_s

    def _begin(self, item: ClaimedItem, slot: Slot, claimed_at: Moment) -> None:
        account = _Account(exists=item.account_exists)
        permits = Permits(
            slot,
            claimed_at=claimed_at,
            claim_s=self._limits.claim_s,
            deadline_s=self._limits.deadline_s,
            limiter=self._limiter,
            prolong=lambda: self._prolong(item, account),
            is_stopping=self._stopping.is_set,
            clock=self._clock,
        )
        attempt = Attempt(
            item,
            permits,
            self._client,
            self._releases,
            self._rules,
            room=self._room,
            is_outage=self._limiter.is_outage,
            note_account=account.note,
            rng=self._rng,
        )
        hand = _InHand(attempt)
        hand.task = asyncio.create_task(self._attend(hand))
        self._in_hand[item.id] = hand

    async def _attend(self, hand: _InHand) -> None:
        """See one attempt through to its settlement, whatever happens to it."""
        hand.has_begun = True
        item = hand.attempt.item
        started_at, began = self._clock.now(), self._clock.moment()
        try:
            verdict = await hand.attempt.run()
        except Exception as error:  # noqa: BLE001 - one row's surprise must not stop the others
            verdict = self._after_a_crash(item, error)
        finally:
            self._in_hand.pop(item.id, None)
            self._ended_at.append(self._clock.moment())
        took_s, permits = self._clock.since(began), hand.attempt.permits
        self._settler.add(
            Settlement(item, verdict, started_at, took_s, permits.last_call, tuple(permits.calls))
        )

    def _after_a_crash(self, item: ClaimedItem, error: Exception) -> Verdict:
        # Only the error's type: its text may hold what was sent.
        if is_database_away(error):
            note_database_failure(error, PROLONGING)
            reason = "the database was away when the next call was due"
        else:
            log.error("attempt_crashed", job_id=item.job_id, row=item.row_number, error=type(error).__name__)
            reason = f"an internal error ({type(error).__name__})"
        verdict = LookFirst(self._rules.settle_s, Code.NO_ANSWER, reason)
        return conclude(
            verdict, attempts=item.attempts, max_attempts=self._rules.max_attempts, must_look=item.must_look
        )

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

    async def _count_due(self, limit: int) -> int:
        """How many items may be claimed now, up to `limit`. A wrong one costs some slots, which stay in hand."""
        if self._is_idle or self._counted_at is None or self._clock.since(self._counted_at) > COUNT_TRUSTED_S:
            self._known_due = 0  # an item that is claimed alone is counted by an idle process only
        if self._known_due < limit:
            self._counted_at = self._clock.moment()
            ahead = limit if self._is_idle else limit * COUNT_AHEAD
            work = partial(count_due, self._engine, self._instance_id, limit=ahead, is_idle=self._is_idle)
            self._known_due = int(await self._patiently(work, 0))
        return min(limit, self._known_due)

    async def _claim(self, count: int) -> list[ClaimedItem]:
        work = partial(
            claim,
            self._engine,
            self._sealer,
            instance_id=self._instance_id,
            count=count,
            claim_s=self._limits.claim_s,
            is_idle=self._is_idle,
        )
        items: list[ClaimedItem] = await self._patiently(work, [])
        return items

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

    async def _prolong(self, item: ClaimedItem, account: _Account) -> Standing:
        work = partial(
            prolong,
            self._engine,
            item,
            claim_s=self._limits.claim_s,
            account_exists=account.exists,
            account_created=account.created,
        )
        standing: Standing = await self._in_thread(work)
        note_database_success(PROLONGING)
        return standing

    async def _settle(self, group: list[Settlement]) -> int:
        work = partial(settle, self._engine, group, pause_above_percent=self._limits.pause_above_percent)
        return int(await self._in_thread(work))

    async def _in_thread(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
