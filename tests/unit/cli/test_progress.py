from typing import Any

import pytest

from tests.clocks import HeldClock
from tests.unit.cli.making import job
from worker.cli.watching import describe, open_display
from worker.jobs.views import Going
from worker.store.jobs import JobStatus


def test_says_how_many_and_how_long() -> None:
    now = job(total=1_500, installed=1_200, failed=8, tried=1_211)
    assert describe(now, Going(97.4, 3.0), "") == "1,200 done, 8 failed, 3 retrying, 97.4/s, 3 s left"


def test_says_no_rate_and_no_time_before_there_is_one() -> None:
    assert describe(job(), Going(), "") == "0 done, 0 failed, 0 retrying"


def test_says_a_rate_before_a_time_left_means_something() -> None:
    assert describe(job(), Going(10.0), "") == "0 done, 0 failed, 0 retrying, 10/s"


def test_says_what_the_limiter_says() -> None:
    assert describe(job(), Going(), "nobody calls Cyclr for another 3 s, as Cyclr asked") == (
        "0 done, 0 failed, 0 retrying, nobody calls Cyclr for another 3 s, as Cyclr asked"
    )


def shown_lines(capsys: pytest.CaptureFixture[str], clock: HeldClock, jobs: list[JobStatus]) -> Any:
    with open_display(clock, is_terminal=False) as display:
        for each in jobs:
            display.show(each, Going(10.0, 140.0) if each.final else Going(), "")
            clock.go_on(5)
    return capsys.readouterr()


def test_without_a_terminal_a_plain_line_is_said_every_ten_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = [job(installed=count, tried=count) for count in (0, 50, 100, 150, 200)]
    said = shown_lines(capsys, HeldClock(), done)
    assert said.out == ""
    assert said.err.splitlines() == [
        "261121-k3x9qd: 0 of 1,500: 0 done, 0 failed, 0 retrying",
        "261121-k3x9qd: 100 of 1,500: 100 done, 0 failed, 0 retrying, 10/s, 2 min 20 s left",
        "261121-k3x9qd: 200 of 1,500: 200 done, 0 failed, 0 retrying, 10/s, 2 min 20 s left",
    ]


def test_held_rows_are_not_counted_as_to_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown_lines(capsys, HeldClock(), [job(total=40, held=35)])
    assert said.err == "261121-k3x9qd: 0 of 5: 0 done, 0 failed, 0 retrying\n"
