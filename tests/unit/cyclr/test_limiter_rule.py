from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.limits import KEPT_GATE, SECOND, assert_within_bound, limits, questions, rates, scripts
from worker.cyclr.limiter_rule import Limit, Reply, Rule

START = 1_700_000_000 * SECOND


class Talk:
    """A rule, the time, and ten calls a second with a burst of ten."""

    def __init__(self, rate: float = 10.0, burst: int = 10) -> None:
        self.rule = Rule()
        self.now = START
        self.rate = rate
        self.burst = burst

    def ask(self, question: str, *given: int, by: Limit | None = None) -> Reply:
        """`by`: the limit of another process."""
        return self.rule.ask(self.now, question, by or Limit(self.rate, self.burst), *given)

    def wait(self, seconds: float) -> "Talk":
        self.now += round(seconds * SECOND)
        return self

    def rested(self) -> "Talk":
        self.ask("restore", 0)
        return self.wait(10)

    def reserve(self, wanted: int, within_s: float = 1.0, *, by: Limit | None = None) -> list[float]:
        reply = self.ask("reserve", wanted, round(within_s * SECOND), by=by)
        return [max(0, reply.first_in + k * reply.interval) / SECOND for k in range(reply.granted)]


@settings(max_examples=300, deadline=None)
@given(rates, st.integers(1, 30), scripts)
def test_no_window_of_slots_is_above_burst_and_rate(rate: float, burst: int, script: list[Any]) -> None:
    talk = Talk(rate, burst)
    slots: list[float] = []
    for pause, (question, *given_) in script:
        talk.now += pause
        if question == "flush":
            talk.rule = Rule()
        else:
            reply = talk.ask(question, *given_)
            if question == "reserve":
                slots += [
                    (talk.now - START + max(0, reply.first_in + k * reply.interval)) / SECOND
                    for k in range(reply.granted)
                ]
            if reply.is_fresh:
                talk.ask("restore", KEPT_GATE if question == "close" else 0)
    assert_within_bound(slots, rate=rate, burst=burst, slack_s=0.0)


@settings(max_examples=200, deadline=None)
@given(rates, st.integers(1, 30), st.integers(0, 3 * SECOND), st.integers(1, 100))
def test_no_window_is_above_the_bound_across_a_clean_stop(
    rate: float, burst: int, pause: int, wanted: int
) -> None:
    talk = Talk(rate, burst).rested()
    talk.wait(1000)
    before = [talk.now / SECOND + wait for wait in talk.reserve(wanted, 0.0)]
    talk.now += pause
    talk.rule = Rule()
    talk.ask("idle")
    talk.ask("restore", 0)
    after = [talk.now / SECOND + wait for wait in talk.reserve(wanted, 2.0)]
    assert_within_bound(before + after, rate=rate, burst=burst, slack_s=1e-5)


def test_a_rested_limiter_gives_a_burst_at_once_and_then_the_rate() -> None:
    assert Talk(10, 3).rested().reserve(6) == [0, 0, 0, 0.1, 0.2, 0.3]


def test_gives_no_slot_beyond_the_time_asked_for_nor_beyond_two_seconds() -> None:
    assert len(Talk(10, 1).rested().reserve(100, 1.0)) == 11
    assert len(Talk(10, 1).rested().reserve(100, 60.0)) == 21


def test_says_when_the_next_slot_is_free() -> None:
    talk = Talk(10, 1).rested()
    talk.reserve(3)
    assert talk.ask("read").next_in == 300_000


def test_a_lost_state_holds_everybody_back_until_no_earlier_reservation_can_be_out() -> None:
    talk = Talk(10, 10)
    talk.ask("restore", 0)
    assert talk.reserve(100, 2.0) == []
    assert talk.ask("read").next_in == 2_250_000
    assert talk.wait(2.25).reserve(3) == [0, 0.1, 0.2]


def test_a_lost_state_gives_no_slot_before_the_kept_gate_is_given_back() -> None:
    talk = Talk()
    assert talk.ask("read").is_fresh
    assert talk.wait(60).reserve(5) == []
    talk.ask("restore", 7 * SECOND)
    assert talk.ask("read").gate_in == 7 * SECOND
    assert not talk.ask("read").is_fresh
    assert talk.wait(7).reserve(3) == [0, 0.1, 0.2]


def test_after_a_clean_stop_nobody_waits_but_the_bucket_is_empty() -> None:
    talk = Talk()
    talk.ask("idle")
    talk.ask("restore", 0)
    assert talk.reserve(3) == [0.1, 0.2, 0.3]


