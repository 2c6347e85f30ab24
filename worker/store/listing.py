"""Lists for people and programs: the jobs of a database, the items of one job, the attempts of one item."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field, field_validator
from sqlalchemy import Connection, Engine, Select, and_, case, false, func, not_, null, or_, select

from worker.domain.states import ItemState, JobState, Outcome
from worker.domain.words import CODES, OUTCOMES, advice, as_list, how_done, item_state
from worker.store.connectors import waits_for_customer
from worker.store.jobs import JOBS, JobStatus, list_unfinished_jobs, to_status
from worker.store.session import reading
from worker.store.tables import (
    HELD_UNTIL,
    IS_FAILED,
    IS_FORGOTTEN,
    IS_NOT_CREATED,
    IS_QUEUED,
    attempts,
    items,
    jobs,
)

PAGE = 1_000
ALL_ROW_NUMBERS = 1_000_000_000
MOST_SEARCHED = 100_000  # row numbers in one search for what few rows have: less than a second
JobCounter = Literal["failed", "to_authorise"]
_ENDED = (JobState.COMPLETED, JobState.CANCELLED)


class Item(BaseModel):
    """A row that was accepted, and how it stands."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    row: int
    account_id: str
    name: str
    reference: str | None = Field(description="Your own key: what the row has in the column `reference`.")
    state: ItemState
    outcome: str | None = Field(description=f"How it came to be done.\n{as_list(OUTCOMES)}")
    code: str | None = Field(description=f"Why it failed or waits; stable.\n{as_list(CODES)}")
    message: str | None
    http_status: int | None
    can_retry_help: bool | None
    reason: str | None = Field(description="Failed: the key of its reason, as in `failures`.")
    attempts: int
    tried: bool = Field(description="Whether an attempt at it has ended.")
    steps_done: list[str] = Field(description="What is known to be done: account, connector.")
    sent: str | None = Field(description="The step whose call may have gone out and was not answered.")
    must_look: bool = Field(description="Whether its account is looked into before anything is sent again.")
    due_at: datetime | None = Field(
        description="When it is tried next; null: it is final, in hand or held back."
    )
    account_connector_id: int | None
    is_authenticated: bool | None = Field(
        description="Done; false: its customer has still to authorise it, or its credential is still to be given at Cyclr."
    )
    to_authorise: bool = Field(description="Whether its customer has still to authorise it.")
    is_ours: bool | None = Field(
        description="Done: whether this row is proven to have made it; null: it is not known."
    )
    differs: list[str] = Field(description="Fields of the row that were found otherwise and left so.")
    changed: list[str] = Field(description="Fields that this row has set in what was there.")
    undo_kept: bool = Field(description="Whether what it has overwritten is kept, to be put back.")
    account_created: bool
    settled_at: datetime | None

    @field_validator("steps_done", "differs", "changed", mode="before")
    @classmethod
    def _none(cls, value: list[str] | None) -> list[str]:
        return value or []

    @computed_field(description="What to do about it; null: nothing.")  # type: ignore[prop-decorator]
    @property
    def advice(self) -> str | None:
        return advice(self.state, self.code)

    @property
    def how_done(self) -> list[str]:
        """In parts of a sentence."""
        return how_done(
            self.outcome,
            differs=self.differs,
            changed=self.changed,
            is_ours=self.is_ours,
            is_authenticated=self.is_authenticated,
            to_authorise=self.to_authorise,
        )

    @property
    def state_in_words(self) -> tuple[str, str]:
        """As the style sheet knows it, and for people."""
        return item_state(self.state, tried=self.tried, is_held=self.is_held, to_authorise=self.to_authorise)

    @property
    def is_held(self) -> bool:
        """Whether it is held back."""
        return self.state is ItemState.QUEUED and self.due_at is None


