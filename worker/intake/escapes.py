"""Cells that a spreadsheet would run as a formula, made harmless in a way that can be undone exactly."""

import re

# The wide forms count too: some spreadsheets take them for the narrow ones.
_SIGN = r"[=+\-@＝＋－＠]"
_FORMULA = r"[=+\-@\t\r\n＝＋－＠]"
_NEEDS_ESCAPE = re.compile(f"'*{_FORMULA}")
_IS_ESCAPED = re.compile(f"'+{_FORMULA}")
# Where another delimiter than the file's own would begin a cell, as a spreadsheet of another country has it; a line too, since
# quotes in the middle of what it then takes for a cell hold nothing together.
_INNER = re.compile(rf"([,;|\t\r\n][\"'\s]*)({_SIGN})")
_INNER_ESCAPED = re.compile(rf"([,;|\t\r\n][\"'\s]*)'({_SIGN})")


def escape(text: str) -> str:
    """The text with an apostrophe in front if it begins like a formula, and before each sign that would begin one if another
    delimiter divided the text.

    Text that already looks escaped gets one more, so that `unescape` gives back any text as it was.
    """
    text = _INNER.sub(r"\1'\2", text)
    return f"'{text}" if _NEEDS_ESCAPE.match(text) else text


def unescape(text: str) -> str:
    """The text that `escape` was given."""
    outer = text[1:] if _IS_ESCAPED.match(text) else text
    return _INNER_ESCAPED.sub(r"\1\2", outer)
