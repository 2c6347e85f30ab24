"""What an answer of Cyclr means: a value, or the error that the caller must decide about. Pure: no I/O, no clock.

What was sent as a secret never comes back in a message.
"""

import base64
import binascii
import html
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote, quote_plus

import httpx

from worker.cyclr.errors import (
    Busy,
    CyclrError,
    NameInUse,
    NotFound,
    OutcomeUnknown,
    Redirected,
    Refused,
    Throttled,
    Unauthorised,
)

T = TypeVar("T")

MAX_RETRY_AFTER_S = 3600.0
MAX_MESSAGE_LENGTH = 300
MAX_ENTRIES = 5_000  # of a page; at most 1,000 are asked for
MAX_VALUES = 300_000  # of an answer's JSON: what reading it costs goes by their number
MAX_DIGITS = 30  # of a whole number: with the number of digits the cost of reading it grows by the square
_SEARCHED_BYTES = 80_000  # of an error's text, for its title, say
_LOOKED_AT = 4_000  # characters of an error's text, for the 300 that are shown
_END = 100
NO_MESSAGE = "no message"


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """An answer as read from the wire. Cyclr echoes credentials in clear: never store, log or print it.

    `fault`: why `body` is not all that was sent, in words for people; "": it is. `is_cut`: since there was more of it than was
    asked for, and `body` is how it begins.
    """

    status: int
    headers: httpx.Headers
    body: bytes
    fault: str = ""
    is_cut: bool = False

    def __repr__(self) -> str:
        return f"Answer(status={self.status})"


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list. `total_pages`: as Cyclr says it; None where it does not say."""

    items: tuple[T, ...]
    total_pages: int | None


class Unexpected(ValueError):
    """An answer that is not what was asked for. Its text names the fault, and never a value of the answer."""


def read_answer(
    answer: Answer,
    expected: Callable[[Any], T],
    *,
    token_id: str,
    now: datetime,
    secrets: Collection[str] = (),
) -> T:
    """What `expected` makes of the JSON of a 200; it raises `Unexpected` for JSON that is something else.

    `secrets`: what was sent in the request and must not stand in a message. `now`: used for a Retry-After
    date where the answer has no `Date`.
    Raises: the errors of `worker.cyclr.errors` that an answer can mean.
    """
    if answer.status != 200:
        raise _error_of(answer, token_id=token_id, now=now, secrets=secrets)
    reason = ""
    try:
        return expected(read_json(answer.body))
    except Unexpected as unexpected:
        reason = str(unexpected)
    # Raised out here, so that nothing of the answer hangs on the error.
    raise OutcomeUnknown(f"status 200, but {reason}", 200)


def read_page(
    answer: Answer,
    item: Callable[[Any], T],
    *,
    token_id: str,
    now: datetime,
    secrets: Collection[str] = (),
) -> Page[T]:
    """The page of a list, each entry as `item` makes it. Raises: as `read_answer`."""

    def items(data: Any) -> tuple[T, ...]:
        if not isinstance(data, list):
            raise Unexpected("the answer is not a list")
        if len(data) > MAX_ENTRIES:
            raise Unexpected(f"the list has more than {MAX_ENTRIES:,} entries in one page")
        return tuple(item(entry) for entry in data)

    found = read_answer(answer, items, token_id=token_id, now=now, secrets=secrets)
    return Page(found, total_pages(answer.headers))


def read_json(body: bytes) -> Any:
    """The body's JSON without its icons, which make up most of a list. Raises: `Unexpected`.

    Of a key that is there twice the last counts, as for every reader of JSON.
    """
    # Each value has one of these before it, each character that is written as an escape too.
    if len(body) > MAX_VALUES and len(body.translate(None, delete=_ALL_BUT_MARKS)) > MAX_VALUES:
        raise Unexpected(f"the answer has more than {MAX_VALUES:,} values")
    try:
        return json.loads(
            body,
            # Most answers have none, and to look at each object costs as much as to read them all.
            object_hook=_without_icon if b'"Icon"' in body else None,
            parse_int=_whole_number,
            parse_constant=_no_number,
        )
    except (ValueError, RecursionError):
        pass
    raise Unexpected("the answer is not JSON")


_ALL_BUT_MARKS = bytes(set(range(256)) - set(b",[{\\"))


def _whole_number(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError
    return int(text)


def _no_number(_constant: str) -> Any:
    raise ValueError  # NaN and Infinity: Python takes them, JSON does not


def total_pages(headers: httpx.Headers) -> int | None:
    """The header `Total-Pages`; None where it is missing or says nothing."""
    text = headers.get("Total-Pages", "").strip()
    return (int(text) or None) if re.fullmatch(r"[0-9]{1,9}", text) else None


def retry_after_s(headers: httpx.Headers, now: datetime) -> float | None:
    """Seconds until Cyclr wants to be called again, at most an hour; None where no time in the future is named.

    A date counts from the answer's own `Date`, since the clocks of two machines differ.
    """
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        seconds = float(text)
    else:
        then = _http_date(text)
        if then is None:
            return None
        seconds = (then - (_http_date(headers.get("Date", "")) or now)).total_seconds()
    return min(seconds, MAX_RETRY_AFTER_S) if seconds > 0 else None


def find_wait(answer: Answer, now: datetime) -> Throttled | Busy | None:
    """The error by which Cyclr asks everybody to wait, if this answer is such a one."""
    if answer.status not in (429, 503):
        return None
    wait_s = retry_after_s(answer.headers, now)
    if answer.status == 429:
        return Throttled(wait_s)
    return None if wait_s is None else Busy(wait_s)


def message_of(body: bytes, secrets: Collection[str] = ()) -> str:
    """Cyclr's message for people, safe to show and to store: short, without secrets and control characters."""
    text = scrubbed(_message(body), secrets)
    return text if len(text) <= MAX_MESSAGE_LENGTH else f"{text[: MAX_MESSAGE_LENGTH - 1]}…"