def test_a_clean_stop_of_one_changes_nothing_for_the_others() -> None:
    talk = Talk().rested()
    talk.reserve(30, 2.0)
    talk.ask("idle")
    assert talk.reserve(1, 2.0) == []


def test_a_gate_lets_nobody_start_and_opens_with_an_empty_bucket() -> None:
    talk = Talk().rested()
    talk.ask("close", 3 * SECOND, 0, 0)
    assert talk.reserve(5, 2.0) == []
    assert talk.wait(2.95).reserve(3, 0.3) == [0.05, 0.15, 0.25]


def test_a_gate_is_only_ever_prolonged_and_never_beyond_an_hour() -> None:
    talk = Talk().rested()
    talk.ask("close", 30 * SECOND, 0, 0)
    assert talk.ask("close", 3 * SECOND, 0, 0).gate_in == 30 * SECOND
    assert talk.ask("restore", 3 * SECOND).gate_in == 30 * SECOND
    assert talk.ask("close", 90_000 * SECOND, 0, 0).gate_in == 3_600 * SECOND


def test_each_gate_of_cyclr_leaves_seventy_percent_once() -> None:
    talk = Talk().rested()
    assert talk.ask("close", SECOND, 1, 0).rate_per_second == 7.0
    assert talk.ask("close", SECOND, 1, 0).rate_per_second == 7.0
    assert round(talk.wait(1).ask("close", SECOND, 1, 0).rate_per_second, 6) == 4.9


def test_a_late_answer_to_a_call_from_before_the_gate_slows_nothing_down() -> None:
    talk = Talk().rested()
    talk.ask("close", SECOND, 1, 0)
    reply = talk.wait(2).ask("close", SECOND, 1, 3 * SECOND)
    assert round(reply.rate_per_second, 3) == round(7.0 + 10 / 600, 3)
    assert reply.gate_in == SECOND


def test_the_rate_grows_back_by_a_tenth_of_the_configured_rate_a_minute_once_the_gate_is_open() -> None:
    talk = Talk().rested()
    talk.ask("close", 10 * SECOND, 1, 0)
    assert talk.wait(10).ask("read").rate_per_second == 7.0
    assert talk.wait(60).ask("read").rate_per_second == 8.0
    assert talk.wait(600).ask("read").rate_per_second == 10.0


