from typing import Any

import pytest

from tests.clocks import HeldClock
from tests.unit.cli.making import job
from worker.cli.progress import Rate, describe, open_display
from worker.store.jobs import JobStatus


def test_says_how_many_and_how_long() -> None:
    now = job(total=1_500, installed=1_200, failed=8, tried=1_211)
    assert describe(now, 97.4, "") == "1,200 installed, 8 failed, 3 retrying, 97.4/s, 3 s left"


def test_says_no_rate_and_no_time_before_there_is_one() -> None:
    assert describe(job(), 0.0, "") == "0 installed, 0 failed, 0 retrying"


def test_rows_that_are_held_back_take_no_time() -> None:
    now = job(total=1_500, held=1_000, installed=400, tried=400)
    assert describe(now, 10.0, "") == "400 installed, 0 failed, 0 retrying, 10.0/s, 10 s left"


def test_says_what_the_limiter_says() -> None:
    assert describe(job(), 0.0, "Cyclr asked for a pause, 3 s left") == (
        "0 installed, 0 failed, 0 retrying, Cyclr asked for a pause, 3 s left"
    )


def test_the_rate_is_that_of_the_last_fifteen_seconds() -> None:
    clock = HeldClock()
    rate = Rate(clock)
    rate.see(0)
    for second in range(1, 41):
        clock.go_on(1)
        # 100 a second for 20 s, then 10 a second.
        rate.see(100 * second if second <= 20 else 2_000 + 10 * (second - 20))
    assert rate.per_second() == 10.0


def shown_lines(capsys: pytest.CaptureFixture[str], clock: HeldClock, jobs: list[JobStatus]) -> Any:
    with open_display(clock, is_terminal=False) as display:
        for each in jobs:
            display.show(each, "")
            clock.go_on(5)
    return capsys.readouterr()


def test_without_a_terminal_a_plain_line_is_said_every_ten_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = [job(installed=count, tried=count) for count in (0, 50, 100, 150, 200)]
    said = shown_lines(capsys, HeldClock(), done)
    assert said.out == ""
    assert said.err.splitlines() == [
        "261121-k3x9qd: 0 of 1,500 done: 0 installed, 0 failed, 0 retrying",
        "261121-k3x9qd: 100 of 1,500 done: 100 installed, 0 failed, 0 retrying, 10.0/s, 2 min 20 s left",
        "261121-k3x9qd: 200 of 1,500 done: 200 installed, 0 failed, 0 retrying, 10.0/s, 2 min 10 s left",
    ]


def test_held_rows_are_not_counted_as_to_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown_lines(capsys, HeldClock(), [job(total=40, held=35)])
    assert said.err == "261121-k3x9qd: 0 of 5 done: 0 installed, 0 failed, 0 retrying\n"