def _error_of(answer: Answer, *, token_id: str, now: datetime, secrets: Collection[str]) -> CyclrError:
    if wait := find_wait(answer, now):
        return wait
    status, message = answer.status, message_of(answer.body, secrets)
    if 300 <= status < 400:
        return Redirected(status)
    if not 400 <= status < 500:
        return OutcomeUnknown(f"status {status}: {message}", status)
    # How a long text begins is all that is shown of it; what cannot be read may have said that the Name is in use.
    if answer.fault and not answer.is_cut and status != 401:
        return OutcomeUnknown(f"status {status}, but the answer cannot be read: {answer.fault}", status)
    # Judged before it is scrubbed: a property's value may be a word of this very sentence.
    if _says_name_in_use(_message(answer.body)):
        return NameInUse(message, status)
    match status:
        case 401:
            return Unauthorised(token_id)
        case 404:
            return NotFound(message)
        # The last two: a proxy that ended the call for us, whatever came of it behind.
        case 408 | 409 | 460 | 499:
            return OutcomeUnknown(f"status {status}: {message}", status)
    return Refused(status, message)


def _says_name_in_use(message: str) -> bool:
    # Source: reference section 7; how the name in the middle is quoted is not known.
    return message.startswith("Account connector name ") and message.endswith(" is in use.")


def _message(body: bytes) -> str:
    # Cut before anything is done to it: each of the steps takes its time with each character.
    text = body[:_SEARCHED_BYTES].decode("utf-8", "replace").removeprefix("\ufeff").strip()
    try:
        data = read_json(body)
    except Unexpected:
        if text.startswith("<"):
            return _web_page(text)
        return cleaned(_cut(text)) or NO_MESSAGE
    found = data.get("Message") if isinstance(data, dict) else None
    return (cleaned(_cut(found)) if isinstance(found, str) else "") or NO_MESSAGE


def _cut(text: str) -> str:
    """Its beginning, which is shown, and its end, which says what kind of a message it is."""
    return text if len(text) <= _LOOKED_AT else f"{text[:_LOOKED_AT]} … {text[-_END:]}"


def _web_page(text: str) -> str:
    # Not by an expression: one that looks for two ends goes through the text as often as it finds the first.
    _, *behind = re.split("<title", text, maxsplit=1, flags=re.IGNORECASE)
    title = "".join(behind).partition(">")[2].partition("<")[0][:MAX_MESSAGE_LENGTH]
    words = cleaned(html.unescape(title))
    return f"a web page instead of an answer: {words}" if words else "a web page instead of an answer"


def _http_date(text: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return parsed.replace(tzinfo=parsed.tzinfo or UTC)


def _without_icon(pairs: dict[str, Any]) -> dict[str, Any]:
    pairs.pop("Icon", None)
    return pairs


LONGEST_TEXT = 5_000  # nothing longer is scrubbed; it is cut before
_SHORT_LENGTH = 4
_TELLING_LENGTH = 100  # so much of a secret gives it away


def secrets_of(body: Mapping[str, Any]) -> Iterator[str]:
    """The secrets in the body of an install, with the parts that Cyclr may unpack an AuthValue into."""
    for entry in body.get("Properties") or ():
        yield str(entry.get("Value") or "")
    value = body.get("AuthValue")
    if isinstance(value, str):
        yield value
        yield from _basic_parts(value)
        yield from _json_parts(value)


def cleaned(text: str) -> str:
    """The text on one line, without what a database, a log or a terminal cannot take."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


def scrubbed(text: str, secrets: Collection[str]) -> str:
    """A cleaned text of at most `LONGEST_TEXT` characters, with `[secret]` where a secret stood, in any usual spelling of it.

    Of a long secret whose end is not there the beginning is taken out, with all that follows.
    """
    # No more of a secret can stand in it. Those that do not are left out here: an expression asks for each at each place.
    forms = {form for secret in secrets for form in _forms(secret[:LONGEST_TEXT])}
    there = [form for form in forms if form[:_TELLING_LENGTH] in text]
    if not there:
        return text
    # The longest first, since a secret may be a part of another.
    there.sort(key=len, reverse=True)
    # Very short values ("1", "eu") are taken out where they stand alone; inside words they mean nothing.
    whole = [
        rf"(?<!\w){re.escape(form)}(?!\w)" if len(form) <= _SHORT_LENGTH else re.escape(form)
        for form in there
    ]
    begun = [f"{re.escape(form[:_TELLING_LENGTH])}.*" for form in there if len(form) > _TELLING_LENGTH]
    return re.sub("|".join([*whole, *begun]), "[secret]", text)


def _forms(secret: str) -> set[str]:
    spellings = (
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        quote(secret, safe="", errors="replace"),
        quote_plus(secret, errors="replace"),
    )
    return {cleaned(spelling) for spelling in spellings} - {""}


def _basic_parts(value: str) -> Iterator[str]:
    try:
        pair = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return
    user, colon, password = pair.partition(":")
    if colon:
        yield from (pair, user, password)


def _json_parts(value: str) -> Iterator[str]:
    try:
        tokens = json.loads(value)
    except (ValueError, RecursionError):
        return
    if isinstance(tokens, dict):
        yield from (part for part in tokens.values() if isinstance(part, str))
