"""Reads request bodies as leniently as Cyclr does.

Any case of names, booleans as "true"/"false", numbers as strings and single-quoted JSON bind. Source: reference
sections 1 and 7 [live-test].
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'((?:[^\'\\]|\\.)*)\'', re.DOTALL)
_QUOTE_OR_ESCAPE = re.compile(r'\\.|"', re.DOTALL)


class Unbindable(Exception):
    """The body is no JSON object, or a value in it has a shape that does not bind."""


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object as bound: names in lower case -> values as parsed."""

    values: Mapping[str, Any]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def named(self) -> dict[str, str | None]:
        """All that the object names, as text: what has no text of its own, as JSON."""
        return {name: _as_any_text(value) for name, value in self.values.items()}

    def text(self, name: str) -> str | None:
        """The value as text; None for null or absent. Raises: `Unbindable` for an object or array."""
        return _as_text(self.values.get(name))

    def flag(self, name: str) -> bool:
        """The value as a boolean; false for anything that does not say true."""
        value = self.values.get(name)
        return value if isinstance(value, bool) else str(value).strip().lower() == "true"

    def whole(self, name: str, otherwise: int | None) -> int | None:
        """The value as a whole number; None for null; `otherwise` where it is absent or no number."""
        value = self.values.get(name, otherwise)
        try:
            return None if value is None else int(value)
        except (TypeError, ValueError):
            return otherwise

    def pairs(self, name: str) -> list[tuple[str, str | None]]:
        """(Name, Value) of each entry of a list such as `Properties`. Raises: `Unbindable`."""
        entries = self.values.get(name) or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise Unbindable(name)
        return [(_as_text(entry.get("name")) or "", _as_text(entry.get("value"))) for entry in entries]


def bind(body: bytes) -> Fields | None:
    """The object that a body holds, an empty one where the body is empty; None for `null`. Raises: `Unbindable`."""
    try:
        text = body.decode("utf-8-sig")
        value = _parse(text) if text.strip() else {}
    except ValueError as error:
        raise Unbindable("body") from error
    if value is not None and not isinstance(value, dict):
        raise Unbindable("body")
    return None if value is None else Fields(value)


def _parse(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_with_lower_names)
    except ValueError:
        return json.loads(_STRING.sub(_double_quoted, text), object_pairs_hook=_with_lower_names)


def _with_lower_names(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name.lower(): value for name, value in pairs}


def _double_quoted(match: re.Match[str]) -> str:
    inner = match.group(1)
    return match.group() if inner is None else f'"{_QUOTE_OR_ESCAPE.sub(_requoted, inner)}"'


def _requoted(match: re.Match[str]) -> str:
    return {'"': '\\"', "\\'": "'"}.get(match.group(), match.group())


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise Unbindable(type(value).__name__)


def _as_any_text(value: Any) -> str | None:
    return json.dumps(value) if isinstance(value, list | dict) else _as_text(value)
