"""What stands in a cell and is perhaps not what was meant: what spreadsheets, programs and web pages leave behind.

A finding's weight follows from the column: an account id or a credential that is not the one that was meant is worth
more than a text. A *doubt* is judged later, by whether Cyclr has the account.

What we write ourselves a spreadsheet must not run: such a cell is escaped in a way that can be undone exactly.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from worker.domain.rows import PROPERTY_PREFIX, SECRET_COLUMNS

# What spreadsheets write where a formula has no value, in English, German, French, Spanish, Italian and Dutch.
SPREADSHEET_ERRORS = frozenset(
    (
        *("#n/a", "#ref!", "#value!", "#div/0!", "#name?", "#num!", "#null!", "#spill!", "#calc!", "#field!"),
        *(
            "#getting_data",
            "#blocked!",
            "#connect!",
            "#unknown!",
            "#busy!",
            "#error!",
            "#external!",
            "#python!",
        ),
        *(
            "#nv",
            "#bezug!",
            "#wert!",
            "#zahl!",
            "#überlauf!",
            "#kalk!",
            "#feld!",
            "#blockiert!",
            "#verbinden!",
        ),
        *(
            "#valeur!",
            "#nom?",
            "#nombre!",
            "#nul!",
            "#propagation!",
            "#epars!",
            "#épars!",
            "#calcul!",
            "#champ!",
        ),
        *("#¡ref!", "#¡valor!", "#¡div/0!", "#¿nombre?", "#¡num!", "#¡nulo!", "#¡desbordamiento!", "#¡calc!"),
        *("#rif!", "#valore!", "#nome?", "#n/d", "#nullo!", "#espansione!", "#calcolo!"),
        *("#n/b", "#verw!", "#waarde!", "#deel/0!", "#naam?", "#getal!", "#leeg!", "#overloop!", "#bereken!"),
        *(f"err:{number}" for number in range(501, 541)),
    )
)
_WORDS = ("null", "none", "nan", "undefined", "true", "false", "wahr", "falsch", "vrai", "faux", "n/a")
# As programs and spreadsheets write them; with `<null>` and its like.
EMPTY_WORDS = frozenset(
    form
    for word in (
        *_WORDS,
        *(f"({word})" for word in _WORDS[:3]),
        *(f"<{word}>" for word in (*_WORDS[:3], "na")),
    )
    for form in (word, word.upper(), word.capitalize(), "NaN" if word == "nan" else word)
)
_FORMULA_TEXT = re.compile(r'="(?:[^"]|"")*"')

_MONTHS = (
    "jan|feb|mar|mär|mrz|apr|may|mai|jun|jul|aug|sep|sept|oct|okt|nov|dec|dez"
    "|janv|févr|fév|mars|avr|juin|juil|août|déc|ene|abr|ago|dic|gen|mag|giu|lug|set|ott|mrt|mei"
    "|january|february|march|april|june|july|august|september|october|november|december"
    "|januar|februar|märz|juni|juli|oktober|dezember"
)
_NUMBER = re.compile(r"\d+[.,]0+|\d{1,3}(?:[.,'’ ]\d{3})+")
_DATE = re.compile(
    r"(?:\d{1,2}[/.-]\d{1,2}[/.-](?:\d{4}|\d{2})|\d{4}[/.-]\d{1,2}[/.-]\d{1,2})"
    r"(?:[ T]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[ap]m|z|[+-]\d{2}:?\d{2})?)?"
    r"|\d{1,2}/\d{1,2}"
    rf"|\d{{1,2}}[. /-]{{1,2}}(?:{_MONTHS})\.?(?:[ /-](?:\d{{4}}|\d{{2}}))?"
    rf"|(?:{_MONTHS})\.?[ /-](?:\d{{4}}|\d{{2}})|(?:{_MONTHS})\.? \d{{1,2}},? \d{{4}}",
    re.IGNORECASE,
)
_LONG = re.compile(r"\d{16,}")
_DIGITS_KEPT = 15  # a spreadsheet's number holds so many and makes zeros of the rest
LEAST_ROUNDED = 3  # one long number may end in a zero by itself

_LINE_ENDS = "\u2028\u2029"
# Joiners are part of some scripts, and marks of writing direction of texts in some; both come from web pages too.
_JOINERS_AND_MARKS = "\u200c\u200d\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

Weight = Literal["problem", "warning"]


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """What it says, and of the kinds of column of which it says something, how much that weighs."""

    reason: str
    account_id: Weight | None = None
    name: Weight | None = None
    text: Weight | None = None
    credential: Weight | None = None
    property: Weight | None = None
    other: Weight | None = None

    def weight_in(self, column: str) -> Weight | None:
        if column == "account_id":
            return self.account_id
        if column == "name":
            return self.name
        if column in _TEXTS:
            return self.text
        if column in SECRET_COLUMNS:
            return self.credential
        return self.property if column.startswith(PROPERTY_PREFIX) else self.other


_TEXTS = frozenset({"description", "account_name", "account_description", "reference"})

_ERROR = _Rule(
    "a spreadsheet's error ({}) stands here: mend the formula there, and export the sheet again",
    account_id="problem",
    name="problem",
    text="problem",
    credential="problem",
    property="problem",
    other="problem",
)
_FORMULA = _Rule(
    'a formula (="...") stands here and not its value: write the value without = and quotes',
    account_id="problem",
    name="problem",
    text="problem",
    credential="warning",
    property="warning",
    other="problem",
)
_APOSTROPHE = _Rule(
    "it begins with an apostrophe, as text cells of a spreadsheet do: take it away, unless it is meant",
    account_id="problem",
    name="warning",
)
_EMPTY_WORD = _Rule(
    "it is the word that programs write for an empty cell, or a yes or no: is it meant?",
    name="warning",
    text="warning",
    credential="warning",
)
# What an account id may hold at all is one rule for the whole product: `worker.domain.targets`.
_WITHOUT_WIDTH = _Rule(
    "it holds a character that nobody sees ({}): type the text anew",
    name="problem",
    text="warning",
    credential="problem",
    property="problem",
    other="problem",
)
_LINE_END = _Rule(
    "it holds a line end that nobody sees ({}): type the text anew",
    name="problem",
    text="problem",
    credential="problem",
    property="problem",
    other="problem",
)
_OTHER_SPACE = _Rule(
    "it holds a space of another kind ({}): type a plain one",
    name="warning",
    credential="problem",
    property="problem",
)
_MARK = _Rule(
    "it holds a joiner or a mark of writing direction ({}), as texts copied from a page do: is it meant?",
    credential="warning",
    property="warning",
    other="problem",
)


_LEAST_OF_A_KEY = 12  # characters


def is_spreadsheet_error(text: str) -> bool:
    return text.startswith(("#", "E", "e")) and text.casefold() in SPREADSHEET_ERRORS


def findings(column: str, value: str) -> Iterator[tuple[Weight, str]]:
    """What is to be said of a value that is not empty, without showing it. `value`: trimmed."""
    for rule, shown in _matching(value):
        if (weight := rule.weight_in(column)) is not None:
            yield weight, rule.reason.format(shown)


def _matching(value: str) -> Iterator[tuple[_Rule, str]]:
    if is_spreadsheet_error(value):
        yield _ERROR, value
    if value.startswith("="):
        if _FORMULA_TEXT.fullmatch(value):
            yield _FORMULA, ""
    elif value.startswith("'"):
        yield _APOSTROPHE, ""
    if value in EMPTY_WORDS:
        yield _EMPTY_WORD, ""
    if not value.isprintable():
        seen = {rule: character for character in reversed(value) if (rule := _character_rule(character))}
        for rule, character in seen.items():
            yield rule, f"U+{ord(character):04X}"


def _character_rule(character: str) -> _Rule | None:
    if character.isprintable():
        return None
    if character in _LINE_ENDS:
        return _LINE_END
    category = unicodedata.category(character)
    if category == "Cf":
        return _MARK if character in _JOINERS_AND_MARKS else _WITHOUT_WIDTH
    return _OTHER_SPACE if category == "Zs" else None


def is_plain(cells: tuple[str, ...], text: str) -> bool:
    """Whether `findings` has nothing to say of any of these cells. `text`: `|`, and the cells joined by `|`; all of it
    printable.
    """
    if "|'" in text or '|="' in text:
        return False
    if "|#" in text or "rr:" in text or "RR:" in text:  # `Err:502` is one too
        return not any(map(is_spreadsheet_error, cells)) and EMPTY_WORDS.isdisjoint(cells)
    return EMPTY_WORDS.isdisjoint(cells)


def find_doubt(account_id: str) -> str | None:
    """Why this may not be the account id that was meant; None where it looks like one."""
    if account_id in EMPTY_WORDS:
        return f"'{account_id}' is what programs write for an empty cell, or a yes or no"
    if _NUMBER.fullmatch(account_id):
        return f"'{account_id}' looks like a number that a spreadsheet has written its own way"
    if _DATE.fullmatch(account_id):
        return f"'{account_id}' looks like a date that a spreadsheet has made of it"
    return None


def is_long_number(text: str) -> bool:
    """Whether a spreadsheet that takes it for a number loses digits of it."""
    return len(text) > _DIGITS_KEPT and _LONG.fullmatch(text) is not None


def ends_in_zeros(text: str) -> bool:
    """Of a long number: whether it may have lost its digits."""
    return not text[_DIGITS_KEPT:].strip("0")


# The wide forms count too: some spreadsheets take them for the narrow ones.
_SIGN = r"[=+\-@＝＋－＠]"
_BEGINS_A_FORMULA = r"[=+\-@\t\r\n＝＋－＠]"
# Spaces in front do not help: a spreadsheet may be asked to trim them, and runs what is behind.
_NEEDS_ESCAPE = re.compile(rf"['\s]*{_BEGINS_A_FORMULA}")
_IS_ESCAPED = re.compile(rf"'['\s]*{_BEGINS_A_FORMULA}")
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


def may_be_secret(text: str) -> bool:
    """Whether a text of which nobody knows what it is looks like a key or a token: long, in one word, letters and digits."""
    return (
        len(text) >= _LEAST_OF_A_KEY
        and not any(map(str.isspace, text))
        and any(map(str.isdigit, text))
        and any(map(str.isalpha, text))
    )
