"""What can be set from outside while the stand-in runs: mostly how Cyclr behaves where nobody knows."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

Masking = Literal["never", "in_reads", "always"]


class Masks(NamedTuple):
    """What an answer shows as `MASK` instead of its value."""

    auth_value: bool = False
    sensitive: bool = False


@dataclass(slots=True)
class Switches:
    """All of them, each as it is unless told otherwise.

    `name_check`: whether a Name in use is refused. `away`: every call is answered like that. `page_shifts`: after so
    many page reads the list moves by one, so that the next page lacks an entry. `default_page_size`, `max_page_size`:
    unknown of Cyclr, chosen. `has_not_found_message`: whether a 404 has a body.

    `put_properties`: whether the Properties of a PUT are merged into those that are there, by name, or replace the set.
    `same_property`: what a POST does to a property whose name is there. `masks_auth_value`, `masks_sensitive`: where
    the credential, and the values of sensitive properties, are shown as a mask: nowhere, in what a GET answers, or in
    every answer. `lists_declared`: declared properties are listed once they are set, or from the install on, with an
    empty text or with null. `normalises`: credentials and property values are stored trimmed, `true` as `True`, JSON
    compact and in another order. `refreshes_tokens`: an AuthValue with an AccessToken in it is another one at each call.
    """

    name_check: bool = True
    total_pages: bool = True
    has_not_found_message: bool = True
    page_shifts: int = 0
    default_page_size: int = 100
    max_page_size: int = 1_000
    reject_credentials: bool = False
    away: Literal["reset", "503"] | None = None
    put_properties: Literal["merge", "replace"] = "merge"
    same_property: Literal["overwrite", "duplicate", "refuse"] = "overwrite"
    masks_auth_value: Masking = "never"
    masks_sensitive: Masking = "never"
    lists_declared: Literal["once_set", "empty", "null"] = "once_set"
    normalises: bool = False
    refreshes_tokens: bool = False

    def set(self, asked: Mapping[str, Any]) -> None:
        """Sets those that are named, or none. Raises: `ValueError`."""
        for name, value in asked.items():
            _check(name, value)
        for name, value in asked.items():
            setattr(self, name, value)

    def masks(self, *, is_read: bool) -> Masks:
        """What the answer to a GET, or to a call that changes something, hides."""
        places = ("in_reads", "always") if is_read else ("always",)
        return Masks(self.masks_auth_value in places, self.masks_sensitive in places)


def _check(name: str, value: Any) -> None:
    known = [field.name for field in fields(Switches)]
    if name not in known:
        raise ValueError(f"switch: expected one of {', '.join(sorted(known))}, got {name}")
    wanted = get_type_hints(Switches)[name]
    if wanted in (bool, int):
        if type(value) is not wanted:
            raise ValueError(
                f"{name}: expected {'true or false' if wanted is bool else 'a number'}, got {value}"
            )
    elif value not in (allowed := _allowed(wanted)):
        raise ValueError(f"{name}: expected {' or '.join(map(_in_json, allowed))}, got {value}")


def _allowed(wanted: Any) -> list[Any]:
    """The values of a Literal, and None where it may be left out."""
    literals = [part for part in get_args(wanted) if get_args(part)]
    return [*get_args(literals[0]), None] if literals else list(get_args(wanted))


def _in_json(value: Any) -> str:
    return "null" if value is None else str(value)
