"""What was sent as a secret never comes back in a message."""

import base64
import binascii
import html
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote

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
    whole = [_pattern(form) for form in there]
    begun = [f"{re.escape(form[:_TELLING_LENGTH])}.*" for form in there if len(form) > _TELLING_LENGTH]
    return re.sub("|".join([*whole, *begun]), "[secret]", text)


def _pattern(form: str) -> str:
    # Very short values ("1", "eu") are taken out where they stand alone; inside words they mean nothing.
    return rf"(?<!\w){re.escape(form)}(?!\w)" if len(form) <= _SHORT_LENGTH else re.escape(form)


def _forms(secret: str) -> set[str]:
    spellings = (
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        quote(secret, safe="", errors="replace"),
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
