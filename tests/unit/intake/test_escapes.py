import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.intake.values import escape, unescape


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\ta", "\ra", "＝1", " =1", "\xa0@a"])
def test_what_begins_like_a_formula_gets_an_apostrophe(text):
    assert escape(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=1", "'a", "'", "1-1", " a=1"])
def test_other_text_stays_as_it_is(text):
    assert escape(text) == text
    assert unescape(text) == text


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("a;=cmd()", "a;'=cmd()"),
        ("a,=cmd()", "a,'=cmd()"),
        ("a|@cmd", "a|'@cmd"),
        ("a\t+1", "a\t'+1"),
        ("a\r\n=cmd()", "a\r\n'=cmd()"),
        ('a;"=cmd()"', 'a;"\'=cmd()"'),
        ("a; -1;-2", "a; '-1;'-2"),
        ("a;'=1", "a;''=1"),
        (";=1;=2", ";'=1;'=2"),
        ("=1;=2", "'=1;'=2"),
        ("a;＝1", "a;'＝1"),
    ],
)
def test_what_another_delimiter_would_make_a_formula_gets_one_too(text, harmless):
    assert escape(text) == harmless
    assert unescape(harmless) == text


@pytest.mark.parametrize("text", ["a;b=1", "a, b", "a;'b'", "x@y, z", "2026-11-30", "a;b;c", "a;\n\nb"])
def test_a_delimiter_alone_is_harmless(text):
    assert escape(text) == text
    assert unescape(text) == text


@settings(max_examples=1_000)
@given(st.text(alphabet="'\"=+-@\t\r\n;,| a1＝") | st.text())
def test_an_escape_is_undone_exactly(text):
    assert unescape(escape(text)) == text


@settings(max_examples=1_000)
@given(st.lists(st.text(alphabet="'\"=+-@\t;,| a＝"), min_size=1, max_size=4), st.sampled_from(",;\t|"))
def test_no_delimiter_makes_a_formula_of_a_line_that_was_written_with_another(cells, delimiter):
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter).writerow(map(escape, cells))
    for other in ",;\t|":
        for cell in next(csv.reader([line.getvalue()], delimiter=other)):
            assert not cell.startswith(("=", "+", "-", "@", "＝")), (cell, other)


@settings(max_examples=500)
@given(st.text(alphabet="'=+-@\t\r\n a1"))
def test_nothing_that_was_escaped_begins_like_a_formula(text):
    assert not escape(text).startswith(("\t", "\r"))
    assert not escape(text).lstrip().startswith(("=", "+", "-", "@"))
