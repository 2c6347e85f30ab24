"""The table of docs/file-format.md: what a value is worth in which column."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.intake.values import find_doubt, findings, is_plain, is_spreadsheet_error

P, W, N = "problem", "warning", None
#                     Name  texts credential property
ROWS = {
    "#N/A": (P, P, P, P),
    "#ref!": (P, P, P, P),
    "#NV": (P, P, P, P),
    "#BEZUG!": (P, P, P, P),
    "#ÜBERLAUF!": (P, P, P, P),
    "#NOM?": (P, P, P, P),
    "#SPILL!": (P, P, P, P),
    "Err:502": (P, P, P, P),
    '="00123"': (P, P, W, W),
    '="say ""hi"""': (P, P, W, W),
    "'00123": (W, N, N, N),
    "'t Winkeltje": (W, N, N, N),
    "NULL": (W, W, W, N),
    "None": (W, W, W, N),
    "nan": (W, W, W, N),
    "TRUE": (W, W, W, N),
    "wahr": (W, W, W, N),
    "a\u200bb": (P, W, P, P),
    "\ufeffab": (P, W, P, P),
    "a\u00adb": (P, W, P, P),
    "a\u2060b": (P, W, P, P),
    "a\u2028b": (P, P, P, P),
    "a\u2029b": (P, P, P, P),
    "a\u00a0b": (W, N, P, P),
    "a\u202fb": (W, N, P, P),
    "می\u200cخواهم": (N, N, W, W),
    "a\u202eb": (N, N, W, W),
    "12345.0": (N, N, N, N),
    "=A1": (N, N, N, N),
    "#1001": (N, N, N, N),
    "Nonesuch": (N, N, N, N),
    "O'Neil": (N, N, N, N),
    "Truman & Sons": (N, N, N, N),
}
COLUMNS = {
    "name": 0,
    "description": 1,
    "account_name": 1,
    "reference": 1,
    "api_key": 2,
    "password": 2,
    "property.Dc": 3,
}


@pytest.mark.parametrize("value", ROWS)
@pytest.mark.parametrize("column", COLUMNS)
def test_each_value_has_its_weight_in_each_column(column, value):
    expected = ROWS[value][COLUMNS[column]]
    assert [weight for weight, _ in findings(column, value)] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("value", "weight"), [("#N/A", P), ('="00123"', P), ("'00457", P), ("12345.0", N), ("acme-1", N)]
)
def test_an_account_id_that_begins_like_a_formula_is_a_problem(value, weight):
    assert [weight for weight, _ in findings("account_id", value)] == ([weight] if weight else [])


@pytest.mark.parametrize("column", ["connector", "connector_version", "authentication"])
def test_an_error_is_a_problem_wherever_a_value_is_read(column):
    assert [weight for weight, _ in findings(column, "#REF!")] == [P]


def test_nothing_of_a_value_is_shown_but_what_no_secret_can_be():
    shown = [reason for value in ROWS for _, reason in findings("api_key", value)]
    assert not [reason for reason in shown if "00123" in reason or "hi" in reason]
    assert "(#N/A)" in shown[0]


@pytest.mark.parametrize(
    "account_id",
    [
        *(
            "12345.0",
            "12345,0",
            "12,345",
            "12.345",
            "1 234 567",
            "1'234",
            "NULL",
            "null",
            "nan",
            "NaN",
            "TRUE",
            "FALSE",
        ),
        *(
            "01/03/2026",
            "1-Mar",
            "2026-03-01 00:00:00",
            "2026-03-01",
            "01.03.2026",
            "1. Mär",
            "Mar-26",
            "3/1/26",
            "1-Mar-26",
        ),
        *("2026-03-01T00:00:00Z", "01. Mai 2026", "mars 2026", "undefined", "None"),
    ],
)
def test_an_id_that_a_spreadsheet_or_a_program_may_have_made_is_doubted(account_id):
    assert f"'{account_id}'" in find_doubt(account_id)


@pytest.mark.parametrize(
    "account_id",
    [
        *(
            "acme-1",
            "00123",
            "123",
            "12345",
            "1.2",
            "12.34",
            "1-11",
            "192.168.0.1",
            "snjallgogn.is",
            "JO-Test-1234567890",
        ),
        *(
            "2d077583-5c99-535b-9adc-c19b82e79859",
            "Nonesuch",
            "mar-tech",
            "may",
            "march-1",
            "dec12ab",
            "1e5",
            "12-34",
        ),
    ],
)
def test_an_ordinary_id_is_not(account_id):
    assert find_doubt(account_id) is None


VALUE = st.sampled_from(["", "acme", "O'Neil", "x#1", "Ernie", "eggs", *ROWS])


@given(st.lists(VALUE, min_size=1, max_size=4).map(tuple))
def test_a_line_that_is_plain_has_no_findings(cells):
    text = "|" + "|".join(cells)
    if text.isprintable() and is_plain(cells, text):
        assert not [
            found
            for column in (*COLUMNS, "connector")
            for cell in cells
            if cell
            for found in findings(column, cell)
        ]


def test_an_ordinary_line_is_plain():
    cells = ("acme-1", "Maple Notes", "key-1", "O'Neil & Söhne #4", "")
    assert is_plain(cells, "|" + "|".join(cells))


@pytest.mark.parametrize("text", ["#", "# N/A", "#1001", "#N/A!", "err", "Error:"])
def test_what_only_begins_like_an_error_is_none(text):
    assert not is_spreadsheet_error(text)
