"""Failed rows by reason, in lines for people."""

from collections.abc import Iterator, Sequence

from worker.store.tallies import FailureReason

SHOWN_GROUPS = 20


def failure_lines(groups: Sequence[FailureReason], failed: int, job_id: str) -> Iterator[str]:
    """`failed`: all failed rows of the job; those of no group that is shown are counted in the last line."""
    if not groups:
        return
    yield "Failed, by reason:"
    for group in groups[:SHOWN_GROUPS]:
        yield failure_line(group)
    rest = failed - sum(group.count for group in groups[:SHOWN_GROUPS])
    if rest > 0:
        yield f"  {rest:>7,}  for other reasons: cyclr-bulk failures {job_id}"


def failure_line(group: FailureReason) -> str:
    """How many rows, the key of the reason, the code, what is the same in their messages."""
    others = group.count - 1
    rows = f"row {group.example_row}" + (f" and {others:,} more" if others else "")
    return f"  {group.count:>7,}  {group.reason}  {group.code}: {group.message} ({rows})"
