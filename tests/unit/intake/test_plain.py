"""The short way to read a row and the rules themselves."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.intake.test_any_file import CELL, HEADER
from worker.domain.options import RunOptions
from worker.intake.columns import read_header
from worker.intake.files import Line
from worker.intake.plain import RowReader
from worker.intake.rows import read_row

USUAL = st.sampled_from(
    ("", "", "acme", "MailChimp", "key-5f1c", "user", "a:b", "Later", "x" * 51, "x" * 251)
)
COLUMNS = [name for name in HEADER if not name.startswith("_")]


@st.composite
def tables(draw):
    columns = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=8, unique=True))
    is_result = draw(st.booleans()) and draw(st.booleans())
    columns = ["account_id", *(c for c in columns if c != "account_id")] + [
        "_job",
        "_row",
        "_state",
    ] * is_result
    filled = draw(st.lists(st.booleans(), min_size=len(columns), max_size=len(columns)))
    cell = USUAL | CELL.map(str.strip)
    row = st.tuples(*(cell if is_filled else st.just("") for is_filled in filled))
    return columns, draw(st.lists(row, min_size=1, max_size=6))


def both_ways(columns, rows, options):
    header, problems, _ = read_header(columns)
    assert problems == ()
    reader = RowReader(header, options)
    for number, cells in enumerate(rows, start=2):
        line = Line(number, tuple(cells))
        yield reader.read(line), read_row(line, header, options)


@settings(max_examples=400)
@given(
    table=tables(),
    connector=st.sampled_from([None, "MailChimp"]),
    operation=st.sampled_from(["install", "install", "update"]),
)
@example(
    table=(["account_id", "authentication", "api_key"], [("a", "x", "k"), ("a", "\uff4cater", "k")]),
    connector="C",
    operation="install",
)
@example(
    table=(["account_id", "username", "password"], [("a", "u", "p"), ("a", "u:u", "p")]),
    connector="C",
    operation="install",
)
@example(
    table=(["account_id", "api_key"], [("a", "k"), ("1.5e+12", "k"), ("a", "[Not Exported]")]),
    connector="C",
    operation="install",
)
@example(
    table=(["account_id", "api_key"], [("a", "k"), ("b\u200b", "k"), ("x" * 201, "k")]),
    connector="C",
    operation="install",
)
@example(
    table=(["account_id", "api_key", "account_name"], [("a", "k", ""), ("b", "", ""), ("c", "k", "C")]),
    connector="C",
    operation="update",
)
def test_give_the_same_row_or_the_same_problems(table, connector, operation) -> None:
    columns, rows = table
    for short, long in both_ways(columns, rows, RunOptions(connector=connector, operation=operation)):
        assert short == long
        assert getattr(short, "row", None) == getattr(long, "row", None)


def test_a_line_like_the_one_before_it_is_read_without_the_rules(monkeypatch) -> None:
    header, _, _ = read_header(["account_id", "connector", "api_key", "property.Pin"])
    reader = RowReader(header, RunOptions())
    first = reader.read(Line(2, ("acme", "MailChimp", "key-1", "1")))
    monkeypatch.delattr("worker.intake.plain.read_row")
    second = reader.read(Line(3, ("beta", "MailChimp", "key-2", "2")))
    assert first.cells == ("acme", "MailChimp", "[not exported]", "[not exported]")
    assert second.cells == ("beta", "MailChimp", "[not exported]", "[not exported]")
    assert second.secrets == {"api_key": "key-2", "property.Pin": "2"}
    assert (second.number, second.account_id, second.connector) == (3, "beta", first.connector)
