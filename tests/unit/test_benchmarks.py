"""What the benchmarks make of what they measured."""

import pytest

from tests.benchmarks.limiter import is_bounded, share_of
from tests.benchmarks.reports import MEASURES, compare
from tests.benchmarks.speed import Figures
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
    assert [name for name in (*MEASURES, "before") if f"<!-- {name}: written by" not in page] == []


def run_of(cpu_s: float, commits: float, *, updates: float = 2.0) -> Figures:
    costs = {"updates of items": updates, "commits": commits, "transactions": 0.2, "commands of Redis": 0.1}
    return Figures(1_000.0, cpu_s, 200.0, costs)


def test_today_may_cost_what_the_commit_before_cost_in_one_of_its_runs() -> None:
    before = [run_of(1.0, 0.03), run_of(1.0, 0.05), run_of(1.0, 0.04)]
    assert [line.has_passed for line in compare([run_of(1.05, 0.05)], before).lines] == [True] * 4
    today = [run_of(1.06, 0.06, updates=2.1)]
    assert [line.has_passed for line in compare(today, before).lines] == [False, False, False, True]


def test_where_the_commit_before_is_not_in_the_history_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFORE", "0123abc")
    report = compare([run_of(1.0, 0.03)], [])
    assert report.rows == [["the commit before, 0123abc: not in the history of this checkout"]]
    assert report.lines == []
