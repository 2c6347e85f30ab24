"""The retry table: what the failure of a call means for its item."""

import random
from dataclasses import dataclass
from typing import Literal

from worker.cyclr import errors
from worker.domain.states import Code, PauseReason
from worker.domain.verdicts import GiveUp, LookFirst, Released, RetryAt, Verdict, backoff_s
from worker.store.claiming import ClaimedItem

# `install` is the one call that puts something into an account which must not be there twice. The others
# read, or (create_account) cannot do a thing twice, since the id of the account is ours.
Call = Literal["look", "account", "create_account", "connector", "install"]

WITHOUT_RETRY_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that decide about retries. `settle_s`: how long Cyclr may go on working after we stopped listening."""

    max_attempts: int
    retry_base_s: float
    settle_s: float


def judge(
    error: errors.CyclrError,
    call: Call,
    item: ClaimedItem,
    rules: Rules,
    *,
    is_outage: bool,
    rng: random.Random,
) -> Verdict:
    """The verdict on `item` after `call` failed with `error`. 401, 404 and a name in use need further calls: see `attempt`."""
    wait_s = backoff_s(item.attempts, rules.retry_base_s, rng)
    match error:
        case errors.NotStarted():
            return Released()
        case errors.NeverSent():
            return RetryAt(wait_s, Code.UNREACHABLE, str(error), costs_attempt=not is_outage)
        case errors.Throttled():
            after_s = WITHOUT_RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
            return RetryAt(after_s, Code.THROTTLED, str(error), error.status, costs_attempt=False)
        case errors.Redirected():
            return RetryAt(
                0,
                Code.REFUSED,
                str(error),
                error.status,
                costs_attempt=False,
                pause=PauseReason.WRONG_API_URL,
            )
        case errors.CredentialsRefused():
            pause = PauseReason.PARTNER_CREDENTIALS
            return RetryAt(0, Code.REFUSED, str(error), error.status, costs_attempt=False, pause=pause)
        case errors.Busy():
            return _after_silence(error, call, max(wait_s, error.retry_after_s), rules, costs_attempt=False)
        case errors.OutcomeUnknown():
            return _after_silence(error, call, wait_s, rules, costs_attempt=not is_outage)
        case errors.Refused() | errors.NotFound() | errors.NameInUse():
            return _after_refusal(error, call, item)
        case _:
            return _after_silence(error, call, wait_s, rules, costs_attempt=True)


def _after_silence(
    error: errors.CyclrError, call: Call, wait_s: float, rules: Rules, *, costs_attempt: bool
) -> RetryAt | LookFirst:
    if call == "install":
        # Cyclr may still be working on it: a look before `settle_s` would prove nothing.
        after_s = max(wait_s, rules.settle_s)
        return LookFirst(after_s, Code.NO_ANSWER, str(error), error.status, costs_attempt=costs_attempt)
    return RetryAt(wait_s, Code.NO_ANSWER, str(error), error.status, costs_attempt=costs_attempt)


def _after_refusal(
    error: errors.Refused | errors.NotFound | errors.NameInUse, call: Call, item: ClaimedItem
) -> GiveUp:
    match call:
        case "install":
            # The look that `must_look` asks for came before this call, in the same attempt.
            return GiveUp(Code.REFUSED, error.message, error.status)
        case "create_account":
            message = f"the account could not be created: {error.message}"
            return GiveUp(Code.REFUSED, message, error.status, is_absent=not item.must_look)
        case _ if item.must_look:
            message = f"may be installed: Cyclr refuses a look at the account: {error.message}"
            return GiveUp(Code.OUTCOME_UNKNOWN, message, error.status, is_absent=False)
        case _:
            return GiveUp(Code.REFUSED, f"Cyclr refuses a look at the account: {error.message}", error.status)