class AttemptMade(BaseModel):
    """One try at an item. `verdict`: what it led to."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    started_at: datetime
    took_s: float
    call: str
    http_status: int | None
    verdict: str
    code: str | None
    reason: str | None


# What an `Item` is made of, beside what depends on its job; nothing that is sealed, and none of the file's cells.
_SHOWN = (
    items.c.row_number.label("row"),
    *(items.c[name] for name in Item.model_fields if name in items.c and name != "due_at"),
    case((and_(IS_QUEUED, items.c.due_at < HELD_UNTIL), items.c.due_at)).label("due_at"),
    items.c.undo.is_not(None).label("undo_kept"),
)


def list_jobs(engine: Engine, *, ended: int) -> list[JobStatus]:
    """All unfinished jobs, then the last so many of those that have ended; the newest first in both."""
    last = JOBS.where(jobs.c.state.in_(_ENDED)).order_by(jobs.c.created_at.desc()).limit(ended)
    unfinished = list_unfinished_jobs(engine)
    with reading(engine) as connection:
        return [*unfinished, *map(to_status, connection.execute(last))]


def find_job(engine: Engine, job_id: str) -> JobStatus | None:
    with reading(engine) as connection:
        row = connection.execute(JOBS.where(jobs.c.id == job_id, not_(IS_FORGOTTEN))).first()
    return to_status(row) if row else None


def list_job_page(
    engine: Engine,
    *,
    states: Sequence[JobState] = (),
    has: JobCounter | None = None,
    text: str = "",
    before: str | None = None,
    limit: int,
) -> list[JobStatus]:
    """So many jobs, the newest first. `text`: part of the file's name, or a job's whole id, in any case.

    `has`: only jobs with rows that this counter counts. `before`: the id of the last job of the page before this one.
    """
    wanted = JOBS.where(not_(IS_FORGOTTEN))
    if states:
        wanted = wanted.where(jobs.c.state.in_(states))
    if has is not None:
        wanted = wanted.where(jobs.c[has] > 0)
    if text:
        has_name = jobs.c.source_name.icontains(text, autoescape=True)
        wanted = wanted.where(or_(has_name, jobs.c.id == text.strip().lower()))
    if before is not None:
        last = select(jobs.c.created_at).where(jobs.c.id == before).scalar_subquery()
        same_time = and_(jobs.c.created_at == last, jobs.c.id < before)
        wanted = wanted.where(or_(jobs.c.created_at < last, same_time))
    page = wanted.order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
    with reading(engine) as connection:
        return [to_status(row) for row in connection.execute(page)]


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Which items of a job. `outcome`: done in this way; `reason`: failed, with this key; `tried`: whether an attempt at them
    has ended.

    `to_authorise`: only those whose customers have still to authorise.
    """

    state: ItemState | str | None = None
    outcome: str | None = None
    codes: Sequence[str] = ()
    account_id: str | None = None
    reason: str | None = None
    tried: bool | None = None
    to_authorise: bool = False


def list_items(
    engine: Engine,
    job_id: str,
    wanted: ItemFilter,
    *,
    after: int = 0,
    limit: int = PAGE,
    reference_at: int | None = None,
) -> list[Item]:
    """So many of the job's items, in the order of the file. `after`: the last row number of the page before this one.

    `reference_at`: the position of the column `reference` in the job's file; None: nobody asks for it, or there is none.
    """
    with reading(engine) as connection:
        page = _items(connection, job_id, wanted, reference_at).where(items.c.row_number > after)
        return _to_items(connection.execute(page.order_by(items.c.row_number).limit(limit)))


def find_item(engine: Engine, job_id: str, row: int, *, reference_at: int | None = None) -> Item | None:
    """The item of this row; None where the row is no item. `reference_at`: as in `list_items`."""
    found = list_items(engine, job_id, ItemFilter(), after=row - 1, limit=1, reference_at=reference_at)
    return found[0] if found and found[0].row == row else None


@dataclass(frozen=True, slots=True)
class Beginnings:
    """What a person has typed of a row: how its account id and its cell at this place begin, in any case of letters."""

    account_id: str = ""
    cell: str = ""
    cell_at: int | None = None


@dataclass(frozen=True, slots=True)
class SearchedItems:
    """Items in the order of the file. `searched_to`: the last row number that was looked at in the direction of the search,
    where there may be more behind it; None: that was all.
    """

    rows: list[Item]
    searched_to: int | None


