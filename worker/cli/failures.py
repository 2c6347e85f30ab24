"""Failed rows by reason, in lines for people."""

from collections.abc import Iterator, Sequence

from worker.store.tallies import FailureGroup

SHOWN_GROUPS = 20


def failure_lines(groups: Sequence[FailureGroup], failed: int) -> Iterator[str]:
    """`failed`: all failed rows of the job; those of no group that is shown are counted in the last line."""
    if not groups:
        return
    yield "Failed, by reason:"
    for group in groups[:SHOWN_GROUPS]:
        others = group.count - 1
        rows = f"row {group.example_row}" + (f" and {others:,} more" if others else "")
        yield f"  {group.count:>7,}  {group.code}: {group.message} ({rows})"
    rest = failed - sum(group.count for group in groups[:SHOWN_GROUPS])
    if rest > 0:
        yield f"  {rest:>7,}  for other reasons: the result file names them"
