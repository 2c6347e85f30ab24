"""The retry table: what the failure of a call means for its item."""

import random
from dataclasses import dataclass

from worker.cyclr import errors
from worker.domain.states import Code, PauseReason
from worker.domain.steps import CONNECTOR, StepKind
from worker.domain.verdicts import GiveUp, LookFirst, Released, RetryAt, Verdict, backoff_s
from worker.domain.words import READS
from worker.settings import CyclrSettings
from worker.store.claiming import ClaimedItem

WITHOUT_RETRY_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of the install loop. `settle_s`: how long Cyclr may go on working after we stopped listening.
    `concurrency`: the most calls in flight in this process. `deadline_s`: of one call. `claim_s`: of one claim.
    """

    max_attempts: int
    retry_base_s: float
    settle_s: float
    concurrency: int
    deadline_s: float
    claim_s: float
    pause_above_percent: float

    @classmethod
    def of(cls, settings: CyclrSettings) -> "Rules":
        return cls(
            max_attempts=settings.cyclr_max_attempts,
            retry_base_s=settings.cyclr_retry_base_s,
            settle_s=settings.cyclr_settle_s,
            concurrency=settings.cyclr_concurrency,
            deadline_s=settings.cyclr_timeout_s,
            claim_s=settings.claim_s,
            pause_above_percent=settings.cyclr_pause_above_percent,
        )


def judge(
    error: errors.CyclrError,
    call: StepKind | str,
    item: ClaimedItem,
    rules: Rules,
    *,
    may_be_there: StepKind | None,
    is_outage: bool,
    rng: random.Random,
) -> Verdict:
    """The verdict on `item` after `call` failed with `error`. 401, 404 and a name in use need further calls: see `attempt`.

    `call`: a step, or one of `READS`. `may_be_there`: the step that an earlier call may have done, where no look has shown
    that it did not.
    """
    wait_s = backoff_s(item.attempts, rules.retry_base_s, rng)
    match error:
        case errors.NotStarted():
            return Released()
        case errors.NeverSent():
            return RetryAt(wait_s, Code.UNREACHABLE, str(error), costs_attempt=not is_outage)
        case errors.Throttled():
            after_s = WITHOUT_RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
            return RetryAt(after_s, Code.THROTTLED, str(error), error.status, costs_attempt=False)
        case errors.Redirected() if _is_done_once(call):
            # A site that has done what a POST asked for answers with a redirect too.
            after_s, pause = max(wait_s, rules.settle_s), PauseReason.WRONG_API_URL
            return LookFirst(
                after_s,
                Code.REFUSED,
                str(error),
                error.status,
                costs_attempt=False,
                maybe_sent=call is CONNECTOR,
                pause=pause,
            )
        case errors.Redirected():
            return _pause(error, PauseReason.WRONG_API_URL, item, wait_s)
        case errors.CredentialsRefused():
            return _pause(error, PauseReason.PARTNER_CREDENTIALS, item, wait_s)
        case errors.Busy():
            return _after_silence(error, call, max(wait_s, error.retry_after_s), rules, costs_attempt=False)
        case errors.Refused() | errors.NotFound() | errors.NameInUse():
            return _after_refusal(error, call, may_be_there=may_be_there)
        case errors.OutcomeUnknown():
            return _after_silence(error, call, wait_s, rules, costs_attempt=not is_outage)
        case _:
            return _after_silence(error, call, wait_s, rules, costs_attempt=True)


def _is_done_once(call: StepKind | str) -> bool:
    """Whether a second call of this kind could do a thing twice: then it is never made without a look."""
    return isinstance(call, StepKind) and not call.is_repeatable


def _noun(call: StepKind | str) -> str:
    return call.noun if isinstance(call, StepKind) else READS[call]


def _pause(error: errors.CyclrError, reason: PauseReason, item: ClaimedItem, wait_s: float) -> RetryAt:
    # A cancelled job is not paused any more, so the looks that it still gets must come to an end by themselves.
    return RetryAt(
        wait_s, Code.REFUSED, str(error), error.status, costs_attempt=item.is_called_off, pause=reason
    )


def _after_silence(
    error: errors.CyclrError, call: StepKind | str, wait_s: float, rules: Rules, *, costs_attempt: bool
) -> RetryAt | LookFirst:
    if _is_done_once(call):
        # Cyclr may still be working on it: a look before `settle_s` would prove nothing.
        after_s = max(wait_s, rules.settle_s)
        return LookFirst(
            after_s,
            Code.NO_ANSWER,
            str(error),
            error.status,
            costs_attempt=costs_attempt,
            maybe_sent=call is CONNECTOR,
        )
    what = error.reason if isinstance(error, errors.OutcomeUnknown) else str(error)
    reason = f"{_noun(call)} got no clear answer: {what}"
    return RetryAt(wait_s, Code.NO_ANSWER, reason, error.status, costs_attempt=costs_attempt)


def _after_refusal(
    error: errors.Refused | errors.NotFound | errors.NameInUse,
    call: StepKind | str,
    *,
    may_be_there: StepKind | None,
) -> GiveUp:
    if call is CONNECTOR:
        # The look that `must_look` asks for came before this call, in the same attempt.
        return GiveUp(Code.REFUSED, error.message, error.status)
    message = f"Cyclr refused {_noun(call)}: {error.message}"
    if may_be_there is not None:
        message = f"{may_be_there.may_be}: {message}"
        return GiveUp(Code.OUTCOME_UNKNOWN, message, error.status, is_absent=False)
    return GiveUp(Code.REFUSED, message, error.status)
