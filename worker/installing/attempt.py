"""One attempt at one item: each step that is left is looked for or done, noted, and the whole comes to a verdict."""

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import replace

from worker.cyclr.client import CyclrClient
from worker.cyclr.errors import CyclrError
from worker.cyclr.exchange import Permit
from worker.domain.states import Code
from worker.domain.steps import ACCOUNT, CONNECTOR, NOTHING, Notes, StepKind, needs_secret
from worker.domain.verdicts import (
    GiveUp,
    LookFirst,
    Released,
    RetryAt,
    Verdict,
    called_off,
    conclude,
    is_look_only,
)
from worker.installing.judging import Rules, judge
from worker.installing.permits import GivenBack, HeldPermit
from worker.operations.hands import AttemptEnded, Hands, Neighbours, Noting, Releases
from worker.operations.operation import Effect, Operation, Step, looks_before
from worker.store.claiming import ClaimedItem
from worker.store.faults import is_database_away, note_database_failure
from worker.store.sealing import Sealer
from worker.telemetry import get_logger

ROOM_WITHIN_S = 5.0  # the claim holds for long yet: another process may take the item
PROLONGING = "holding on to rows"

log = get_logger()


class ItemAttempt:
    """`room`: for so many attempts at a time. `notes`: what is done and sent of the item by now."""

    def __init__(
        self,
        item: ClaimedItem,
        operation: Operation,
        permit: HeldPermit,
        client: CyclrClient,
        releases: Releases,
        neighbours: Neighbours,
        sealer: Sealer,
        rules: Rules,
        *,
        room: asyncio.Semaphore,
        is_outage: Callable[[], bool],
        rng: random.Random,
    ) -> None:
        self.item = item
        self.permit = permit
        self.notes = item.notes
        self._operation = operation
        self._rules = rules
        self._room = room
        self._is_outage = is_outage
        self._rng = rng
        self._asked_from: Notes | None = (
            None  # the notes before the call that was asked for and is not answered
        )
        self._last_step: StepKind | None = None  # whose call was asked for last
        self._written = item.mark  # what the database has as sent
        self._lacks_secret = item.secrets is None and needs_secret(operation.name)
        self._hands = Hands(
            item,
            self,
            client,
            releases,
            neighbours,
            sealer,
            may_act=not (item.is_called_off or self._is_last_look() or self._lacks_secret),
            may_be_there=operation.kind(item.notes.sent) if item.must_look else None,
        )

    async def run(self) -> Verdict:
        """The verdict; every failure has become one. Cancelled between two calls, it gives the item back."""
        try:
            verdict = await self._run()
        except Exception as error:  # noqa: BLE001 - one row's surprise must not stop the others
            verdict = self._after_a_crash(error)
        if not self.permit.is_calling:
            self.note_unsent()
        return self._concluded(verdict)

    async def _run(self) -> Verdict:
        try:
            await self._wait_for_room()
            try:
                return await self._take_steps()
            finally:
                self._room.release()
        except AttemptEnded as ended:
            return ended.verdict
        except GivenBack:
            return Released()
        except asyncio.CancelledError:
            if self.permit.is_calling:
                raise
            return Released()
        except CyclrError as error:
            return judge(
                error,
                self.permit.call_in_flight,
                self.item,
                self._rules,
                may_be_there=self._hands.may_be_there,
                is_outage=self._is_outage(),
                rng=self._rng,
            )

    async def next_permit(self, call: StepKind | str, noting: Noting | None = None) -> Permit:
        """Of a step it is written down that its call may go out, before it does. Raises: GivenBack."""
        if not isinstance(call, StepKind):
            return await self.permit.next(call)
        self._last_step, self._asked_from = call, self.notes
        self.notes = replace(self.notes, sent=call.name)
        if call is CONNECTOR:
            self.notes = replace(self.notes, highest_id=self._highest_id())
        if noting is not None:
            self.notes = noting(self.notes)
        return await self.permit.next(call, is_written=self._written == call.name and noting is None)

    def note_unsent(self) -> None:
        """What was asked for is surely not done: the notes say what they said before. A mark of an earlier attempt stays."""
        if self._asked_from is not None:
            self.notes, self._asked_from = self._asked_from, None

    def note_written(self, sent: str | None) -> None:
        """The database has that as sent from now on."""
        self._written = sent or NOTHING

    def _highest_id(self) -> int | None:
        if self._hands.is_new_account:
            return 0
        finding = self._hands.finding
        return None if finding is None or finding.found is not None else finding.highest_id

    async def _wait_for_room(self) -> None:
        """Items are claimed a little ahead of the room for their calls. Raises: GivenBack."""
        # As a rule there is some: a timer that nothing waits for would cost more than the rest of it.
        if not self._room.locked():
            await self._room.acquire()
            return
        try:
            async with asyncio.timeout(ROOM_WITHIN_S):
                await self._room.acquire()
        except TimeoutError:
            raise GivenBack("the calls before it take so long that the item is better given back") from None

    async def _take_steps(self) -> Verdict:
        item, hands = self.item, self._hands
        if self._lacks_secret and not item.must_look:
            return self._credential_lost()
        effects: dict[StepKind, Effect] = {}
        for step in self._operation.steps:
            if not step.is_to_do(item, self.notes):
                continue
            while (effect := await self._look(step)) is None:
                if not step.kind.is_before_target:
                    hands.may_be_there = None
                if not hands.may_act:
                    return self._undone(step.kind)
                effect = await step.act(hands)
                if not step.is_for_each:
                    break
                self._note(step.kind, effect)
            self._note(step.kind, effect)
            effects[step.kind] = effect
        return await self._operation.outcome(hands, effects)

    async def _look(self, step: Step) -> Effect | None:
        """What the step has come to already; None where it may be done now."""
        is_spared = self._hands.is_new_account and not step.is_for_each
        if is_spared or not looks_before(step, self.item, may_act=self._hands.may_act):
            return None
        return await step.look(self._hands)

    def _note(self, step: StepKind, effect: Effect) -> None:
        """The step is done, whoever did it."""
        now, was = self.notes, self._asked_from or self.notes
        self._asked_from = None
        if not step.is_before_target:
            self._hands.may_be_there = None
        is_mine = effect.is_new or (step is CONNECTOR and self._hands.is_ours)
        is_answered = was.sent == step.name
        self.notes = replace(
            now,
            account_exists=now.account_exists or step.is_before_target,
            account_created=now.account_created or (step.is_before_target and effect.is_new),
            steps_done=_with(now.steps_done, [step.name] if is_mine else []),
            sent=None if is_answered else was.sent,
            highest_id=None if is_answered else was.highest_id,
            account_connector_id=now.account_connector_id if effect.shown is None else effect.shown.id,
            changed=_with(now.changed, effect.changed),
            shown_otherwise=_with(now.shown_otherwise, effect.shown_otherwise),
            undo=now.undo if effect.undo is None else effect.undo,
        )

    def _undone(self, step: StepKind) -> Verdict:
        """Nothing may be done, and a look found that this is to do."""
        if self.item.is_called_off:
            sent = self.item.notes.sent  # whatever a look has shown of it since
            return called_off(self._operation.name, replace(self.notes, sent=sent))
        if self._lacks_secret:
            return self._credential_lost()
        found = (
            "and a look found nothing" if step in (ACCOUNT, CONNECTOR) else "and a look found it as it was"
        )
        undone = self._operation.about.undone if step in (ACCOUNT, CONNECTOR) else step.undone
        message = f"{undone}: Cyclr gave no clear answer in {self.item.attempts} attempts, {found}"
        return GiveUp(Code.NO_ANSWER, message, can_retry_help=True)

    def _credential_lost(self) -> GiveUp:
        message = "the row's sealed data cannot be opened: its key is not configured, or it is wiped"
        return GiveUp(Code.CREDENTIAL_LOST, message)

    def _after_a_crash(self, error: Exception) -> Verdict:
        item = self.item
        # Only the error's type: its text may hold what was sent.
        if is_database_away(error):
            note_database_failure(error, PROLONGING)
            reason = "the database was away when the next call was due"
        else:
            log.error("attempt_crashed", job_id=item.job_id, row=item.row_number, error=type(error).__name__)
            reason = f"an internal error ({type(error).__name__})"
        is_open = self.permit.is_calling and self._asked_from is not None
        return LookFirst(
            self._rules.settle_s,
            Code.NO_ANSWER,
            reason,
            maybe_sent=is_open and self.notes.sent == CONNECTOR.name,
        )

    def _is_last_look(self) -> bool:
        return is_look_only(
            attempts=self.item.attempts, max_attempts=self._rules.max_attempts, must_look=self.item.must_look
        )

    def _concluded(self, verdict: Verdict) -> Verdict:
        if self._hands.is_name_in_use:
            verdict = _with_a_look(verdict)
        step = self._operation.kind(self.notes.sent) if self.notes.sent else self._last_step
        return conclude(
            verdict,
            attempts=self.item.attempts,
            max_attempts=self._rules.max_attempts,
            must_look=self.item.must_look or self.notes.sent is not None,
            step=step or self._operation.about,
        )


def _with(known: tuple[str, ...], new: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*known, *new)))


def _with_a_look(verdict: Verdict) -> Verdict:
    """The verdict of an attempt that was told that its Name is in use and could not end its look."""
    if isinstance(verdict, Released):
        return LookFirst(0, Code.NAME_IN_USE, "the Name is in use", costs_attempt=False, maybe_sent=False)
    if isinstance(verdict, RetryAt):
        return LookFirst(
            verdict.after_s,
            verdict.code,
            verdict.reason,
            verdict.http_status,
            costs_attempt=verdict.costs_attempt,
            maybe_sent=False,
            pause=verdict.pause,
        )
    return verdict
