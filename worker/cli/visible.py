"""Text of others as a terminal may show it.

Names of files, columns, connectors and accounts, and what Cyclr says, may hold what a terminal obeys (escape sequences), what
turns a line around (bidi controls) and what nobody sees. Each such character is shown as JSON writes it: `\\u001b`, `\\u202e`. So
JSON stays what it was, for whoever parses it.
"""

import re

# C0 without tab and newline, DEL, C1; soft hyphen; marks and overrides of direction; what has no width, or fills a line or a
# paragraph; tags; halves of characters.
_HIDDEN = re.compile(
    "[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\u3164\\ud800-\\udfff\\ufeff\\uffa0\\ufff0-\\ufffb\\U000e0000-\\U000e0fff]"
)


def visible(text: str) -> str:
    """The text with every hidden character shown. Newlines and tabs stay."""
    return text if text.isascii() and text.isprintable() else _HIDDEN.sub(_shown, text)


def visible_line(text: str) -> str:
    """As `visible`, on one line: a newline in a name must not make a line of its own, which would pass for one of ours."""
    return visible(text).replace("\n", "\\n")


def _shown(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    # As JSON writes it: in two halves.
    return f"\\u{0xD800 + (code - 0x10000 >> 10):04x}\\u{0xDC00 + (code - 0x10000 & 0x3FF):04x}"
