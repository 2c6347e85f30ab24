"""What a verdict makes of its item: one update for each kind of verdict."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Connection,
    Integer,
    String,
    Text,
    bindparam,
    column,
    func,
    or_,
    update,
)

from worker.domain.states import ItemState
from worker.domain.verdicts import CalledOff, GiveUp, Installed, LookFirst, Released, RetryAt, Verdict
from worker.store.claiming import ClaimedItem
from worker.store.tables import UtcDateTime, items
from worker.store.tallies import Failure

_BACK_IN_THE_QUEUE = {"state": ItemState.QUEUED, "claim_id": None, "claim_until": None}
_OVER = {"claim_id": None, "claim_until": None, "tried": True, "attempts": items.c.attempts + 1}


def write_items(
    connection: Connection, verdicts: Sequence[tuple[ClaimedItem, Verdict]], now: datetime
) -> None:
    """Write down these verdicts, where the claim in hand still holds. `now`: on the database's clock."""
    is_postgres = connection.dialect.name == "postgresql"
    for kind in _IN_ONE_STATEMENT:
        rows = [_to_values(item, verdict, now) for item, verdict in verdicts if isinstance(verdict, kind)]
        if rows and is_postgres:
            connection.execute(_IN_ONE_STATEMENT[kind], {"rows": [_as_json(row) for row in rows]})
        elif rows:
            connection.execute(_ROW_BY_ROW[kind], rows)


# What a row of values holds.
_VALUES: dict[str, Any] = {
    "b_id": BigInteger(),
    "b_claim_id": String(),
    "b_now": UtcDateTime(),
    "b_due_at": UtcDateTime(),
    "b_cost": Integer(),
    "b_code": String(),
    "b_message": Text(),
    "b_http_status": Integer(),
    "b_maybe_sent": Boolean(),
    "b_must_look": Boolean(),
    "b_can_retry_help": Boolean(),
    "b_reason": String(),
    "b_outcome": String(),
    "b_account_connector_id": BigInteger(),
    "b_is_authenticated": Boolean(),
    "b_differs": JSON(),
}


def _as_json(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


# The claim's id stands in every statement too: whatever came before, a lost claim changes nothing.
def _make_statements(given: Mapping[str, Any]) -> dict[type, Any]:
    """Verdict -> its update of items. `given`: the values of a row, as parameters or as columns."""
    is_held = (items.c.id == given["b_id"], items.c.claim_id == given["b_claim_id"])
    return {
        Released: update(items).where(*is_held).values(**_BACK_IN_THE_QUEUE),
        RetryAt: update(items)
        .where(*is_held)
        .values(
            **_BACK_IN_THE_QUEUE,
            due_at=given["b_due_at"],
            tried=True,
            attempts=items.c.attempts + given["b_cost"],
            code=given["b_code"],
            message=given["b_message"],
            http_status=given["b_http_status"],
        ),
        LookFirst: update(items)
        .where(*is_held)
        .values(
            **_BACK_IN_THE_QUEUE,
            due_at=given["b_due_at"],
            tried=True,
            attempts=items.c.attempts + given["b_cost"],
            code=given["b_code"],
            message=given["b_message"],
            http_status=given["b_http_status"],
            must_look=True,
            maybe_sent=or_(items.c.maybe_sent, given["b_maybe_sent"]),
        ),
        Installed: update(items)
        .where(*is_held)
        .values(
            **_OVER,
            state=ItemState.INSTALLED,
            sealed=None,  # no secret of an installed item stays in the database
            must_look=False,
            outcome=given["b_outcome"],
            code=given["b_code"],
            message=given["b_message"],
            http_status=given["b_http_status"],
            account_connector_id=given["b_account_connector_id"],
            is_authenticated=given["b_is_authenticated"],
            differs=given["b_differs"],
            settled_at=given["b_now"],
        ),
        GiveUp: update(items)
        .where(*is_held)
        .values(
            **_OVER,
            state=ItemState.FAILED,
            must_look=given["b_must_look"],
            code=given["b_code"],
            message=given["b_message"],
            http_status=given["b_http_status"],
            can_retry_help=given["b_can_retry_help"],
            reason=given["b_reason"],
            settled_at=given["b_now"],
        ),
        CalledOff: update(items)
        .where(*is_held)
        .values(
            **_OVER,
            state=ItemState.CANCELLED,
            must_look=False,
            code=None,
            message="cancelled; a look found nothing installed",
            settled_at=given["b_now"],
        ),
    }


def to_failure(item: ClaimedItem, verdict: GiveUp) -> Failure:
    return Failure(
        item.job_id,
        item.row_number,
        item.account_id,
        code=verdict.code,
        message=verdict.message,
        http_status=verdict.http_status,
        can_retry_help=verdict.can_retry_help,
    )


def _as_a_table() -> Mapping[str, Any]:
    columns = [column(name, kind) for name, kind in _VALUES.items()]
    rows = func.json_to_recordset(bindparam("rows", type_=JSON()))
    table = rows.table_valued(*columns, name="settled").render_derived(with_types=True)
    return dict(table.c.items())


_ROW_BY_ROW = _make_statements({name: bindparam(name, type_=kind) for name, kind in _VALUES.items()})
# On PostgreSQL a group is one statement, whose rows come as one parameter: half of the work here.
_IN_ONE_STATEMENT = _make_statements(_as_a_table())


def _to_values(item: ClaimedItem, verdict: Verdict, now: datetime) -> dict[str, Any]:
    held = {"b_id": item.id, "b_claim_id": item.claim_id}
    match verdict:
        case RetryAt() | LookFirst():
            sent = {"b_maybe_sent": verdict.maybe_sent} if isinstance(verdict, LookFirst) else {}
            return (
                held
                | sent
                | {
                    "b_due_at": now + timedelta(seconds=verdict.after_s),
                    "b_cost": int(verdict.costs_attempt),
                    "b_code": verdict.code,
                    "b_message": verdict.reason,
                    "b_http_status": verdict.http_status,
                }
            )
        case Installed():
            return held | {
                "b_now": now,
                "b_outcome": verdict.outcome,
                "b_code": verdict.code,
                "b_message": verdict.message,
                "b_http_status": None,
                "b_account_connector_id": verdict.account_connector_id,
                "b_is_authenticated": verdict.is_authenticated,
                "b_differs": list(verdict.differs),
            }
        case GiveUp():
            return held | {
                "b_now": now,
                "b_must_look": not verdict.is_absent,
                "b_code": verdict.code,
                "b_message": verdict.message,
                "b_http_status": verdict.http_status,
                "b_can_retry_help": verdict.can_retry_help,
                "b_reason": to_failure(item, verdict).reason,
            }
        case CalledOff():
            return held | {"b_now": now}
        case Released():
            return held
