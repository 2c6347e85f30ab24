"""Failed rows by reason: messages that differ only in a name or a number are one reason."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from worker.store.jobs import FailureGroup

MOST_GROUPS = 1_000  # read from the database, where every name makes a group of its own
SHOWN_GROUPS = 20

# A name in quotes, where an apostrophe inside a word opens none; or a word that holds a digit, as ids do.
_VARYING = re.compile(r"""((?<!\w)'.+?'(?!\w)|"[^"]+"|[\w-]*\d[\w-]*)""")


@dataclass(slots=True)
class Reason:
    """Failed rows of one reason. `parts`: the message cut up, what may vary in every second place."""

    code: str
    parts: list[str]
    count: int
    example_row: int

    @property
    def message(self) -> str:
        return "".join(self.parts)

    def add(self, parts: Sequence[str], group: FailureGroup) -> None:
        self.parts = [_common(mine, other) for mine, other in zip(self.parts, parts, strict=True)]
        self.count += group.count
        self.example_row = min(self.example_row, group.example_row)


def merge(groups: Iterable[FailureGroup]) -> list[Reason]:
    """The largest first; in a message only what is the same in all of its rows is shown."""
    merged: dict[tuple[str, ...], Reason] = {}
    for group in groups:
        parts = _VARYING.split(group.message or "")
        key = (group.code, *parts[::2])
        if key in merged:
            merged[key].add(parts, group)
        else:
            merged[key] = Reason(group.code, parts, group.count, group.example_row)
    return sorted(merged.values(), key=lambda reason: (-reason.count, reason.example_row))


def _common(mine: str, other: str) -> str:
    if mine == other:
        return mine
    return "'…'" if mine.startswith(("'", '"')) else "…"


def failure_lines(groups: Iterable[FailureGroup], failed: int) -> Iterator[str]:
    """`failed`: all failed rows of the job; those of no group that is shown are counted in the last line."""
    reasons = merge(groups)
    if not reasons:
        return
    yield "Failed, by reason:"
    for reason in reasons[:SHOWN_GROUPS]:
        others = reason.count - 1
        rows = f"row {reason.example_row}" + (f" and {others:,} more" if others else "")
        yield f"  {reason.count:>7,}  {reason.code}: {reason.message} ({rows})"
    rest = failed - sum(reason.count for reason in reasons[:SHOWN_GROUPS])
    if rest > 0:
        yield f"  {rest:>7,}  for other reasons: the result file names them"
