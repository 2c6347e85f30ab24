from tests.unit.intake.making import source
from worker.intake import ResultRow, iter_result_lines


def written(columns, rows, **how):
    lines = list(iter_result_lines(columns, rows, **how))
    assert len(lines) == 1 + len(rows)
    return "".join(lines)


def test_writes_the_columns_of_the_input_and_then_the_results():
    row = ResultRow(
        ("acme", "a, b"),
        *("j1", "2", "done", "updated", "", "fine", "54321", "1", "yes", "description", "api_key", "no"),
    )
    assert written(("Account ID", "note"), [row]) == (
        "\ufeffAccount ID,note,_job,_row,_state,_outcome,_code,_message,_account_connector_id,_attempts,"
        "_authenticated,_differs,_changed,_account_created\r\n"
        'acme,"a, b",j1,2,done,updated,,fine,54321,1,yes,description,api_key,no\r\n'
    )


def test_the_result_columns_of_an_earlier_file_are_written_anew():
    row = ResultRow(("j0", "acme", "9", "mine"), "j1", "2", "failed")
    assert written(("_job", "account_id", "_row", "_id"), [row]).splitlines() == [
        "\ufeffaccount_id,_id,_job,_row,_state,_outcome,_code,_message,_account_connector_id,_attempts,"
        "_authenticated,_differs,_changed,_account_created",
        "acme,mine,j1,2,failed,,,,,,,,,",
    ]


def test_formulas_are_escaped_in_cells_headers_and_messages():
    row = ResultRow(("=1+1",), "j1", "2", "failed", message="@SUM(A1)")
    text = written(("+note",), [row])
    assert text.splitlines()[0].startswith("\ufeff'+note,")
    assert text.splitlines()[1] == "'=1+1,j1,2,failed,,,'@SUM(A1),,,,,,"


def test_keeps_the_delimiter_of_the_input_so_that_it_is_found_again():
    text = written(("account_id", "note"), [ResultRow(("acme", "a,b"), "j1", "2", "failed")], delimiter=";")
    found = source(text)
    assert found.delimiter == ";"
    assert [line.cells[:2] for line in found.lines()] == [("acme", "a,b")]
