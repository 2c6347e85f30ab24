from worker.cli.report import failure_lines
from worker.store.tallies import FailureReason

JOB_ID = "261121-k3x9qd"


def group(message: str, count: int = 1, example_row: int = 2, code: str = "refused") -> FailureReason:
    return FailureReason("3f9a0c12", code, 400, message, count, False, example_row, "acme", "Mend it.")


def test_a_reason_names_its_first_row_and_how_many_there_are() -> None:
    lines = list(failure_lines([group("Connector … is a draft.", 2, 8), group("No.", 1, 16)], 3, JOB_ID))
    assert lines == [
        "Failed, by reason:",
        "        2  3f9a0c12  refused: Connector … is a draft. (row 8 and 1 more)",
        "        1  3f9a0c12  refused: No. (row 16)",
        "What to do:",
        "  refused: Mend it.",
    ]


def test_the_largest_reasons_are_shown_first_and_the_rest_is_counted() -> None:
    groups = [group(f"reason {chr(97 + n)}", 100 - n, n + 2) for n in range(25)]
    lines = list(failure_lines(groups, 2_500, JOB_ID))
    assert lines[1] == "      100  3f9a0c12  refused: reason a (row 2 and 99 more)"
    assert len(lines) == 24
    # 100 + 99 + ... + 81 are shown.
    assert lines[-3] == "      690  for other reasons: cyclr-bulk failures 261121-k3x9qd"


def test_nothing_is_said_where_nothing_failed() -> None:
    assert list(failure_lines([], 0, JOB_ID)) == []