def search_items(
    engine: Engine,
    job_id: str,
    wanted: ItemFilter,
    begins: Beginnings,
    *,
    after: int = 0,
    before: int | None = None,
    limit: int,
    most_searched: int = MOST_SEARCHED,
) -> SearchedItems:
    """So many of the job's items, from `after` on, or the last ones before `before`.

    Where few match there may be a million rows to look through, so no more than `most_searched` row numbers are. Failed ones,
    those of one reason, those of an outcome but `created`, and those to be authorised have indexes of their own: they are all
    within reach.
    """
    number = items.c.row_number
    is_rare = wanted.outcome not in (None, Outcome.CREATED)
    is_indexed = wanted.reason or wanted.to_authorise or wanted.state == ItemState.FAILED or is_rare
    if is_indexed and begins == Beginnings(cell_at=begins.cell_at):
        most_searched = ALL_ROW_NUMBERS
    if before is not None:
        edge = before - most_searched
        within, beyond = and_(number < before, number >= edge), number < edge
    else:
        edge = after + most_searched
        within, beyond = and_(number > after, number <= edge), number > edge
    order = number if before is None else number.desc()
    others = select(number).where(items.c.job_id == job_id, beyond).limit(1)
    with reading(engine) as connection:
        matching = _items(connection, job_id, wanted).where(within, *_begin(begins))
        rows = _to_items(connection.execute(matching.order_by(order).limit(limit + 1)))
        is_all = len(rows) <= limit and connection.execute(others).first() is None
    shown = rows[:limit]
    searched_to = shown[-1].row if len(rows) > limit else edge
    return SearchedItems(shown if before is None else shown[::-1], None if is_all else searched_to)


def _begin(begins: Beginnings) -> Iterator[Any]:
    if begins.account_id:
        yield items.c.account_id.istartswith(begins.account_id, autoescape=True)
    if begins.cell and begins.cell_at is not None:
        yield items.c.cells[begins.cell_at].as_string().istartswith(begins.cell, autoescape=True)


def iter_items(
    engine: Engine,
    job_id: str,
    wanted: ItemFilter,
    *,
    reference_at: int | None = None,
) -> Iterator[Item]:
    """The job's items in the order of the file, page by page: memory does not grow with the job."""
    after = 0
    while True:
        rows = list_items(engine, job_id, wanted, after=after, reference_at=reference_at)
        yield from rows
        if len(rows) < PAGE:
            return
        after = rows[-1].row


def _items(
    connection: Connection, job_id: str, wanted: ItemFilter, reference_at: int | None = None
) -> Select[Any]:
    reference = null() if reference_at is None else func.nullif(items.c.cells[reference_at].as_string(), "")
    waits = waits_for_customer(connection, job_id)
    shown = (*_SHOWN, reference.label("reference"), func.coalesce(waits, false()).label("to_authorise"))
    found = select(*shown).where(items.c.job_id == job_id)
    if wanted.to_authorise:
        found = found.where(waits)
    if wanted.state == ItemState.FAILED or wanted.reason is not None:
        found = found.where(IS_FAILED)  # written out, so that its indexes serve
    if wanted.state is not None and wanted.state != ItemState.FAILED:
        found = found.where(items.c.state == wanted.state)
    if wanted.outcome is not None:
        found = found.where(items.c.outcome == wanted.outcome)
        if wanted.outcome != Outcome.CREATED:
            found = found.where(IS_NOT_CREATED)  # so that its index serves
    if wanted.codes:
        found = found.where(items.c.code.in_(wanted.codes))
    if wanted.account_id is not None:
        found = found.where(items.c.account_id == wanted.account_id)
    if wanted.reason is not None:
        found = found.where(items.c.reason == wanted.reason)
    if wanted.tried is not None:
        found = found.where(items.c.tried.is_(wanted.tried))
    return found


def _to_items(rows: Iterable[Any]) -> list[Item]:
    return [Item.model_validate(row) for row in rows]


def list_attempts(engine: Engine, job_id: str, row_number: int) -> list[AttemptMade]:
    """The attempts at one item whose end was written down, in their order. Bounded by the attempts an item may cost."""
    mine = (
        select(attempts)
        .join(items, attempts.c.item_id == items.c.id)
        .where(items.c.job_id == job_id, items.c.row_number == row_number)
        .order_by(attempts.c.id)
    )
    with reading(engine) as connection:
        return [AttemptMade.model_validate(row) for row in connection.execute(mine)]
