import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.intake.escapes import escape, unescape


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\ta", "\ra", "＝1"])
def test_what_begins_like_a_formula_gets_an_apostrophe(text):
    assert escape(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=1", "'a", "'", "1-1", " =1"])
def test_other_text_stays_as_it_is(text):
    assert escape(text) == text
    assert unescape(text) == text


@settings(max_examples=500)
@given(st.text(alphabet="'=+-@\t\r\na1") | st.text())
def test_an_escape_is_undone_exactly(text):
    assert unescape(escape(text)) == text


@settings(max_examples=500)
@given(st.text(alphabet="'=+-@\t\r\na1"))
def test_nothing_that_was_escaped_begins_like_a_formula(text):
    assert not escape(text).startswith(("=", "+", "-", "@", "\t", "\r"))
