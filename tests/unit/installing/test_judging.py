"""The retry table as a pure function: one test for each decision."""

import random

import pytest

from tests.unit.installing.making import claimed_item
from worker.cyclr import errors
from worker.domain.states import Code, PauseReason
from worker.domain.steps import ACCOUNT, CONNECTOR, CREDENTIAL, NEW_PROPERTY, PROPERTY, StepKind
from worker.domain.verdicts import GiveUp, LookFirst, Released, RetryAt, Verdict, conclude
from worker.installing.judging import Rules, judge

RULES = Rules(
    max_attempts=8,
    retry_base_s=1.0,
    settle_s=60.0,
    concurrency=250,
    deadline_s=30.0,
    claim_s=60.0,
    pause_above_percent=20,
)
OTHER_CALLS: tuple[StepKind | str, ...] = ("look", "account", ACCOUNT, "connector", PROPERTY, CREDENTIAL)
EVERY_CALL: tuple[StepKind | str, ...] = (CONNECTOR, NEW_PROPERTY, *OTHER_CALLS)
UNKNOWN = errors.OutcomeUnknown("status 500: An error has occurred.", 500)


def judged(
    error: errors.CyclrError,
    call: StepKind | str = CONNECTOR,
    *,
    may_be_there: StepKind | None = None,
    is_outage: bool = False,
    **fields: object,
) -> Verdict:
    return judge(
        error,
        call,
        claimed_item(**fields),
        RULES,
        may_be_there=may_be_there,
        is_outage=is_outage,
        rng=random.Random(1),
    )


@pytest.mark.parametrize("call", EVERY_CALL)
@pytest.mark.parametrize("error", [errors.SlotMissed(), errors.GateClosed(3.0), errors.LimiterAway()])
def test_what_was_not_started_is_given_back(error: errors.CyclrError, call: StepKind | str) -> None:
    assert judged(error, call) == Released()


@pytest.mark.parametrize("call", EVERY_CALL)
def test_what_was_never_sent_is_tried_again_and_costs_an_attempt(call: StepKind | str) -> None:
    verdict = judged(errors.NeverSent("connection refused"), call, attempts=2)
    assert isinstance(verdict, RetryAt)
    assert (verdict.code, verdict.costs_attempt, verdict.pause) == (Code.UNREACHABLE, True, None)
    assert 0 <= verdict.after_s <= 4.0


@pytest.mark.parametrize("call", EVERY_CALL)
def test_a_failure_in_an_outage_costs_no_attempt(call: StepKind | str) -> None:
    for error in (errors.NeverSent("connection refused"), UNKNOWN):
        verdict = judged(error, call, is_outage=True)
        assert isinstance(verdict, RetryAt | LookFirst)
        assert not verdict.costs_attempt


@pytest.mark.parametrize(("retry_after_s", "after_s"), [(7.0, 7.0), (None, 1.0)])
def test_a_429_waits_as_long_as_cyclr_says_and_costs_no_attempt(
    retry_after_s: float | None, after_s: float
) -> None:
    verdict = judged(errors.Throttled(retry_after_s))
    assert isinstance(verdict, RetryAt)
    assert (verdict.after_s, verdict.code, verdict.http_status) == (after_s, Code.THROTTLED, 429)
    assert not verdict.costs_attempt


def test_a_busy_install_is_looked_for_after_the_longer_of_both_waits_and_costs_no_attempt() -> None:
    for retry_after_s, after_s in ((7.0, 60.0), (90.0, 90.0)):
        verdict = judged(errors.Busy(retry_after_s))
        assert isinstance(verdict, LookFirst)
        assert (verdict.after_s, verdict.costs_attempt, verdict.maybe_sent) == (after_s, False, True)


@pytest.mark.parametrize("error", [UNKNOWN, errors.CyclrError("one that nobody has thought of")])
def test_an_install_with_an_unknown_outcome_is_looked_for_once_cyclr_has_settled(
    error: errors.CyclrError,
) -> None:
    verdict = judged(error)
    assert isinstance(verdict, LookFirst)
    assert (verdict.after_s, verdict.code, verdict.costs_attempt) == (60.0, Code.NO_ANSWER, True)


@pytest.mark.parametrize(
    "error",
    [UNKNOWN, errors.Busy(7.0), errors.Redirected(302), errors.CyclrError("one that nobody has thought of")],
)
def test_the_adding_of_a_property_is_looked_for_and_makes_no_connector(error: errors.CyclrError) -> None:
    verdict = judged(error, NEW_PROPERTY)
    assert isinstance(verdict, LookFirst)
    # What a look finds of the target is not this call's doing.
    assert (verdict.after_s, verdict.maybe_sent) == (60.0, False)


