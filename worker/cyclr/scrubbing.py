"""What was sent as a secret never comes back in a message."""

import base64
import binascii
import html
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote

_SHORT_LENGTH = 4


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
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def scrubbed(text: str, secrets: Collection[str]) -> str:
    """A cleaned text with `[secret]` where a secret stood, in any usual spelling of it."""
    forms = {form for secret in secrets for form in _forms(secret)}
    if not forms:
        return text
    # The longest first, since a secret may be a part of another.
    pattern = "|".join(_pattern(form) for form in sorted(forms, key=len, reverse=True))
    return re.sub(pattern, "[secret]", text)


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
