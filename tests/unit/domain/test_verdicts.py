"""What becomes of a verdict once attempts are counted, and how long to wait."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.domain.states import Code, Outcome
from worker.domain.steps import CONNECTOR, Notes
from worker.domain.verdicts import (
    CalledOff,
    GiveUp,
    Installed,
    LookFirst,
    Released,
    RetryAt,
    Verdict,
    backoff_s,
    called_off,
    conclude,
    is_look_only,
    without_texts,
)

RETRY = RetryAt(3.0, Code.UNREACHABLE, "connection refused")
LOOK = LookFirst(60.0, Code.NO_ANSWER, "no answer within 30 s")
FREE_RETRY = RetryAt(1.0, Code.THROTTLED, "status 429", 429, costs_attempt=False)
FREE_LOOK = LookFirst(60.0, Code.NO_ANSWER, "status 503", 503, costs_attempt=False)
FINAL = (
    Installed(Outcome.CREATED, 7, True),
    GiveUp(Code.REFUSED, "No.", 403),
    CalledOff(),
    Released(),
)


def concluded(verdict: Verdict, attempts: int, *, must_look: bool = False) -> Verdict:
    return conclude(verdict, attempts=attempts, max_attempts=8, must_look=must_look, step=CONNECTOR)


@pytest.mark.parametrize(
    ("operation", "notes", "said"),
    [
        ("install", Notes(account_created=True), "the creation of the account was done; not installed"),
        ("install", Notes(sent="connector"), "the install got no clear answer; not installed"),
        ("install", Notes(steps_done=("connector",)), "the install was done; the rest was not done"),
        (
            "install",
            Notes(steps_done=("connector", "new_property"), sent="credential"),
            "the install was done; the adding of a property was done; the change of the credential got no clear answer;"
            " the rest was not done",
        ),
        (
            "update",
            Notes(steps_done=("property",)),
            "the change of a property was done; the rest was not done",
        ),
        (
            "update",
            Notes(sent="property"),
            "the change of a property got no clear answer; the rest was not done",
        ),
    ],
)
def test_what_is_called_off_half_way_says_what_was_done(operation: str, notes: Notes, said: str) -> None:
    end = called_off(operation, notes)
    assert isinstance(end, GiveUp)
    assert (end.code, end.can_retry_help, end.message) == (
        Code.INCOMPLETE,
        True,
        f"cancelled half way: {said}",
    )


@pytest.mark.parametrize("operation", ["install", "update"])
def test_what_is_called_off_before_it_began_is_cancelled(operation: str) -> None:
    assert called_off(operation, Notes(account_exists=True)) == CalledOff()


@pytest.mark.parametrize("verdict", [RETRY, LOOK])
def test_a_verdict_stands_while_attempts_are_left(verdict: Verdict) -> None:
    assert concluded(verdict, 6) == verdict


def test_the_last_attempt_that_was_never_sent_gives_up() -> None:
    verdict = concluded(RETRY, 7)
    assert verdict == GiveUp(
        Code.UNREACHABLE,
        "not installed, and no install was sent, in 8 attempts: connection refused",
        can_retry_help=True,
    )


def test_the_last_attempt_that_may_have_been_sent_is_looked_for() -> None:
    assert concluded(LOOK, 7) == LOOK
    verdict = concluded(RETRY, 7, must_look=True)
    assert verdict == LookFirst(3.0, Code.UNREACHABLE, "connection refused", maybe_sent=False)


@pytest.mark.parametrize("verdict", [RETRY, LOOK])
def test_where_looks_fail_as_often_again_it_may_be_installed(verdict: Verdict) -> None:
    assert not isinstance(concluded(verdict, 14, must_look=True), GiveUp)
    end = concluded(verdict, 15, must_look=True)
    assert isinstance(end, GiveUp)
    assert (end.code, end.is_absent, end.can_retry_help) == (Code.OUTCOME_UNKNOWN, False, True)
    assert end.message.startswith("may be installed, and no look at the account succeeded in 16 attempts: ")


@pytest.mark.parametrize("verdict", [FREE_RETRY, FREE_LOOK, *FINAL])
@pytest.mark.parametrize("attempts", [0, 7, 15, 1_000])
def test_what_costs_no_attempt_stands_however_often_it_comes(verdict: Verdict, attempts: int) -> None:
    assert concluded(verdict, attempts, must_look=True) == verdict


@settings(max_examples=300)
@given(
    verdict=st.sampled_from([RETRY, LOOK, FREE_RETRY, FREE_LOOK]),
    attempts=st.integers(0, 40),
    max_attempts=st.integers(1, 12),
    must_look=st.booleans(),
)
def test_nothing_that_may_be_there_ends_as_absent_without_a_look(
    verdict: Verdict, attempts: int, max_attempts: int, must_look: bool
) -> None:
    end = conclude(verdict, attempts=attempts, max_attempts=max_attempts, must_look=must_look, step=CONNECTOR)
    if isinstance(end, GiveUp) and end.is_absent:
        assert not must_look
        assert isinstance(verdict, RetryAt)


def test_installs_are_used_up_only_where_something_may_be_there() -> None:
    assert is_look_only(attempts=8, max_attempts=8, must_look=True)
    assert not is_look_only(attempts=7, max_attempts=8, must_look=True)
    assert not is_look_only(attempts=8, max_attempts=8, must_look=False)


@settings(max_examples=300)
@given(attempts=st.integers(0, 2_000), base_s=st.floats(0.01, 60), seed=st.integers())
def test_backoff_is_never_longer_than_five_minutes(attempts: int, base_s: float, seed: int) -> None:
    assert 0 <= backoff_s(attempts, base_s, random.Random(seed)) <= 300


@pytest.mark.parametrize(("attempts", "ceiling_s"), [(0, 1), (1, 2), (3, 8), (8, 256), (9, 300), (500, 300)])
def test_backoff_doubles_and_uses_its_whole_range(attempts: int, ceiling_s: float) -> None:
    rng = random.Random(1)
    waits = [backoff_s(attempts, 1.0, rng) for _ in range(500)]
    assert max(waits) <= ceiling_s
    assert max(waits) > 0.95 * ceiling_s
    assert min(waits) < 0.05 * ceiling_s


def test_a_verdict_without_texts_keeps_what_was_decided() -> None:
    installed = Installed(Outcome.ADOPTED, 7, True, ("api_key",), message="\x00")
    assert without_texts(installed) == Installed(Outcome.ADOPTED, 7, True)
    assert without_texts(GiveUp(Code.REFUSED, "\x00", 403, is_absent=False)) == GiveUp(
        Code.UNSTORABLE_ANSWER, "Cyclr refused, in words that could not be stored", 403, is_absent=False
    )
    plain = without_texts(LOOK)
    assert isinstance(plain, LookFirst)
    assert (plain.reason, plain.after_s) == ("an answer that could not be stored", 60.0)
    assert without_texts(Released()) == Released()