def test_the_rate_falls_no_lower_than_one_call_in_two_seconds_or_the_configured_rate() -> None:
    talk, slow = Talk(10).rested(), Talk(0.2).rested()
    for _ in range(20):
        lowest = talk.wait(1).ask("close", SECOND // 2, 1, 0).rate_per_second
        lowest_of_slow = slow.wait(1).ask("close", SECOND // 2, 1, 0).rate_per_second
    assert lowest == 0.5
    assert lowest_of_slow == 0.2


def test_throttling_that_names_no_time_waits_a_second_and_doubles_to_five_minutes() -> None:
    talk = Talk().rested()
    waits = []
    for _ in range(11):
        gate_in = talk.ask("close", 0, 1, 0).gate_in
        waits.append(gate_in // SECOND)
        talk.now += gate_in
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_only_a_success_of_a_call_from_after_the_gate_ends_the_doubling() -> None:
    talk = Talk().rested()
    talk.ask("close", 0, 1, 0)
    talk.wait(1).ask("succeed", 2 * SECOND)
    assert talk.ask("close", 0, 1, 0).gate_in == 2 * SECOND
    talk.wait(2).ask("succeed", 0)
    assert talk.ask("close", 0, 1, 0).gate_in == SECOND


def test_answers_to_calls_in_flight_do_not_double_the_pause() -> None:
    talk = Talk().rested()
    talk.ask("close", 0, 1, 0)
    talk.wait(0.5).ask("close", 0, 1, SECOND)
    assert talk.ask("read").gate_in == SECOND
    talk.wait(1.0).ask("close", 0, 1, 3 * SECOND)
    assert talk.ask("read").gate_in == SECOND


def test_an_outage_closes_the_gate_for_five_seconds_and_doubles_with_each_failed_probe() -> None:
    talk = Talk().rested()
    waits = []
    for _ in range(9):
        gate_in = talk.ask("fail", 1, 0).gate_in
        waits.append(gate_in // SECOND)
        talk.now += gate_in
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_one_failure_is_no_outage_but_a_failed_probe_is() -> None:
    talk = Talk().rested()
    assert talk.ask("fail", 0, 0).level == 0
    talk.ask("fail", 1, 0)
    assert talk.wait(5).ask("fail", 0, 0).level == 2


def test_failures_of_calls_from_before_the_gate_closed_do_not_double_it() -> None:
    talk = Talk().rested()
    talk.ask("fail", 1, 0)
    assert talk.wait(1).ask("fail", 1, 2 * SECOND).level == 1
    assert talk.wait(5).ask("fail", 1, 10 * SECOND).level == 1


def test_one_call_probes_after_an_outage_and_its_success_lets_all_go_on() -> None:
    talk = Talk().rested()
    talk.ask("fail", 1, 0)
    name = talk.wait(5).ask("reserve", 50, SECOND).probe
    assert name > 0
    assert talk.ask("probe", name, 35 * SECOND).granted == 1
    assert talk.wait(34).reserve(50) == []
    talk.ask("succeed", 30 * SECOND)
    assert talk.reserve(3) == [0, 0.1, 0.2]


def test_a_success_of_a_call_from_before_the_outage_does_not_end_it() -> None:
    talk = Talk().rested()
    talk.ask("fail", 1, 0)
    assert talk.wait(5).ask("succeed", 6 * SECOND).level == 1


def test_a_probe_that_is_never_begun_is_given_to_another_soon() -> None:
    talk = Talk().rested()
    talk.ask("fail", 1, 0)
    first = talk.wait(5).ask("reserve", 1, SECOND)
    assert talk.ask("reserve", 1, SECOND).granted == 0
    second = talk.wait(0.3).ask("reserve", 1, SECOND)
    assert (first.granted, second.granted) == (1, 1)
    assert talk.ask("probe", first.probe, SECOND).granted == 0
    assert talk.ask("probe", second.probe, SECOND).granted == 1


def test_a_probe_without_an_answer_is_repeated_when_its_time_is_over() -> None:
    talk = Talk().rested()
    talk.ask("fail", 1, 0)
    talk.ask("probe", talk.wait(5).ask("reserve", 1, SECOND).probe, 35 * SECOND)
    assert len(talk.wait(35).reserve(5)) == 1


def test_a_clock_that_is_set_back_neither_stops_the_calls_nor_opens_the_gate() -> None:
    talk = Talk().rested()
    talk.reserve(10)
    talk.ask("close", 3 * SECOND, 0, 0)
    talk.wait(-3600)
    assert talk.ask("read").gate_in == 3 * SECOND
    assert talk.wait(3).reserve(2) == [0, 0.1]


LOW, HIGH = Limit(2.0, 4), Limit(50.0, 20)


def with_limits(*asked: Limit) -> Talk:
    talk = Talk().rested()
    for limit in asked:
        talk.ask("reserve", 0, SECOND, by=limit)
    return talk


def in_force(talk: Talk) -> tuple[float, int]:
    """The rate, and how many slots a rested limiter gives at once."""
    rate = talk.ask("read").configured_per_second
    talk.wait(29)
    at_once = len(talk.reserve(100, 0.0, by=Limit(rate, 1_000, is_rate_set=False, is_burst_set=False)))
    return rate, at_once


def test_the_lowest_rate_and_the_lowest_burst_of_those_that_reserve_are_in_force() -> None:
    assert in_force(with_limits(HIGH, LOW)) == (2.0, 4)
    assert in_force(with_limits(LOW, HIGH)) == (2.0, 4)
    assert in_force(with_limits(Limit(2.0, 10), Limit(50.0, 3))) == (2.0, 3)


def test_what_nobody_set_does_not_count_beside_what_was_set() -> None:
    default = Limit(10.0, 10, is_rate_set=False, is_burst_set=False)
    assert in_force(with_limits(HIGH, default)) == (50.0, 20)
    assert in_force(with_limits(default, HIGH)) == (50.0, 20)
    only_its_burst = Limit(10.0, 3, is_rate_set=False)
    assert in_force(with_limits(HIGH, only_its_burst)) == (50.0, 3)


def test_among_defaults_the_lowest_counts() -> None:
    older = Limit(5.0, 6, is_rate_set=False, is_burst_set=False)
    newer = Limit(10.0, 10, is_rate_set=False, is_burst_set=False)
    assert in_force(with_limits(newer, older)) == (5.0, 6)


def test_a_limit_is_forgotten_thirty_seconds_after_it_was_last_reserved_with() -> None:
    talk = with_limits(LOW)
    talk.wait(20).ask("reserve", 1, SECOND, by=LOW)
    talk.wait(15).ask("reserve", 1, SECOND, by=HIGH)
    assert talk.wait(14.999_999).ask("read", by=HIGH).configured_per_second == 2.0
    assert talk.wait(0.000_001).ask("read", by=HIGH).configured_per_second == 50.0


def test_who_only_looks_does_not_count_and_sees_the_limit_of_those_who_call() -> None:
    talk = with_limits(HIGH)
    for question, *given_ in (("read",), ("succeed", 0), ("probe", 1, SECOND), ("restore", 0), ("idle",)):
        assert talk.ask(question, *given_, by=LOW).configured_per_second == 50.0
    assert talk.wait(30).ask("read", by=LOW).configured_per_second == 2.0


def test_who_announces_a_limit_counts_and_takes_nothing() -> None:
    talk = with_limits(HIGH)
    reply = talk.ask("announce", by=LOW)
    assert (reply.granted, reply.configured_per_second) == (0, 2.0)
    assert talk.ask("read", by=HIGH).configured_per_second == 2.0


def test_a_lower_limit_begins_with_an_empty_bucket_once_what_was_given_before_is_over() -> None:
    talk = with_limits(HIGH).wait(29)
    before = talk.reserve(60, by=HIGH)
    assert before[:20] == [0.0] * 20
    assert round(before[-1], 3) == 0.8
    # The slot after these would have come at 0.82; one of them may be used at 1.05.
    assert [round(each, 3) for each in talk.reserve(60, 2.0, by=LOW)] == [1.32, 1.82]


def test_a_slot_that_may_be_used_late_is_over_too_before_a_lower_limit_begins() -> None:
    talk = with_limits(HIGH)
    talk.reserve(10, by=HIGH)
    lower = Limit(40.0, 20)
    assert round(talk.reserve(1, by=lower)[0], 3) == 0.25


def test_a_lower_burst_alone_waits_as_well() -> None:
    talk = with_limits(HIGH)
    assert talk.reserve(20, 0.0, by=HIGH) == [0.0] * 20
    assert round(talk.reserve(1, by=Limit(50.0, 3))[0], 3) == 0.27


def test_a_rate_that_was_slowed_grows_on_from_where_it_was_when_a_lower_limit_came_and_went() -> None:
    talk = with_limits(HIGH)
    talk.ask("close", SECOND, 1, 0, by=HIGH)
    talk.wait(1)
    talk.ask("announce", by=LOW)
    assert talk.ask("read").rate_per_second == 2.0
    # A minute at the lower limit: it has grown by a tenth of that.
    for _ in range(3):
        talk.wait(20).ask("announce", by=LOW)
    talk.wait(30)
    assert round(talk.ask("reserve", 0, SECOND, by=HIGH).rate_per_second, 6) == 35 + 0.3


def test_a_clock_that_is_set_back_lets_no_limit_count_for_longer() -> None:
    talk = with_limits(LOW, HIGH)
    talk.wait(-3600).ask("read")
    assert talk.wait(29).ask("read", by=HIGH).configured_per_second == 2.0
    assert talk.wait(1).ask("read", by=HIGH).configured_per_second == 50.0


@settings(max_examples=300, deadline=None)
@given(
    limits,
    limits,
    st.lists(st.integers(1, 300), max_size=5),
    st.lists(st.tuples(st.integers(0, SECOND), st.booleans(), questions), max_size=30),
)
def test_from_the_first_slot_of_a_lower_limit_on_no_window_is_above_it(
    first: Limit, second: Limit, before: list[int], script: list[Any]
) -> None:
    """Whoever asks: it stays known, since its process asks or announces every second, and after a flush too."""
    talk = Talk().rested()
    given_before = [
        talk.now + SECOND * wait for wanted in before for wait in talk.reserve(wanted, 2.0, by=first)
    ]
    slots: list[float] = []
    talk.ask("announce", by=second)
    for pause, is_first, (question, *given_) in script:
        talk.now += pause
        if question == "flush":
            talk.rule = Rule()
            talk.ask("restore", 0, by=first)
            talk.ask("reserve", 1, 2 * SECOND, by=first)
            continue
        talk.ask("announce", by=second)
        reply = talk.ask(question, *given_, by=first if is_first else second)
        if question == "reserve":
            slots += [
                (talk.now - START + max(0, reply.first_in + k * reply.interval)) / SECOND
                for k in range(reply.granted)
            ]
    assert_within_bound(slots, rate=second.per_second, burst=second.burst, slack_s=0.0)
    if slots and (second.per_second < first.per_second or second.burst < first.burst):
        assert all((at - START) / SECOND + 0.25 <= min(slots) + 1e-6 for at in given_before)
