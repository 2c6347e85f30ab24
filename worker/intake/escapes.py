"""Cells that a spreadsheet would run as a formula, made harmless in a way that can be undone exactly."""

import re

# The wide forms count too: some spreadsheets take them for the narrow ones.
_FORMULA = r"[=+\-@\t\r\n＝＋－＠]"
_NEEDS_ESCAPE = re.compile(f"'*{_FORMULA}")
_IS_ESCAPED = re.compile(f"'+{_FORMULA}")


def escape(text: str) -> str:
    """The text with an apostrophe in front if it begins like a formula.

    Text that already looks escaped gets one more, so that `unescape` gives back any text as it was.
    """
    return f"'{text}" if _NEEDS_ESCAPE.match(text) else text


def unescape(text: str) -> str:
    """The text that `escape` was given."""
    return text[1:] if _IS_ESCAPED.match(text) else text
