from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.domain.states import JobState, PauseReason
from worker.jobs.views import Going
from worker.store.jobs import InHand, JobStatus
from worker.store.tallies import FailureReason, PacePoint
from worker.web.pages.progress import JobShown, PaceKnown

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
JOB = JobStatus(
    id="261122-bcdfgh",
    instance_id="i",
    api_host="api.example.com",
    operation="install",
    state=JobState.RUNNING,
    pause_reason=None,
    source_name="spring.csv",
    delimiter=",",
    columns=("account_id",),
    total=100,
    held=0,
    installed=40,
    failed=2,
    cancelled=0,
    tried=45,
    refused=0,
    skipped=0,
    created_at=NOW - timedelta(minutes=5),
    started_at=NOW - timedelta(minutes=4),
    finished_at=None,
)


def point(ago_s: int, installed: int, failed: int = 0) -> PacePoint:
    return PacePoint(NOW - timedelta(seconds=ago_s), 1, installed, failed)


def counts(look: JobShown) -> dict[str, int]:
    return {part.name: part.count for part in look.parts}


def test_the_parts_say_where_every_row_is_and_count_none_twice():
    look = JobShown(replace(JOB, held=10), NOW, in_hand=InHand(fresh=5, tried=1))
    assert counts(look) == {
        "installed": 40,
        "failed": 2,
        "in-hand": 6,
        "retrying": 2,
        "waiting": 40,
        "held": 10,
    }
    assert look.in_words == "40 done, 2 failed, 6 in hand, 2 retrying, 40 waiting, 10 held back"


def test_rows_that_wait_for_their_customers_stand_beside_those_that_do_not():
    look = JobShown(replace(JOB, total=50, installed=40, failed=2, cancelled=8, to_authorise=15), NOW)
    assert look.in_words == "25 done, 15 done, to be authorised, 2 failed, 8 cancelled"
    look = JobShown(replace(JOB, total=15, installed=15, failed=0, to_authorise=15), NOW)
    assert look.in_words == "15 done, to be authorised, 0 failed"


@pytest.mark.parametrize(
    ("counts", "badge", "kind", "heading"),
    [
        ({}, ("completed", "completed"), "good", "Every row is done."),
        (
            {"to_authorise": 100},
            ("to-authorise", "completed, to be authorised"),
            "",
            "Every row is done; all still to be authorised by their customers.",
        ),
        (
            {"to_authorise": 1},
            ("to-authorise", "completed, to be authorised"),
            "",
            "Every row is done; 1 still to be authorised by its customer.",
        ),
        (
            {"installed": 97, "failed": 3, "to_authorise": 40},
            ("failed", "completed with failures"),
            "bad",
            "Ended: 3 of 100 rows failed.",
        ),
        (
            {"installed": 97, "cancelled": 3},
            ("completed", "completed"),
            "",
            "Ended: 3 of 100 rows cancelled.",
        ),
        (
            {"refused": 2},
            ("refused", "completed, rows left out"),
            "warn",
            "Ended: 2 rows of the file left out.",
        ),
    ],
)
def test_only_a_job_in_which_all_is_well_ends_in_green(counts, badge, kind, heading):
    done = replace(JOB, state=JobState.COMPLETED, installed=100, failed=0, finished_at=NOW)
    look = JobShown(replace(done, **counts), NOW)
    assert look.advice is not None
    assert (look.badge, look.advice.kind, look.advice.heading) == (badge, kind, heading)


@settings(max_examples=200)
@given(
    final=st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)),
    left=st.integers(0, 50),
    tried=st.integers(0, 250),
    held=st.integers(0, 60),
    fresh=st.integers(0, 60),
    again=st.integers(0, 60),
)
def test_the_parts_add_up_whatever_moved_between_two_readings(final, left, tried, held, fresh, again):
    installed, failed, cancelled = final
    job = replace(
        JOB,
        total=sum(final) + left,
        installed=installed,
        failed=failed,
        cancelled=cancelled,
        tried=tried,
        held=held,
    )
    look = JobShown(job, NOW, in_hand=InHand(fresh, again))
    assert sum(part.count for part in look.parts) == job.total
    assert all(part.count >= 0 for part in look.parts)
    assert sum(segment.width for segment in look.bar) == pytest.approx(100 if job.total else 0, abs=0.05)


def test_one_row_of_a_hundred_thousand_is_seen_in_the_bar():
    look = JobShown(replace(JOB, total=100_000, installed=99_999, failed=1, tried=100_000), NOW)
    assert [(segment.name, segment.x, segment.width) for segment in look.bar] == [
        ("installed", 0.0, 99.4),
        ("failed", 99.4, 0.6),
    ]


@pytest.mark.parametrize(
    ("installed", "said"), [(0, "2.0 %"), (97, "99.0 %"), (98, "100 %")], ids=["few", "nearly all", "all"]
)
def test_the_share_is_100_per_cent_only_when_no_row_is_left(installed, said):
    assert JobShown(replace(JOB, installed=installed), NOW).percent_done == said


