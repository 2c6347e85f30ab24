"""What is wrong with what came in a request, in the product's words. Nothing that came is shown: it may hold a secret."""

from collections.abc import Sequence
from typing import Any

from worker.domain.wording import counted
from worker.jobs.views import Fault
from worker.web.names import known_name
from worker.web.patterns import IN_WORDS

FIRST_ROW = 2  # the header of a file is row 1
_PLACES = ("body", "query", "path", "header")
_COUNTED = {"List": "item", "Dictionary": "key"}


def to_fault(error: Any) -> Fault:
    """`error`: one of those that Pydantic or FastAPI tells of."""
    where: Sequence[int | str] = error["loc"]
    if where and where[0] in _PLACES:
        where = where[1:]
    if error["type"] == "extra_forbidden":
        where = (*where[:-1], known_name(str(where[-1])))
    message = _message(error)
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
            return f"expected {IN_WORDS.get(told['pattern'], 'another form')}, got another text"
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


_QUOTABLE = ("a number", "true or false")


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
