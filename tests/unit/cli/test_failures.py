from worker.cli.failures import failure_lines, merge
from worker.store.jobs import FailureGroup


def group(message: str, count: int = 1, example_row: int = 2, code: str = "refused") -> FailureGroup:
    return FailureGroup(code, message, count, example_row)


def test_messages_that_differ_in_a_quoted_name_are_one_reason_with_the_first_row() -> None:
    taken = "the Name '{}' is taken in this account by another connector, 'Tidewater Ledger'"
    lines = list(
        failure_lines(
            [
                group(taken.format("Northwind Mail"), 3, 75, "name_in_use"),
                group(taken.format("O'Brien's Mail"), 1, 12, "name_in_use"),
            ],
            4,
        )
    )
    assert lines == [
        "Failed, by reason:",
        "        4  name_in_use: the Name '…' is taken in this account by another connector, 'Tidewater Ledger'"
        " (row 12 and 3 more)",
    ]


def test_messages_that_differ_in_a_number_or_an_id_are_one_reason() -> None:
    reasons = merge(
        [
            group("Connector 5122 is a draft in account customer-0001.", 1, 9),
            group("Connector 88 is a draft in account 2d077583-5c99-535b-9adc-c19b82e79859.", 1, 8),
        ]
    )
    assert [(r.message, r.count, r.example_row) for r in reasons] == [
        ("Connector … is a draft in account ….", 2, 8)
    ]


def test_a_message_of_its_own_stays_as_it_is() -> None:
    lines = list(failure_lines([group("The plan includes 3 connectors.", 1, 16)], 1))
    assert lines == ["Failed, by reason:", "        1  refused: The plan includes 3 connectors. (row 16)"]


def test_an_apostrophe_in_a_word_is_no_quote() -> None:
    reasons = merge(
        [group("The account's plan doesn't allow it."), group("The account's plan doesn't exist.")]
    )
    assert [r.message for r in reasons] == [
        "The account's plan doesn't allow it.",
        "The account's plan doesn't exist.",
    ]


def test_different_codes_are_different_reasons() -> None:
    assert len(merge([group("same", code="refused"), group("same", code="no_answer")])) == 2


def test_the_largest_reasons_are_shown_first_and_the_rest_is_counted() -> None:
    groups = [group(f"reason {chr(97 + n)}", 100 - n, n + 2) for n in range(25)]
    lines = list(failure_lines(groups, 2_500))
    assert lines[1] == "      100  refused: reason a (row 2 and 99 more)"
    assert len(lines) == 22
    # 100 + 99 + ... + 81 are shown.
    assert lines[-1] == "      690  for other reasons: the result file names them"


def test_nothing_is_said_where_nothing_failed() -> None:
    assert list(failure_lines([], 0)) == []
