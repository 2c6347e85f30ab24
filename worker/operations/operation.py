"""An operation, as values: its steps, each of which can be looked for and done."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from worker.domain.connectors import AccountConnector
from worker.domain.steps import ABOUT, NOTHING, Notes, StepKind
from worker.domain.verdicts import Verdict, is_look_only
from worker.operations.hands import Hands
from worker.store.claiming import ClaimedItem


@dataclass(frozen=True, slots=True)
class Effect:
    """What a step has come to. `is_new`: our own call has just done it; else a look found it done. `shown`: the account
    connector, where the step is about one. `changed`: the fields of the row that our call has set; `shown_otherwise`: those
    that its answer shows otherwise than they were sent. `undo`: what the item has overwritten by now, sealed.
    """

    is_new: bool
    shown: AccountConnector | None = None
    changed: tuple[str, ...] = ()
    shown_otherwise: tuple[str, ...] = ()
    undo: bytes | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """`is_to_do`: whether this item asks for it, and nothing spares the look for it. `look`: reads only; None means that it is
    surely not done. `act`: exactly one call that changes something.

    `is_for_each`: one call for each field that is to be set: it is looked for and done until nothing is left. What was shown
    last is looked at, which costs no call, so it is never done without. Both may end the attempt.
    Raises: AttemptEnded; the errors of a call.
    """

    kind: StepKind
    is_to_do: Callable[[ClaimedItem, Notes], bool]
    look: Callable[[Hands], Awaitable[Effect | None]]
    act: Callable[[Hands], Awaitable[Effect]]
    is_for_each: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """`steps`: of the kinds that `domain.steps.STEPS` has for it, in their order. `outcome`: how an item ends whose steps
    are done.
    """

    name: str
    steps: tuple[Step, ...]
    outcome: Callable[[Hands, Mapping[StepKind, Effect]], Awaitable[Verdict]]

    @property
    def about(self) -> StepKind:
        """What its rows are about, for texts where no step is meant."""
        return ABOUT[self.name]

    def kind(self, name: str | None) -> StepKind:
        """Of the step of this name, or else what the rows are about."""
        return next((step.kind for step in self.steps if step.kind.name == name), self.about)

    def first_mark(self, item: ClaimedItem, max_attempts: int) -> str:
        """What is written of an item as sent when it is claimed: the step that goes out without a look, or else nothing."""
        may_act = not item.is_called_off and not is_look_only(
            attempts=item.attempts, max_attempts=max_attempts, must_look=item.must_look
        )
        first = next((step for step in self.steps if step.is_to_do(item, item.notes)), None)
        if first is None or looks_before(first, item, may_act=may_act):
            return NOTHING
        return first.kind.name


def looks_before(step: Step, item: ClaimedItem, *, may_act: bool) -> bool:
    """Whether this step is looked for before it is done: where it was or may have been sent, where the job looks first, or
    where nothing may be changed."""
    if not may_act or step.is_for_each:
        return True
    if step.kind.is_repeatable:
        return False
    notes = item.notes
    was_sent = item.must_look or notes.sent == step.kind.name or step.kind.name in notes.steps_done
    return was_sent or bool(item.not_kept) or item.options.looks_first
