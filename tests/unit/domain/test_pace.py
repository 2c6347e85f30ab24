from dataclasses import replace

import pytest

from worker.domain.pace import LimiterState, NextStep, Pace, why_it_waits
from worker.domain.server_faults import Server, ServerFault
from worker.domain.states import JobState

OWN, ANOTHER = Pace(10, 10), Pace(2, 50)
DUE = NextStep(0, None, -60.0, 0.0, is_anybody_working=False)


def test_a_pace_of_another_process_says_so() -> None:
    assert str(OWN) == "10 calls/s"
    assert str(ANOTHER) == "2 calls/s (set by another process that shares the limit; this one has 50)"


@pytest.mark.parametrize("pace", [OWN, ANOTHER])
def test_nothing_holds_back_a_limit_that_is_used_in_full(pace: Pace) -> None:
    state = LimiterState(pace.per_second, pace, 0, 0)
    assert (state.may_call, state.holds_back) == (True, "")


def test_what_holds_the_calls_back_is_said_in_one_sentence() -> None:
    assert (
        LimiterState(1.4, ANOTHER, 0, 0).holds_back
        == "slowed to 1.4 of 2 calls/s for a while, as Cyclr asked"
    )
    assert LimiterState(7, OWN, 120, 0).holds_back == "nobody calls Cyclr for another 2 min, as Cyclr asked"
    assert LimiterState(7, OWN, 12, 2).holds_back == "Cyclr does not answer; it is tried again in 12 s"
    fault = ServerFault(Server.CYCLR, "timeout", "no answer within 30 s")
    assert (
        LimiterState(7, OWN, 300, 2, fault).holds_back
        == "Cyclr does not answer (timeout): no answer within 30 s; it is tried again in 5 min"
    )
    assert not LimiterState(7, OWN, 12, 0).may_call


@pytest.mark.parametrize(("now", "figure"), [(0.5, "0.5"), (0.035, "0.035"), (0.04, "0.04"), (1, "1")])
def test_a_rate_however_low_is_never_said_to_be_none(now: float, figure: str) -> None:
    text = LimiterState(now, OWN, 0, 0).holds_back
    assert text == f"slowed to {figure} of 10 calls/s for a while, as Cyclr asked"


@pytest.mark.parametrize(
    ("state", "text"),
    [(JobState.LOADING, "its rows are being written"), (JobState.PAUSED, ""), (JobState.COMPLETED, "")],
)
def test_a_job_that_does_not_run_waits_for_no_worker(state: JobState, text: str) -> None:
    assert why_it_waits(state, DUE) == text


def test_workers_are_starting_until_one_of_them_was_seen() -> None:
    due = replace(DUE, due_in_s=-1.0, workers_began_ago_s=4.0)
    assert due.are_workers_starting
    assert replace(due, seen_ago_s=5.0).are_workers_starting  # one of an earlier command
    assert not replace(due, seen_ago_s=3.0).are_workers_starting
    assert not replace(due, workers_began_ago_s=61.0).are_workers_starting
    assert not replace(due, workers_began_ago_s=None).are_workers_starting