def test_nearly_all_is_not_rounded_up_to_all():
    assert JobShown(replace(JOB, total=100_000, installed=99_997), NOW).percent_done == "99.9 %"


def test_rate_and_time_left_are_said_where_they_are_known():
    look = JobShown(JOB, NOW, going=Going(3.0, 19.3))
    assert (look.rate, look.rate_note) == ("3/s", "rows, in the last half minute")
    assert (look.time_left, look.time_left_note) == ("about 19 s", "58 to go")


def test_without_a_row_that_ended_lately_no_time_left_is_invented():
    look = JobShown(JOB, NOW, pace_points=[point(200, 500)])
    assert (look.rate, look.rate_note, look.time_left) == ("–", "no row ended lately", None)
    assert look.stands_still is True


def test_a_job_that_ended_took_the_time_in_which_it_ran():
    ended = NOW - timedelta(minutes=3)
    job = replace(JOB, state=JobState.COMPLETED, installed=98, finished_at=ended, worked_s=82.0)
    look = JobShown(job, NOW, going=Going(1.2), pace_points=[point(200, 98)])
    assert (look.rate, look.rate_note, look.time_left) == ("1.2/s", "rows, on average", None)
    assert look.took == "1 min 22 s"
    assert look.stands_still is False


def test_a_job_that_is_being_written_says_no_number_of_rows():
    look = JobShown(replace(JOB, state=JobState.LOADING, total=0, installed=0, failed=0, tried=0), NOW)
    assert look.summary == "its rows are being written"
    assert look.is_loading is True


@pytest.mark.parametrize(
    ("changes", "deeds"),
    [
        ({}, ["pause", "cancel"]),
        ({"state": JobState.PAUSED, "pause_reason": PauseReason.PERSON}, ["resume", "cancel"]),
        ({"state": JobState.LOADING}, []),
        ({"state": JobState.COMPLETED, "finished_at": NOW}, []),
        ({"state": JobState.CANCELLED}, []),
        ({"state": JobState.CANCELLED, "finished_at": NOW}, ["retry"]),
    ],
)
def test_only_what_the_state_allows_is_offered(changes, deeds):
    look = JobShown(replace(JOB, **changes), NOW)
    assert [deed for deed, _, _ in look.deeds] == deeds


@pytest.mark.parametrize("reason", PauseReason)
def test_every_pause_says_what_to_do(reason):
    advice = JobShown(replace(JOB, state=JobState.PAUSED, pause_reason=reason), NOW).advice
    assert advice is not None
    assert advice.heading.endswith(".")
    assert advice.text.endswith(".")
    assert "--" not in advice.text


def test_each_reason_has_its_message_what_to_do_and_its_key():
    groups = [
        FailureReason(
            "3f9a0c12",
            "refused",
            400,
            "the account is suspended",
            1,
            False,
            9,
            "a",
            "Mend what the message names, then retry.",
        ),
        FailureReason(
            "81bc0e77",
            "name_in_use",
            None,
            "taken",
            1,
            False,
            4,
            "b",
            "Give the row another name in the result file, and hand that in as a new job.",
        ),
    ]
    look = JobShown(replace(JOB, failed=12), NOW, failures=groups)
    first, second = look.failures
    assert (first.reason, first.title, first.message) == (
        "3f9a0c12",
        "Cyclr refused it for good",
        "the account is suspended",
    )
    assert (second.title, second.example_row) == ("the name is taken in the account", 4)
    assert look.other_failures == 10


def test_the_pace_has_a_point_for_every_moment_also_where_nothing_ended():
    pace = JobShown(JOB, NOW, pace_points=[point(4, 10), point(1, 20, 1)]).pace
    began = int(NOW.timestamp()) - 4
    assert pace["at"] == [began, began + 1, began + 2, began + 3]
    assert pace["installed"] == [10, 0, 0, 20]
    assert pace["failed"] == [0, 0, 0, 1]
    assert pace["is_whole"] is True


def test_a_page_that_has_the_chart_is_sent_what_is_new_of_it():
    began = int(NOW.timestamp()) - 4
    points = [point(4, 10), point(2, 15), point(1, 20, 1)]
    known = JobShown(JOB, NOW, pace_points=points, pace_known=PaceKnown.from_text(f"1-{began + 2}")).pace
    assert (known["is_whole"], known["at"], known["installed"]) == (False, [began + 2, began + 3], [15, 20])
    # Where its points are of another width now, it is sent anew.
    wider = JobShown(JOB, NOW, pace_points=points, pace_known=PaceKnown.from_text(f"2-{began}")).pace
    assert (wider["is_whole"], len(wider["at"])) == (True, 4)


@pytest.mark.parametrize("text", ["", "1", "-", "1-", "x-5", "1-²", "1-99999999999999"])
def test_what_a_page_says_of_its_chart_may_be_anything(text):
    assert PaceKnown.from_text(text) is None


def test_what_a_screen_reader_hears_changes_at_each_quarter_only():
    said = {JobShown(replace(JOB, installed=count), NOW).said for count in range(24, 47)}
    assert said == {"The job is running, 25 % of its rows are done."}
