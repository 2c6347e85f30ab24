from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.cli.making import JOB as NEW
from worker.domain.pace import NextStep
from worker.domain.states import JobState
from worker.jobs.views import Going, how_it_goes
from worker.store.tallies import PacePoint

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


JOB = replace(NEW, total=100, installed=40, failed=2, tried=45, started_at=ago(240), working_since=ago(240))


def point(ago_s: int, installed: int, failed: int = 0, *, over_s: int = 1) -> PacePoint:
    return PacePoint(ago(ago_s), over_s, installed, failed)


def step(
    *, due_in_s: float | None = None, gate_closed_for_s: float = 0.0, last_due_in_s: float | None = None
) -> NextStep:
    return NextStep(0, None, due_in_s, gate_closed_for_s, False, last_due_in_s)


def test_the_rate_is_that_of_the_last_half_minute_failures_too():
    points = [point(200, 500), point(20, 30), point(2, 50, 10)]
    # 58 rows at 3 a second.
    assert how_it_goes(JOB, points, None, NOW) == Going(3.0, 58 / 3)


def test_what_it_took_until_the_first_row_ended_is_no_pace():
    begun = replace(JOB, started_at=ago(25), working_since=ago(25), total=1_042)
    assert how_it_goes(begun, [point(10, 100)], None, NOW) == Going(10.0, 100.0)


def test_a_stretch_after_a_pause_has_a_pace_of_its_own():
    resumed = replace(JOB, working_since=ago(12))
    assert how_it_goes(resumed, [point(20, 900), point(10, 20)], None, NOW) == Going(2.0, 29.0)


def test_without_a_row_that_ended_lately_nothing_is_said():
    assert how_it_goes(JOB, [point(200, 500)], None, NOW) == Going(0.0, None)


@pytest.mark.parametrize(
    ("points", "rate"),
    [([point(9, 90)], 10.0), ([point(20, 2), point(10, 2)], 4 / 30), ([point(0, 7)], 7.0)],
    ids=["for nine seconds", "four rows", "in this moment"],
)
def test_a_time_left_is_said_once_it_means_something(points, rate):
    long_running = [point(230, 1)]
    job = replace(JOB, working_since=ago(240)) if len(points) > 1 else replace(JOB, working_since=ago(15))
    known = long_running + points if len(points) > 1 else points
    assert how_it_goes(job, known, None, NOW) == Going(rate, None)


def test_no_time_left_is_earlier_than_the_next_due_row():
    nearly = replace(JOB, installed=95)
    points = [point(200, 36), point(20, 30), point(2, 30)]
    # 3 rows at 2 a second.
    assert how_it_goes(nearly, points, step(due_in_s=43), NOW).seconds_left == 44.5
    assert how_it_goes(nearly, points, step(due_in_s=-3), NOW).seconds_left == 1.5
    assert how_it_goes(nearly, points, step(due_in_s=1, gate_closed_for_s=60), NOW).seconds_left == 61.5


def test_no_time_left_is_earlier_than_the_last_due_row_either():
    nearly = replace(JOB, installed=95)
    points = [point(200, 36), point(20, 30), point(2, 30)]
    waits = step(due_in_s=-1, last_due_in_s=43)
    assert how_it_goes(nearly, points, waits, NOW).seconds_left == 43


def test_rows_that_are_held_back_take_no_time():
    points = [point(200, 36), point(20, 30), point(2, 30)]
    assert how_it_goes(replace(JOB, held=58), points, None, NOW) == Going(2.0, None)
    assert how_it_goes(replace(JOB, held=48), points, None, NOW) == Going(2.0, 5.0)


def test_a_job_that_rests_has_no_pace():
    paused = replace(JOB, state=JobState.PAUSED, working_since=None, worked_s=100.0)
    assert how_it_goes(paused, [point(2, 60)], None, NOW) == Going()


def test_a_job_that_ended_has_the_average_of_its_work_without_what_was_cancelled():
    ended = replace(
        JOB, state=JobState.CANCELLED, cancelled=58, finished_at=ago(5), worked_s=21.0, working_since=None
    )
    assert how_it_goes(ended, [], None, NOW) == Going(2.0, None)


def test_a_job_works_while_it_runs():
    assert JOB.worked_for_s(NOW) == 240
    assert replace(JOB, worked_s=82.0, working_since=None).worked_for_s(NOW) == 82
    assert replace(JOB, worked_s=82.0, working_since=ago(5)).worked_for_s(NOW) == 87


def test_a_job_that_is_being_written_has_no_number_of_rows_yet():
    assert replace(NEW, state=JobState.LOADING, total=0).done_in_words == "its rows are being written"
    assert JOB.done_in_words == "42 of 100 rows done"
