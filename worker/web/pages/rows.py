"""The rows of a job as a table: filtered, page by page."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends

from worker.bootstrap.place import Place
from worker.domain import words
from worker.domain.reasons import KEY_PATTERN
from worker.domain.states import FINAL_ITEM_STATES, ItemState, Outcome
from worker.domain.words import sentence
from worker.intake.columns import find_position
from worker.store.jobs import JobStatus
from worker.store.listing import Beginnings, Item, ItemFilter, SearchedItems, search_items
from worker.store.tallies import FailureReason, find_failure
from worker.web.api.parameters import PageText
from worker.web.pages.rendering import address

PAGE = 25
KEY = re.compile(KEY_PATTERN)
# The filter's words -> what they mean in the table.
STATES: dict[str, tuple[str, ItemFilter]] = {
    "": ("all", ItemFilter()),
    "installed": (words.ITEM_STATES["installed"], ItemFilter(state=ItemState.INSTALLED)),
    "to-authorise": (words.ITEM_STATES["to-authorise"], ItemFilter(to_authorise=True)),
    "failed": (words.ITEM_STATES["failed"], ItemFilter(state=ItemState.FAILED)),
    "cancelled": (words.ITEM_STATES["cancelled"], ItemFilter(state=ItemState.CANCELLED)),
    "running": (words.ITEM_STATES["in-hand"], ItemFilter(state=ItemState.RUNNING)),
    "retrying": (words.ITEM_STATES["retrying"], ItemFilter(state=ItemState.QUEUED, tried=True)),
    **{
        outcome: (
            f"{words.ITEM_STATES['installed']}: {words.outcome_name(outcome)}",
            ItemFilter(outcome=outcome),
        )
        for outcome in Outcome
    },
    "queued": (words.ITEM_STATES["waiting"], ItemFilter(state=ItemState.QUEUED, tried=False)),
}


@dataclass(frozen=True, slots=True)
class RowsPage:
    """A page of the table. `rows`: each with what came of it, or of the last try. `reasons`: key and words of those that can be chosen. `previous`, `next`: addresses; None: there is
    no such page. `searched`: what is to be said where only a part of a large job was looked through.
    """

    rows: Sequence[tuple[Item, str]]
    states: Sequence[tuple[str, str]]
    state: str
    reasons: Sequence[tuple[str, str]]
    reason: str
    account: str
    reference: str
    has_references: bool
    is_filtered: bool
    fresh: str
    previous: str | None
    next: str | None
    searched: str
    page_size: int = PAGE


@dataclass(frozen=True, slots=True)
class RowsAsked:
    """What of the table is asked for, as the address says it."""

    state: str = ""
    reason: str = ""
    account: str = ""
    reference: str = ""
    after: int = 0
    before: int | None = None

    @property
    def filters(self) -> dict[str, str]:
        texts = {"state": self.state, "reason": self.reason}
        return texts | {"account": self.account, "reference": self.reference}


def _rows_asked(
    state: PageText = "",
    reason: PageText = "",
    account: PageText = "",
    reference: PageText = "",
    after: PageText = "",
    before: PageText = "",
) -> RowsAsked:
    return RowsAsked(
        state if state in STATES else "",
        reason if KEY.fullmatch(reason) else "",
        account.strip(),
        reference.strip(),
        _row_number(after) or 0,
        _row_number(before),
    )


def _row_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


AskedRows = Annotated[RowsAsked, Depends(_rows_asked)]


def rows_of(place: Place, job: JobStatus, reasons: Sequence[FailureReason], asked: RowsAsked) -> RowsPage:
    engine = place.database.engine
    wanted = STATES[asked.state][1]
    narrowed = replace(wanted, reason=asked.reason or None)
    cell_at = find_position(job.columns, "reference")
    begins = Beginnings(asked.account, asked.reference if cell_at is not None else "", cell_at)
    found = search_items(engine, job.id, narrowed, begins, after=asked.after, before=asked.before, limit=PAGE)
    chosen = {reason.reason: f"{reason.count:,} × {sentence(reason.message)}" for reason in reasons}
    if asked.reason and asked.reason not in chosen:
        group = find_failure(engine, job.id, asked.reason)
        chosen[asked.reason] = sentence(group.message) if group else f"{asked.reason}, which no row has now"
    previous, following = _pages(asked, found)
    here = {"after": str(asked.after or ""), "before": "" if asked.before is None else str(asked.before)}
    return RowsPage(
        rows=[(item, what_came_of(item)) for item in found.rows],
        states=[(name, label) for name, (label, _) in STATES.items()],
        state=asked.state,
        reasons=list(chosen.items()),
        reason=asked.reason,
        account=asked.account,
        reference=asked.reference,
        has_references=cell_at is not None,
        is_filtered=any(asked.filters.values()),
        fresh=address(f"/jobs/{job.id}/rows", asked.filters | here),
        previous=None
        if previous is None
        else f"{address(f'/jobs/{job.id}', asked.filters | previous)}#items",
        next=None if following is None else f"{address(f'/jobs/{job.id}', asked.filters | following)}#items",
        searched=_searched(asked, found),
    )


def _pages(asked: RowsAsked, found: SearchedItems) -> tuple[dict[str, str] | None, dict[str, str] | None]:
    """Where the page before this one begins, and the one after it."""
    to = found.searched_to
    if asked.before is not None:
        return None if to is None else {"before": str(to)}, {"after": str(asked.before - 1)}
    following = None if to is None else {"after": str(to)}
    return ({"before": str(asked.after + 1)} if asked.after else None), following


def _searched(asked: RowsAsked, found: SearchedItems) -> str:
    if found.searched_to is None or len(found.rows) == PAGE:
        return ""
    if asked.before is not None:
        return f"Rows {found.searched_to:,} to {asked.before - 1:,} were searched, and there are more before them."
    return f"Rows {asked.after + 1:,} to {found.searched_to:,} were searched, and there are more behind them."


def what_came_of(item: Item) -> str:
    """Of the row, or of the last try at it; empty: there is nothing to say yet."""
    if item.state == ItemState.INSTALLED:
        return "; ".join(item.how_done)
    if item.state in FINAL_ITEM_STATES or item.tried:
        return item.message or ""
    return ""
