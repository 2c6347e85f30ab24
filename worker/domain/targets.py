"""A target is what may exist once: one Name in one account of one instance. What an account id may be, and when two of them look alike."""

import hashlib
import unicodedata
from dataclasses import dataclass, field
from typing import Literal

# Letters of other alphabets, and digits, that a person takes for these; compared after case folding.
_LOOK_ALIKES = str.maketrans(
    {
        **dict.fromkeys("1iι\u0131\u0456\u04cf|", "l"),
        **dict.fromkeys("0\u03bf\u043e\u0585", "o"),
        **dict.fromkeys("\u03b1\u0430", "a"),
        **dict.fromkeys("\u0432\u03b2", "b"),
        **dict.fromkeys("\u0441\u03f2", "c"),
        **dict.fromkeys("\u0435\u03b5", "e"),
        **dict.fromkeys("\u04bb\u043d\u03b7", "h"),
        **dict.fromkeys("\u0458\u03f3", "j"),
        **dict.fromkeys("\u043a\u03ba", "k"),
        **dict.fromkeys("\u043c\u03bc", "m"),
        **dict.fromkeys("\u0440\u03c1", "p"),
        **dict.fromkeys("\u0455", "s"),
        **dict.fromkeys("\u0442\u03c4", "t"),
        **dict.fromkeys("\u0443\u03c5\u04af", "y"),
        **dict.fromkeys("\u0445\u03c7", "x"),
        **dict.fromkeys("\u03bd", "v"),
        **dict.fromkeys("\u0501", "d"),
        **dict.fromkeys("\u051b", "q"),
        **dict.fromkeys("\u051d", "w"),
        **dict.fromkeys("\u0437", "3"),
    }
)
# Letters and marks that nobody sees, though Unicode counts them among those that are printed.
_HIDDEN_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_ASCII_LOOK_ALIKES = str.maketrans({"1": "l", "i": "l", "|": "l", "0": "o", " ": "", "-": "", "_": ""})


def fold(text: str) -> str:
    """The text as Cyclr is taken to compare it: trimmed, NFKC, case-folded.

    Source: the name check of Cyclr sits on a database that looks like MySQL, which compares without case.
    """
    if text.isascii():  # where the long way changes nothing more
        return text.strip().lower()
    return unicodedata.normalize("NFKC", text.strip()).casefold().strip()


def target_key(instance_id: str, account_id: str, name: str) -> str:
    """A short stable key of the target, equal for every spelling that `fold` makes equal."""
    parts = "\x1f".join((instance_id, fold(account_id), fold(name)))
    return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def instance_key(api_url: str, client_id: str) -> str:
    """The identity of one Cyclr: its API URL and client id. Jobs, limiter keys and targets are per instance."""
    parts = f"{api_url.rstrip('/').casefold()}\x1f{client_id}"
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class KnownTarget:
    """A target that an item had before. `live`: queued or running now; `installed`: it ended done; `tried`: it ended otherwise, or
    however it ended in a job that is deleted: it may have been sent before.

    `job_id`, `row_number`: the item; empty and 0 where its job is deleted. `item_id`: items count on.
    """

    state: Literal["live", "installed", "tried"]
    job_id: str
    row_number: int
    item_id: int = field(default=0, compare=False)


def why_no_account_id(text: str) -> str | None:
    """Why Cyclr could never be called for an account of this id, in words for people; None where it can.

    The one rule for account ids: asked before a row is accepted, before an account is created and before a call. The
    id has to stand in a header and in an address, so it is made of visible characters and plain spaces.
    """
    if not text.strip():
        return "an account id cannot be empty"
    if text in (".", ".."):
        return f"'{text}' cannot be an account id: an address cannot name it"
    if text.isprintable() and (text.isascii() or _HIDDEN_LETTERS.isdisjoint(text)):
        return None
    hidden = next(each for each in text if each in _HIDDEN_LETTERS or not each.isprintable())
    return f"an account id cannot hold an invisible character (U+{ord(hidden):04X}): type the id anew"


def skeleton(account_id: str) -> str:
    """A key that ids have in common which a person may take for each other: without case, dashes, blanks and
    underscores, and with look-alikes made one (0 and O, 1 and l, letters of other alphabets).
    """
    if account_id.isascii():
        return account_id.lower().translate(_ASCII_LOOK_ALIKES)
    text = fold(account_id).translate(_LOOK_ALIKES)
    return "".join(character for character in text if not _is_separator(character))


def look_alike(one: str, other: str) -> bool:
    """Whether these are two ids that a person may take for each other. Ids that differ in case alone are one."""
    if one.casefold() == other.casefold() or skeleton(one) != skeleton(other):
        return False
    # `1-11` and `11-1` have the same letters, and nobody takes them for each other.
    return not (one.isascii() and other.isascii() and _places(one) != _places(other) and _both(one, other))


def _places(text: str) -> list[int]:
    return [place for place, character in enumerate(text) if _is_separator(character)]


def _both(one: str, other: str) -> bool:
    """Whether both have separators, and as many."""
    return bool(_places(one)) and len(_places(one)) == len(_places(other))


def _is_separator(character: str) -> bool:
    # Dashes of all kinds, the minus sign, blanks of all kinds, and what has no width.
    return character in "_\u2212" or unicodedata.category(character) in {"Pd", "Zs", "Cf"}
