"""What is wrong with what came in a request, in the product's words. Nothing that came is shown: it may hold a secret.

A name that nobody knows may be a secret too, which was pasted in its place.
"""

import difflib
from collections.abc import Sequence
from typing import Any

from worker.domain.options import OPTIONS, gone_options
from worker.domain.reasons import KEY_LENGTH, KEY_PATTERN
from worker.domain.words import counted
from worker.intake.columns import find_similar, is_known, is_own
from worker.jobs.views import Fault

FIRST_ROW = 2  # the header of a file is row 1
SHOWN_FAULTS = 1_000  # of one request or file
ONCE = "expected it once, got it twice or more"  # of a parameter or a field
_PLACES = ("body", "query", "path", "header")
_COUNTED = {"List": "item", "Dictionary": "key"}
_QUOTABLE = ("a number", "true or false")

# The forms of texts that addresses take.
NO_NUL = r"^[^\x00]*$"
JOB_ID = r"^[A-Za-z0-9-]{1,16}$"
UPLOAD_ID = r"^[A-Za-z0-9_-]{1,64}$"
FAILURE_CURSOR = r"[0-9]{1,9}-[0-9]{1,9}"  # `FailureCursor` as a text
MAPPING = r"^[^\x00]+=[^\x00=]*$"
VISIBLE_ASCII = r"^[\x20-\x7e]+$"
_FORMS = {
    NO_NUL: "a text without NUL (U+0000)",
    JOB_ID: "16 letters, digits and dashes at most",
    UPLOAD_ID: "64 letters, digits, dashes and underscores at most",
    KEY_PATTERN: f"the {KEY_LENGTH} letters and digits of a reason's key",
    MAPPING: "a column, `=` and what it is",
    VISIBLE_ASCII: "letters, digits and signs of ASCII",
}

UNKNOWN = "(unknown name)"
MOST_SHOWN = 80
# What bodies, forms and addresses of the API call things, beside the columns of items; a test holds it to the models.
REQUEST_NAMES = frozenset(
    {
        *("options", "items", "file", "validate_only"),
        *("source_name", *OPTIONS),
        *("codes", "reason", "expires_in_days"),
    }
)


def spelt(name: str) -> str:
    """How an option is written in a request."""
    return f"`{name}`"


GONE = gone_options(spelt)


def to_fault(error: Any) -> Fault:
    """`error`: one of those that Pydantic or FastAPI tells of."""
    where: Sequence[int | str] = error["loc"]
    if where and where[0] in _PLACES:
        where = where[1:]
    message = _message(error)
    if error["type"] == "extra_forbidden":
        name = str(where[-1])
        where, message = (*where[:-1], known_name(name)), GONE.get(name, message)
    match where:
        case ("items", int(number)):
            return Fault(row=number + FIRST_ROW, message=message)
        case ("items", int(number), str(column), *_):
            return Fault(row=number + FIRST_ROW, column=known_name(column), message=message)
    return Fault(column=".".join(map(str, where)) or None, message=message)


def _message(error: Any) -> str:
    told = error.get("ctx") or {}
    got = _kind(error.get("input"))
    match error["type"]:
        case "string_type":
            return f"expected a text, got {got}" + (": write it in quotes" if got in _QUOTABLE else "")
        case "int_type" | "int_parsing" | "int_from_float" | "int_parsing_size":
            return f"expected a whole number, got {'another one' if got == 'a number' else got}"
        case "bool_type" | "bool_parsing":
            return f"expected true or false, got {'another text' if got == 'a text' else got}"
        case "list_type":
            return f"expected a list, got {got}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"expected an object, got {got}"
        case "literal_error" | "enum":
            return f"expected {told['expected']}, got {'another text' if got == 'a text' else got}"
        case "greater_than_equal":
            return f"expected {told['ge']:,} or more, got less"
        case "less_than_equal":
            return f"expected {told['le']:,} or less, got more"
        case "string_too_long":
            return f"expected {counted(told['max_length'], 'character')} at most, got more"
        case "string_too_short":
            return f"expected {counted(told['min_length'], 'character')} or more, got fewer"
        case "string_pattern_mismatch":
            return f"expected {_FORMS.get(told['pattern'], 'another form')}, got another text"
        case "string_unicode":
            return "expected a text, got half a character"
        case "too_long":
            count = told.get("actual_length")
            got_count = "more" if count is None else f"{count:,}"
            return f"expected {_counted(told, told['max_length'])} at most, got {got_count}"
        case "too_short":
            return f"expected {_counted(told, told['min_length'])} or more, got {told['actual_length']}"
        case "missing":
            return "expected it, got nothing"
        case "extra_forbidden":
            return "nothing of this name is expected here: is it misspelt?"
    return str(error["msg"]).removeprefix("Value error, ")


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str() | bytes():
            return "a text"
        case list() | tuple():
            return "a list"
    return "an object"


def _counted(told: dict[str, Any], count: int) -> str:
    return counted(count, _COUNTED.get(str(told.get("field_type")), "item"))


def known_name(name: str) -> str:
    """The name, where it is one of ours, a person's own (`x_`), or resembles one of ours, so that they can find it; UNKNOWN
    for any other."""
    is_told = (
        name in REQUEST_NAMES
        or name in GONE
        or is_known(name)
        or is_own(name)
        or find_similar(name) is not None
        or bool(difflib.get_close_matches(name, REQUEST_NAMES, n=1, cutoff=0.8))
    )
    return name[:MOST_SHOWN] if is_told else UNKNOWN
