"""Counts, lists, durations and sentences as people write them."""

from collections.abc import Sequence


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 row`, `1,200 rows`. `many`: where an s does not make it."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(first: Sequence[str], count: int) -> str:
    """`acme, globex and 7 more`. `first`: those of all `count` that are named."""
    more = count - len(first)
    return ", ".join(first) + (f" and {more:,} more" if more > 0 else "")


def in_words(seconds: float) -> str:
    """A duration for people: `8 s`, `2 min 5 s`, `3 h 20 min`."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(whole // 60, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def rate(per_second: float) -> str:
    """`97.4`, `1,200`, `0.05`: never nothing where there is some."""
    return f"{per_second:,.1f}".removesuffix(".0") if per_second >= 1 else f"{per_second:.2g}"


def sentence(text: str) -> str:
    """The text as a sentence: a capital letter first, one full stop at the end."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".") if text else ""
