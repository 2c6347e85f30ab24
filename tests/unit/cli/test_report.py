from dataclasses import replace
from pathlib import Path

from tests.unit.cli.making import job
from worker.cli.report import (
    in_the_way_lines,
    problem_lines,
    standing_lines,
    unfinished_lines,
    warning_lines,
    ways_lines,
)
from worker.domain.options import RunOptions
from worker.domain.rows import Problem, Warning_
from worker.domain.states import JobState, PauseReason
from worker.store.tallies import OutcomeCount


def test_problems_are_listed_and_counted() -> None:
    assert list(
        problem_lines([Problem(14, "account_id", "expected an account id, got an empty cell")], 1)
    ) == [
        "  row 14, column account_id: expected an account id, got an empty cell",
        "1 problem.",
    ]


def test_the_first_thousand_problems_are_listed_and_all_are_counted() -> None:
    problems = [Problem(n, None, f"wrong {n}") for n in range(1_001)]
    lines = list(problem_lines(problems, 40_000))
    assert len(lines) == 1_001
    assert lines[-2:] == ["  row 999: wrong 999", "40,000 problems, of which these are the first 1,000."]


def test_problems_of_many_rows_are_one_line_and_all_are_counted() -> None:
    problem = Problem(2, "api_key", "expected a credential", 51_299, ((2, 51_300),))
    assert list(problem_lines([problem], 51_299)) == [
        "  rows 2-51300, column api_key: expected a credential (51,299 rows)",
        "51,299 problems.",
    ]


def test_jobs_in_the_way_are_named_with_all_ways_on() -> None:
    jobs = [(job(total=40, state=JobState.PAUSED, pause_reason=PauseReason.INTERRUPTED), 38)]
    assert list(in_the_way_lines(jobs, others=2, again="run this file again")) == [
        "38 rows of this file are still to be done by job 261121-k3x9qd of accounts.csv,",
        "0 of 40 rows done, paused (the command was interrupted).",
        "Let it go on to its end, then run this file again:",
        "  cyclr-bulk resume 261121-k3x9qd",
        "Or end it, then run this file again (nothing is installed twice):",
        "  cyclr-bulk cancel 261121-k3x9qd",
        "Or add --skip-invalid to install only the other 2 rows.",
    ]
    assert list(in_the_way_lines([(job(), 1)], others=0, again="run this file again"))[2:4] == [
        "Let it end, then run this file again:",
        "  cyclr-bulk watch 261121-k3x9qd",
    ]


def test_all_warnings_are_listed_up_to_a_thousand() -> None:
    warnings = [Warning_(None, f"c{n}", "unknown, it is ignored") for n in range(1_001)]
    lines = list(warning_lines(warnings, 1_001))
    assert lines[0] == "  warning: column c0: unknown, it is ignored"
    assert lines[999:] == ["  warning: column c999: unknown, it is ignored", "  and 1 other warning"]


def test_counts_name_only_what_there_is() -> None:
    done = job(total=3, installed=3, state=JobState.COMPLETED)
    assert list(standing_lines(done, None)) == ["3 done, 0 failed."]
    assert list(standing_lines(done, [OutcomeCount("created", 3, {})])) == ["3 created, 0 failed."]
    assert list(standing_lines(replace(done, to_authorise=1), None)) == [
        "3 done, 0 failed.",
        "  waiting:    1 row for the customer's authorisation",
    ]


def test_counts_name_everything_there_is() -> None:
    now = job(total=6_000, installed=2_000, failed=1_000, cancelled=5, refused=7, skipped=1_200)
    outcomes = [
        OutcomeCount("created", 1_204, {}),
        OutcomeCount("recovered", 794, {"api_key": 310, "property.Region": 2}),
        OutcomeCount("later_word", 2, {}),
    ]
    assert list(standing_lines(replace(now, to_authorise=1_500), outcomes)) == [
        "1,204 created, 794 recovered, 2 later word, 1,000 failed, 5 cancelled,"
        " 7 refused at intake, 1,200 done by an earlier job, 2,995 not done yet.",
        "  changed:    api_key (310), property.Region (2)",
        "  waiting:    1,500 rows for the customer's authorisation",
    ]


def test_an_unfinished_job_is_named_with_its_file_and_why_it_stands() -> None:
    jobs = [
        job(total=1, state=JobState.PAUSED, pause_reason=PauseReason.FIRST_ROWS),
        job(installed=1_000, source_name="other.csv"),
    ]
    assert list(unfinished_lines(jobs)) == [
        "Left alone: job 261121-k3x9qd of accounts.csv, 0 of 1 row done, paused (the first rows asked for are done).",
        "Left alone: job 261121-k3x9qd of other.csv, 1,000 of 1,500 rows done, running.",
    ]


def test_each_thing_that_a_rule_left_alone_has_its_command() -> None:
    options = RunOptions(no_look=True, skip_invalid=True, connector="Northwind Mail")
    codes = {"refused", "present_under_other_name", "differs", "method_unknown"}
    assert [line for line in ways_lines(codes, Path("a.results.csv"), options) if line.startswith("  ")] == [
        "  cyclr-bulk run a.results.csv --connector 'Northwind Mail' --overwrite",
        "  cyclr-bulk run a.results.csv --connector 'Northwind Mail' --beside",
        "  cyclr-bulk run a.results.csv --connector 'Northwind Mail' --assume-method",
    ]
    assert list(ways_lines({"refused"}, Path("a.results.csv"), options)) == []


def test_what_an_update_does_not_find_is_installed_by_a_run() -> None:
    update = RunOptions(operation="update", replace_tokens=True)
    assert list(ways_lines({"not_there"}, Path("keys.results.csv"), update)) == [
        "To install what is not there:",
        "  cyclr-bulk run keys.results.csv",
    ]
    assert list(ways_lines({"not_there"}, Path("keys.results.csv"), update, is_deployed=True))[1] == (
        "  cyclr-bulk submit keys.results.csv"
    )
