"""An operation, as values: its steps, each of which can be looked for and done."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from worker.domain.connectors import AccountConnector
from worker.domain.steps import NOTHING, Notes, StepKind
from worker.domain.verdicts import Installed, is_look_only
from worker.operations.hands import Hands
from worker.store.claiming import ClaimedItem


@dataclass(frozen=True, slots=True)
class Effect:
    """What a step has come to. `is_new`: our own call has just done it; else a look found it done. `shown`: the account
    connector, where the step is about one.
    """

    is_new: bool
    shown: AccountConnector | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """`is_to_do`: whether this item asks for it, and nothing spares the look for it. `look`: reads only; None means that it is
    surely not done. `act`: exactly one call that changes something.

    Both may end the attempt. Raises: AttemptEnded; the errors of a call.
    """

    kind: StepKind
    is_to_do: Callable[[ClaimedItem, Notes], bool]
    look: Callable[[Hands], Awaitable[Effect | None]]
    act: Callable[[Hands], Awaitable[Effect]]


@dataclass(frozen=True, slots=True)
class Operation:
    """`steps`: of the kinds that `domain.steps.STEPS` has for it, in their order. `outcome`: how an item ends whose steps
    are done, from what each has come to.
    """

    name: str
    steps: tuple[Step, ...]
    outcome: Callable[[Hands, Mapping[StepKind, Effect]], Awaitable[Installed]]

    @property
    def about(self) -> StepKind:
        """The step that rows are about, for texts where no other one is meant."""
        return self.steps[-1].kind

    def kind(self, name: str | None) -> StepKind:
        """Of the step of this name, or else the one that rows are about."""
        return next((step.kind for step in self.steps if step.kind.name == name), self.about)

    def first_mark(self, item: ClaimedItem, max_attempts: int) -> str:
        """What is written of an item as sent when it is claimed: the step that goes out without a look, or else nothing."""
        may_act = not item.is_called_off and not is_look_only(
            attempts=item.attempts, max_attempts=max_attempts, must_look=item.must_look
        )
        first = next((step for step in self.steps if step.is_to_do(item, item.notes)), None)
        if first is None or looks_before(first.kind, item, may_act=may_act):
            return NOTHING
        return first.kind.name


def looks_before(step: StepKind, item: ClaimedItem, *, may_act: bool) -> bool:
    """Whether this step is looked for before it is done: where it was or may have been sent, where the job looks first, or
    where nothing may be changed."""
    if not may_act:
        return True
    if step.is_repeatable:
        return False
    notes = item.notes
    was_sent = item.must_look or notes.sent == step.name or step.name in notes.steps_done
    return was_sent or item.options.looks_first
