"""What the benchmarks make of what they measured."""

import pytest

from tests.benchmarks.limiter import is_bounded, share_of
from tests.benchmarks.reports import MEASURES
from tests.benchmarks.tables import PAGE, Line, Report


def test_calls_at_exactly_the_rate_after_a_burst_are_within_the_bound() -> None:
    times = [0.0] * 10 + [n / 50 for n in range(1, 1_000)]
    assert is_bounded(times, 50, 10)


def test_a_window_with_one_call_too_many_is_seen() -> None:
    # In no time at all 10 + 50 x 0.5 calls may come.
    steady = [10 + n / 50 for n in range(100)]
    assert is_bounded([5.0] * 35 + steady, 50, 10)
    assert not is_bounded([5.0] * 36 + steady, 50, 10)


def test_the_share_is_of_the_steady_part() -> None:
    half = [n / 25 for n in range(25 * 20)]
    assert share_of(half, 50, 10) == pytest.approx(0.5)
    assert share_of([0.0] * 500 + half + [19.9] * 500, 50, 10) == pytest.approx(0.5)


def test_a_line_that_is_missed_is_marked() -> None:
    lines = [Line("a", "at most 1", "2", False), Line("b", "at most 3", "2", True)]
    report = Report("speed", {}, ("what", "s"), [["x", "1"]], lines)
    assert report.table() == (
        "| what | s |\n| --- | --- |\n| x | 1 |\n\n"
        "| must reach | got |  |\n| --- | --- | --- |\n| at most 1 | 2 | **missed** |\n| at most 3 | 2 | ✓ |"
    )


def test_every_measure_has_its_place_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in MEASURES if f"<!-- {name}: written by" not in page] == []