@pytest.mark.parametrize("call", OTHER_CALLS)
def test_another_call_with_an_unknown_outcome_is_only_tried_again(call: StepKind | str) -> None:
    verdict = judged(UNKNOWN, call)
    assert isinstance(verdict, RetryAt)
    assert (verdict.code, verdict.http_status, verdict.costs_attempt) == (Code.NO_ANSWER, 500, True)
    assert verdict.after_s <= 1.0


def test_the_reason_names_the_call_that_got_no_answer() -> None:
    verdict = judged(UNKNOWN, "look")
    assert isinstance(verdict, RetryAt)
    assert verdict.reason == (
        "the look at what the account has installed got no clear answer: status 500: An error has occurred."
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.Redirected(302), PauseReason.WRONG_API_URL),
        (errors.CredentialsRefused(400), PauseReason.PARTNER_CREDENTIALS),
    ],
)
def test_what_is_wrong_for_every_row_pauses_the_job(error: errors.CyclrError, reason: PauseReason) -> None:
    verdict = judged(error, "look")
    assert isinstance(verdict, RetryAt)
    assert (verdict.pause, verdict.costs_attempt) == (reason, False)
    # A cancelled job cannot be paused.
    verdict = judged(error, "look", is_called_off=True)
    assert isinstance(verdict, RetryAt)
    assert verdict.costs_attempt


def test_an_install_that_is_answered_with_a_redirect_may_have_been_done() -> None:
    verdict = judged(errors.Redirected(303))
    assert isinstance(verdict, LookFirst)
    assert (verdict.pause, verdict.after_s) == (PauseReason.WRONG_API_URL, 60.0)
    assert (verdict.costs_attempt, verdict.maybe_sent) == (False, True)


def test_a_refused_install_is_given_up_in_cyclrs_words() -> None:
    for may_be_there in (None, CONNECTOR):
        verdict = judged(errors.Refused(403, "The plan is used up."), may_be_there=may_be_there)
        assert verdict == GiveUp(Code.REFUSED, "The plan is used up.", 403)


@pytest.mark.parametrize("call", OTHER_CALLS)
@pytest.mark.parametrize("error", [errors.Refused(403, "No."), errors.NotFound("No.")])
def test_a_refused_call_leaves_open_what_was_open_before(
    error: errors.CyclrError, call: StepKind | str
) -> None:
    verdict = judged(error, call)
    assert isinstance(verdict, GiveUp)
    assert (verdict.code, verdict.is_absent) == (Code.REFUSED, True)
    verdict = judged(error, call, may_be_there=CONNECTOR)
    assert isinstance(verdict, GiveUp)
    assert (verdict.code, verdict.is_absent) == (Code.OUTCOME_UNKNOWN, False)
    assert verdict.message.startswith("may be installed: ")


def test_each_step_is_spoken_of_by_its_own_name() -> None:
    lost = judged(UNKNOWN, CREDENTIAL, attempts=7)
    assert isinstance(lost, RetryAt)
    assert lost.reason == (
        "the change of the credential got no clear answer: status 500: An error has occurred."
    )
    # Eight that got no answer are eight that may have been done.
    eighth = conclude(lost, attempts=7, max_attempts=8, must_look=True, step=CREDENTIAL)
    assert isinstance(eighth, LookFirst)
    end = conclude(lost, attempts=15, max_attempts=8, must_look=True, step=CREDENTIAL)
    assert isinstance(end, GiveUp)
    assert end.code == Code.OUTCOME_UNKNOWN
    assert end.message.startswith(
        "the credential may have been changed, and no look at the account succeeded in 16 attempts: "
    )
    unsent = conclude(
        judged(errors.NeverSent("connection refused"), CREDENTIAL),
        attempts=7,
        max_attempts=8,
        must_look=False,
        step=CREDENTIAL,
    )
    assert isinstance(unsent, GiveUp)
    assert unsent.message == (
        "the credential was not changed, and no change of the credential was sent, in 8 attempts: "
        "Cyclr was not reached: connection refused"
    )
    refused = judged(errors.Refused(403, "No."), "look", may_be_there=CREDENTIAL)
    assert isinstance(refused, GiveUp)
    assert refused.message == (
        "the credential may have been changed: Cyclr refused the look at what the account has installed: No."
    )
