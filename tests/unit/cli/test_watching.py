from worker.cli.watching import limiter_note, what_holds_back
from worker.cyclr.slots import LimiterState
from worker.domain.pace import Pace

OWN, ANOTHER = Pace(10, 10), Pace(2, 50)


def test_nothing_is_said_of_a_limit_that_is_used_in_full() -> None:
    assert limiter_note(LimiterState(10, OWN, 0, 0)) == ""


def test_another_ones_rate_is_said() -> None:
    state = LimiterState(2, ANOTHER, 0, 0)
    text = "at 2 calls/s (set by another process that shares the limit; this one has 50)"
    assert (limiter_note(state), what_holds_back(state)) == (text, "")


def test_what_holds_the_calls_back_goes_first() -> None:
    assert (
        limiter_note(LimiterState(1.4, ANOTHER, 0, 0)) == "slowed to 1.4 calls/s for a while, as Cyclr asked"
    )
    assert limiter_note(LimiterState(7, OWN, 12, 0)) == "Cyclr asked for a pause, 12 s left"
    assert limiter_note(LimiterState(7, OWN, 12, 2)) == "Cyclr does not answer, trying again in 12 s"
