"""The accounts that rows of any job were for: found by id or its beginning, at a cost that does not grow with the rows."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Engine, bindparam, not_, select, text

from worker.store.session import reading
from worker.store.tables import IS_FORGOTTEN, items, jobs

_LAST = "\U0010ffff"  # behind every letter that an id can hold


@dataclass(frozen=True, slots=True)
class AccountRow:
    """A row that was for the account. `item_id`: grows with time, so that pages begin behind it."""

    item_id: int
    job_id: str
    row_number: int


def find_account_ids(engine: Engine, begins: str, *, after: str | None = None, limit: int) -> list[str]:
    """So many accounts whose ids begin so, in the same case, in the order of their letters' numbers. `after`: the last one of
    the page before.

    Each is one step of the index, so that an account with a million rows costs no more than one with a single row.
    """
    found: list[str] = []
    with reading(engine) as connection:
        is_postgres = connection.dialect.name == "postgresql"
        order = text("items.account_id USING ~<~") if is_postgres else items.c.account_id
        while len(found) < limit:
            last = found[-1] if found else after
            beyond = _compared(">", "last", is_postgres) if last is not None else None
            wanted = select(items.c.account_id).where(
                _compared(">=", "first", is_postgres), _compared("<", "edge", is_postgres)
            )
            if beyond is not None:
                wanted = wanted.where(beyond)
            values = {"first": begins, "edge": begins + _LAST} | ({} if last is None else {"last": last})
            next_id = connection.scalar(wanted.order_by(order).limit(1), values)
            if next_id is None:
                break
            found.append(next_id)
    return found


def list_account_rows(
    engine: Engine, account_id: str, *, before: int | None = None, limit: int
) -> list[AccountRow]:
    """So many rows that were for this account, whatever their job, the newest first. `before`: the last one's `item_id` of the
    page before this one.
    """
    wanted = (
        select(items.c.id.label("item_id"), items.c.job_id, items.c.row_number)
        .join(jobs, jobs.c.id == items.c.job_id)
        .where(items.c.account_id == account_id, not_(IS_FORGOTTEN))
        .order_by(items.c.account_id.desc(), items.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        wanted = wanted.where(items.c.id < before)
    with reading(engine) as connection:
        return [AccountRow(*row) for row in connection.execute(wanted)]


def _compared(operator: str, name: str, is_postgres: bool) -> ColumnElement[Any]:
    """By the numbers of letters, whatever the language of the database, as the index is ordered."""
    written = f"~{operator}~" if is_postgres else operator
    return items.c.account_id.op(written, is_comparison=True)(bindparam(name))
