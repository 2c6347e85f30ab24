"""What an attempt leads to. One value per outcome, so that an illegal mix of fields cannot be built."""

import random
from dataclasses import dataclass, replace

from worker.domain.states import Code, Outcome, PauseReason
from worker.domain.steps import ABOUT, ACCOUNT, STEPS, Notes, StepKind

LONGEST_BACKOFF_S = 300.0
LARGEST_STORABLE_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Installed:
    """The target is there. `differs`: names of what the row asks otherwise and was not changed. `is_ours`: whether this item
    made it; None: it may have, and nothing proves it. What was changed of it stands in the item's notes.
    """

    outcome: Outcome
    account_connector_id: int | None
    is_authenticated: bool | None
    differs: tuple[str, ...] = ()
    code: Code | None = None
    message: str | None = None
    is_ours: bool | None = None


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Cyclr did not act: try again after `after_s`. Whether an earlier try needs a look stays as it was."""

    after_s: float
    code: Code
    reason: str
    http_status: int | None = None
    costs_attempt: bool = True
    pause: PauseReason | None = None


@dataclass(frozen=True, slots=True)
class LookFirst:
    """Cyclr may have acted: after `after_s`, look before anything is sent again.

    `maybe_sent`: it may have acted on this row; else another may have put there what the row asks for.
    """

    after_s: float
    code: Code
    reason: str
    http_status: int | None = None
    costs_attempt: bool = True
    maybe_sent: bool = True
    pause: PauseReason | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Failed for good. `is_absent`: Cyclr's state is known, nothing of this row is installed. `differs`: names of what the row
    asks otherwise than it was found.

    With `is_absent` False the item ends as "may be installed", and keeps its `must_look`.
    """

    code: Code
    message: str
    http_status: int | None = None
    can_retry_help: bool = False
    is_absent: bool = True
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CalledOff:
    """The job was cancelled and a look found nothing: the item ends as cancelled."""


@dataclass(frozen=True, slots=True)
class Released:
    """Nothing was sent: the item goes back as it was, and costs nothing."""


Verdict = Installed | RetryAt | LookFirst | GiveUp | CalledOff | Released


def called_off(operation: str, notes: Notes) -> CalledOff | GiveUp:
    """How an item of a cancelled job ends that is not as its row asks, by what it had sent and done when that was seen."""
    if not notes.is_begun:
        return CalledOff()
    steps, about = STEPS[operation], ABOUT[operation]
    is_done = {*notes.steps_done, *([ACCOUNT.name] if notes.account_created else [])}
    done = [f"{step.noun} was done" for step in steps if step.name in is_done]
    lost = [f"{step.noun} got no clear answer" for step in steps if step.name == notes.sent]
    rest = "the rest was not done" if about.name in is_done or about not in steps else about.undone
    message = f"cancelled half way: {'; '.join([*done, *lost, rest])}"
    return GiveUp(Code.INCOMPLETE, message, can_retry_help=True)


def backoff_s(attempts: int, base_s: float, rng: random.Random) -> float:
    """Full jitter, doubling from `base_s` to 5 min. `attempts`: those that failed so far, this one not counted."""
    ceiling = min(LONGEST_BACKOFF_S, base_s * 2 ** min(attempts, 30))
    return rng.uniform(0, ceiling)


def conclude(
    verdict: Verdict, *, attempts: int, max_attempts: int, must_look: bool, step: StepKind
) -> Verdict:
    """The verdict once the number of attempts is taken into account. `attempts`: those before this one.

    `step`: the one that may have been sent, or else the one that the row is about; messages speak of it. An item that may have been sent never fails before a look found nothing: past `max_attempts` it is only looked
    for (`is_look_only`), up to twice that number; where the looks fail for good it ends as `outcome_unknown`.
    """
    if not isinstance(verdict, RetryAt | LookFirst) or not verdict.costs_attempt:
        return verdict
    count = attempts + 1
    may_be_there = must_look or isinstance(verdict, LookFirst)
    if count < max_attempts:
        return verdict
    if not may_be_there:
        message = f"{step.undone}, and no {step.noun.removeprefix('the ')} was sent, in {count} attempts: {verdict.reason}"
        return GiveUp(Code.UNREACHABLE, message, verdict.http_status, can_retry_help=True)
    if count >= 2 * max_attempts:
        message = f"{step.may_be}, and no look at the account succeeded in {count} attempts: {verdict.reason}"
        return GiveUp(
            Code.OUTCOME_UNKNOWN, message, verdict.http_status, can_retry_help=True, is_absent=False
        )
    if isinstance(verdict, RetryAt):
        return LookFirst(verdict.after_s, verdict.code, verdict.reason, verdict.http_status, maybe_sent=False)
    return verdict


def is_look_only(*, attempts: int, max_attempts: int, must_look: bool) -> bool:
    """Whether this attempt may only look: the installs are used up, what they did is not known."""
    return must_look and attempts >= max_attempts


def without_texts(verdict: Verdict) -> Verdict:
    """The same verdict with nothing of Cyclr's in it that a database may refuse: for an answer that it did refuse."""
    match verdict:
        case Installed():
            found_id = verdict.account_connector_id
            is_storable = found_id is None or abs(found_id) <= LARGEST_STORABLE_ID
            storable_id = found_id if is_storable else None
            return replace(verdict, message=None, differs=(), account_connector_id=storable_id)
        case RetryAt() | LookFirst():
            return replace(verdict, reason="an answer that could not be stored")
        case GiveUp():
            message = "Cyclr refused, in words that could not be stored"
            return replace(verdict, code=Code.UNSTORABLE_ANSWER, message=message)
        case CalledOff() | Released():
            return verdict
