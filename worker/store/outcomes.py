"""What a verdict makes of its item: one update for each kind of verdict, and what is noted in each of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Connection, Integer, Row, String, Text, or_, update

from worker.domain.states import ItemState
from worker.domain.steps import Notes
from worker.domain.verdicts import CalledOff, GiveUp, Installed, LookFirst, Released, RetryAt, Verdict
from worker.domain.words import CANCELLED_ABSENT
from worker.store.bulk import UpdateOfMany
from worker.store.claiming import NOTED, ClaimedItem, set_noted, write_notes
from worker.store.tables import UtcDateTime, items
from worker.store.tallies import Failure


def write_items(
    connection: Connection, endings: Sequence[tuple[ClaimedItem, Verdict, Notes]], now: datetime
) -> None:
    """Write down these verdicts with their notes, where the claim in hand still holds. `now`: on the database's clock."""
    for kind, statement in _UPDATES.items():
        rows = [
            {"id": item.id, "claim_id": item.claim_id} | write_notes(notes) | _to_values(item, verdict, now)
            for item, verdict, notes in endings
            if isinstance(verdict, kind)
        ]
        statement.run(connection, rows)


def to_failure(item: ClaimedItem | Row[Any], verdict: GiveUp) -> Failure:
    return Failure(
        item.job_id,
        item.row_number,
        item.account_id,
        code=verdict.code,
        message=verdict.message,
        http_status=verdict.http_status,
        can_retry_help=verdict.can_retry_help,
    )


_BACK_IN_THE_QUEUE = {"state": ItemState.QUEUED, "claim_id": None, "claim_until": None}
_OVER = {"claim_id": None, "claim_until": None, "tried": True, "attempts": items.c.attempts + 1}
_WHY = {"code": String(), "message": Text(), "http_status": Integer()}
_LATER = {"due_at": UtcDateTime(), "cost": Integer(), **_WHY}
_ENDED = {"settled_at": UtcDateTime()}


def _update_for(types: Mapping[str, Any], **always: Any) -> UpdateOfMany:
    """Sets what `types` names to what each row has, and the rest to the same for all rows."""

    def make(given: Mapping[str, Any]) -> Any:
        # The claim's id stands in every statement too: whatever came before, a lost claim changes nothing.
        mine = update(items).where(items.c.id == given["id"], items.c.claim_id == given["claim_id"])
        set_to = set_noted(given) | {name: given[name] for name in types if name != "cost"}
        if "cost" in types:
            set_to["attempts"] = items.c.attempts + given["cost"]
        if "maybe_sent" in types:
            set_to["maybe_sent"] = or_(items.c.maybe_sent, given["maybe_sent"])
        return mine.values(**always, **set_to)

    return UpdateOfMany({"id": BigInteger(), "claim_id": String(), **NOTED, **types}, make)


_UPDATES: dict[type, UpdateOfMany] = {
    Released: _update_for({}, **_BACK_IN_THE_QUEUE),
    RetryAt: _update_for(_LATER, **_BACK_IN_THE_QUEUE, tried=True),
    LookFirst: _update_for(
        _LATER | {"maybe_sent": Boolean()}, **_BACK_IN_THE_QUEUE, tried=True, must_look=True
    ),
    Installed: _update_for(
        _WHY
        | _ENDED
        | {
            "outcome": String(),
            "is_authenticated": Boolean(),
            "is_ours": Boolean(),
            "differs": JSON(none_as_null=True),
        },
        **_OVER,
        state=ItemState.INSTALLED,
        sealed=None,  # no secret of an installed item stays in the database
        must_look=False,
    ),
    GiveUp: _update_for(
        _WHY | _ENDED | {"must_look": Boolean(), "can_retry_help": Boolean(), "reason": String()},
        **_OVER,
        state=ItemState.FAILED,
    ),
    CalledOff: _update_for(
        _ENDED,
        **_OVER,
        state=ItemState.CANCELLED,
        must_look=False,
        code=None,
        message=CANCELLED_ABSENT,
    ),
}


def _to_values(item: ClaimedItem, verdict: Verdict, now: datetime) -> dict[str, Any]:
    match verdict:
        case RetryAt() | LookFirst():
            sent = {"maybe_sent": verdict.maybe_sent} if isinstance(verdict, LookFirst) else {}
            return sent | {
                "due_at": now + timedelta(seconds=verdict.after_s),
                "cost": int(verdict.costs_attempt),
                "code": verdict.code,
                "message": verdict.reason,
                "http_status": verdict.http_status,
            }
        case Installed():
            return {
                "settled_at": now,
                "outcome": verdict.outcome,
                "code": verdict.code,
                "message": verdict.message,
                "http_status": None,
                "account_connector_id": verdict.account_connector_id,
                "is_authenticated": verdict.is_authenticated,
                "is_ours": verdict.is_ours,
                "differs": list(verdict.differs),
            }
        case GiveUp():
            return {
                "settled_at": now,
                "must_look": not verdict.is_absent,
                "code": verdict.code,
                "message": verdict.message,
                "http_status": verdict.http_status,
                "can_retry_help": verdict.can_retry_help,
                "reason": to_failure(item, verdict).reason,
            }
        case CalledOff():
            return {"settled_at": now}
        case Released():
            return {}
