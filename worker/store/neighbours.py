"""What our own rows have in an account: so that nothing of ours is taken for somebody else's."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Engine, select

from worker.domain.states import Outcome
from worker.domain.steps import CONNECTOR
from worker.domain.targets import target_key
from worker.store.claiming import ClaimedItem
from worker.store.session import glancing
from worker.store.tables import items

_MADE = (
    *(items.c.account_connector_id, items.c.is_ours, items.c.steps_done, items.c.outcome),
    items.c.authentication_id,
)


def list_ours(engine: Engine, item: ClaimedItem, names: Mapping[int, str]) -> set[int]:
    """Of account connectors of the item's account those whose Name another row of its job has, or that a row of any job has
    made. `names`: their ids and Names.
    """
    there = {target_key(item.instance_id, item.account_id, name): id_ for id_, name in names.items()}
    with glancing(engine) as connection:
        rows = connection.execute(
            select(items.c.target, items.c.job_id, *_MADE).where(items.c.target.in_(sorted(there)))
        ).all()
    return {
        there[row.target] for row in rows if row.job_id == item.job_id or _has_made(row, there[row.target])
    }


def has_made_by_method(engine: Engine, item: ClaimedItem, account_connector_id: int) -> bool:
    """Whether a row of ours has installed this account connector by the item's method."""
    target = target_key(item.instance_id, item.account_id, item.name)
    with glancing(engine) as connection:
        rows = connection.execute(select(*_MADE).where(items.c.target == target)).all()
    return any(
        _has_made(row, account_connector_id) and row.authentication_id == item.authentication_id
        for row in rows
    )


def _has_made(row: Any, account_connector_id: int) -> bool:
    done: Iterable[str] = row.steps_done or ()
    # A version before kept no other proof than the outcome.
    is_made = row.is_ours or CONNECTOR.name in done or row.outcome == Outcome.CREATED
    return bool(is_made) and row.account_connector_id == account_connector_id
