"""Tallies: what settle counts beside the counters, so that every look costs the same whatever the job's size.

They are written last in a transaction: items first, then job rows in id order, then tallies in the order of their keys.
Those of a job belong to whoever has locked its row, so they may be read and then written; those of an instance are
added to in place.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import accumulate, groupby
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Connection, Engine, Row, and_, delete, func, insert, or_, select, tuple_, update

from worker.domain.reasons import KEY_LENGTH, cut, in_common, reason_key
from worker.domain.states import ItemState, Outcome
from worker.domain.words import of_code
from worker.store.session import reading, upsert_into
from worker.store.tables import call_tallies, failure_tallies, items, jobs, outcome_tallies, pace_points

_PLACES: Mapping[str, int] = {outcome: place for place, outcome in enumerate(Outcome)}
ALL_FIELDS = ""  # the tally of all rows of an outcome, whatever was changed
MOST_POINTS = 300  # of the pace of one job
LATENCY_BUCKETS_S = (
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)  # up to and with; one more for all above


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that failed, as it is written down."""

    job_id: str
    row_number: int
    account_id: str
    code: str
    message: str
    http_status: int | None
    can_retry_help: bool | None

    @property
    def key(self) -> tuple[str, str]:
        reason = reason_key(self.code, self.http_status, self.message, can_retry_help=self.can_retry_help)
        return self.job_id, reason

    @property
    def reason(self) -> str:
        """The key of its group as people type it, and as the item keeps it."""
        return self.key[1][:KEY_LENGTH]


FAILURE_COLUMNS = tuple(items.c[field.name] for field in fields(Failure))


def to_failure(row: Row[Any]) -> Failure:
    """`row`: of `FAILURE_COLUMNS`, and perhaps of others."""
    return Failure(*(getattr(row, column.name) for column in FAILURE_COLUMNS))


@dataclass(frozen=True, slots=True)
class FailureReason:
    """Failed items of one reason. `message`: what is the same in all of theirs; `example_row`: the first of them."""

    reason: Annotated[str, Field(description="Its key, for `reason` elsewhere.", examples=["3f9a0c12"])]
    code: str
    http_status: int | None
    message: str
    count: int
    can_retry_help: bool
    example_row: int
    example_account_id: str
    advice: Annotated[str, Field(description="What to do about it.")]

    @property
    def title(self) -> str:
        """What happened, whatever the message says of it."""
        return of_code(self.code).title


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """So many of a job's rows are done in this way."""

    outcome: Annotated[str, Field(examples=["created"])]
    count: int
    changed: Annotated[Mapping[str, int], Field(description="Of how many of them each field was changed.")]


@dataclass(frozen=True, slots=True)
class PacePoint:
    """Items that ended in the `over_s` seconds from `at` on. A retry takes nothing back: it ends once more."""

    at: datetime
    over_s: int
    installed: int
    failed: int


@dataclass(frozen=True, slots=True)
class CallMade:
    """One call of an attempt. `outcome`: the HTTP status, `never_sent` or `unknown`."""

    call: str
    outcome: str
    took_s: float


@dataclass(frozen=True, slots=True)
class CallTally:
    """Calls of one kind and outcome, of attempts that were settled. `took_s`: of all of them together.

    `within`: how many took at most each of `LATENCY_BUCKETS_S`.
    """

    call: str
    outcome: str
    count: int
    took_s: float
    within: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FailureCursor:
    """A place in the list of a job's groups: behind the one with this count and this first row. As a text: `1290-14`."""

    count: int
    example_row: int

    def __str__(self) -> str:
        return f"{self.count}-{self.example_row}"

    @classmethod
    def of(cls, group: FailureReason) -> "FailureCursor":
        return cls(group.count, group.example_row)

    @classmethod
    def from_text(cls, text: str) -> "FailureCursor":
        """`text`: two whole numbers, with a hyphen between them."""
        count, _, example_row = text.partition("-")
        return cls(int(count), int(example_row))


def list_failures(
    engine: Engine,
    job_id: str,
    *,
    limit: int = 100,
    after: FailureCursor | None = None,
    before: FailureCursor | None = None,
) -> list[FailureReason]:
    """The job's failed items by reason, the largest group first. `after`: those behind this place; `before`: the last so
    many of those before it.
    """
    is_backwards = before is not None
    count, row = failure_tallies.c.count, failure_tallies.c.example_row
    groups = select(failure_tallies).where(failure_tallies.c.job_id == job_id)
    if after is not None:
        groups = groups.where(or_(count < after.count, and_(count == after.count, row > after.example_row)))
    if before is not None:
        groups = groups.where(
            or_(count > before.count, and_(count == before.count, row < before.example_row))
        )
    order = (count, row.desc()) if is_backwards else (count.desc(), row)
    with reading(engine) as connection:
        found = [_to_group(each) for each in connection.execute(groups.order_by(*order).limit(limit))]
    return found[::-1] if is_backwards else found


def find_failure(engine: Engine, job_id: str, reason: str) -> FailureReason | None:
    """The job's group with this key; None where no failed item has it. It goes through the job's groups, not its items."""
    is_this = func.substr(failure_tallies.c.reason, 1, KEY_LENGTH) == reason
    mine = select(failure_tallies).where(failure_tallies.c.job_id == job_id, is_this)
    with reading(engine) as connection:
        row = connection.execute(mine.limit(1)).first()
    return None if row is None else _to_group(row)


def _to_group(row: Row[Any]) -> FailureReason:
    return FailureReason(
        reason=row.reason[:KEY_LENGTH],
        code=row.code,
        http_status=row.http_status,
        message="".join(row.parts),
        count=row._mapping["count"],
        can_retry_help=row.can_retry_help,
        example_row=row.example_row,
        example_account_id=row.example_account_id,
        advice=of_code(row.code).advice,
    )


def list_outcomes(engine: Engine, job_id: str) -> list[OutcomeCount] | None:
    """How the job's done rows came to be so, in the order of `Outcome`: together they are its `installed` rows.

    None where some of them ended before this was counted, or were settled by a worker of the version that did not.
    """
    # In one question, so that the counter and the tallies are of one moment.
    mine = (
        select(jobs.c.installed, outcome_tallies.c.outcome, outcome_tallies.c.field, outcome_tallies.c.count)
        .outerjoin(outcome_tallies, outcome_tallies.c.job_id == jobs.c.id)
        .where(jobs.c.id == job_id)
        .order_by(outcome_tallies.c.outcome)
    )
    with reading(engine) as connection:
        rows = connection.execute(mine).all()
    counts: dict[str, dict[str, int]] = {}
    for _, outcome, field, count in rows:
        if outcome is not None:
            counts.setdefault(outcome, {})[field] = count
    tallies = [OutcomeCount(outcome, fields.pop(ALL_FIELDS, 0), fields) for outcome, fields in counts.items()]
    is_whole = bool(rows) and rows[0].installed == sum(tally.count for tally in tallies)
    tallies.sort(key=lambda tally: _PLACES.get(tally.outcome, len(_PLACES)))
    return tallies if is_whole else None


def list_pace(engine: Engine, job_id: str) -> list[PacePoint]:
    """When the job's items ended, in the order of time: about 300 points at most, none where nothing ended."""
    points = select(pace_points, jobs.c.pace_s).join(jobs).where(pace_points.c.job_id == job_id)
    with reading(engine) as connection:
        rows = connection.execute(points.order_by(pace_points.c.at))
        return [PacePoint(row.at, row.pace_s, row.installed, row.failed) for row in rows]


def read_call_tallies(engine: Engine, instance_id: str) -> list[CallTally]:
    """All calls that attempts made to this instance, by call and outcome."""
    mine = select(call_tallies).where(call_tallies.c.instance_id == instance_id)
    in_order = mine.order_by(call_tallies.c.call, call_tallies.c.outcome, call_tallies.c.bucket)
    with reading(engine) as connection:
        rows = list(connection.execute(in_order))
    return [_to_call_tally(list(group)) for _, group in groupby(rows, lambda row: (row.call, row.outcome))]


def _to_call_tally(rows: Sequence[Row[Any]]) -> CallTally:
    calls = {row.bucket: row.calls for row in rows}
    within = accumulate(calls.get(bucket, 0) for bucket in range(len(LATENCY_BUCKETS_S)))
    took_s = sum(row.took_s for row in rows)
    return CallTally(rows[0].call, rows[0].outcome, sum(calls.values()), took_s, tuple(within))


def add_failures(connection: Connection, failures: Iterable[Failure]) -> None:
    """Count these too. The caller has locked their jobs."""
    groups = _by_reason(failures)
    known = _known_failures(connection, groups)
    rows = [_added(known.get(key), key, group) for key, group in sorted(groups.items())]
    set_anew = ("parts", "count", "example_row", "example_account_id")
    _upsert(connection, failure_tallies, rows, {name: lambda _, new: new for name in set_anew})


def add_outcomes(connection: Connection, ended: Iterable[tuple[str, str, Sequence[str]]]) -> None:
    """Count these too: each the job, the outcome, and the fields that were changed. The caller has locked their jobs."""
    counts = Counter(
        (job_id, outcome, field) for job_id, outcome, changed in ended for field in {ALL_FIELDS, *changed}
    )
    names = ("job_id", "outcome", "field")
    rows = [dict(zip(names, key, strict=True)) | {"count": counts[key]} for key in sorted(counts)]
    _upsert(connection, outcome_tallies, rows, {"count": _sum})


def remove_failures(connection: Connection, failures: Iterable[Failure]) -> None:
    """Count these no longer: they are queued again. The caller has locked their job."""
    groups = _by_reason(failures)
    for key, known in sorted(_known_failures(connection, groups).items()):
        group = groups[key]
        is_this = and_(failure_tallies.c.job_id == key[0], failure_tallies.c.reason == key[1])
        left = known._mapping["count"] - len(group)
        if left <= 0:
            connection.execute(delete(failure_tallies).where(is_this))
            continue
        changes: dict[str, Any] = {"count": left}
        if any(failure.row_number == known.example_row for failure in group):
            changes |= _next_example(connection, known)
        connection.execute(update(failure_tallies).where(is_this).values(changes))


def _by_reason(failures: Iterable[Failure]) -> dict[tuple[str, str], list[Failure]]:
    groups: dict[tuple[str, str], list[Failure]] = {}
    for failure in failures:
        groups.setdefault(failure.key, []).append(failure)
    return groups


def _known_failures(
    connection: Connection, keys: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Row[Any]]:
    wanted = sorted(keys)
    if not wanted:
        return {}
    key = tuple_(failure_tallies.c.job_id, failure_tallies.c.reason)
    rows = connection.execute(select(failure_tallies).where(key.in_(wanted)))
    return {(row.job_id, row.reason): row for row in rows}


def _added(known: Row[Any] | None, key: tuple[str, str], group: Sequence[Failure]) -> dict[str, Any]:
    first = min(group, key=lambda failure: failure.row_number)
    parts = cut(first.message) if known is None else list(known.parts)
    for failure in group:
        parts = in_common(parts, cut(failure.message))
    row = {
        "job_id": key[0],
        "reason": key[1],
        "code": first.code,
        "http_status": first.http_status,
        "can_retry_help": bool(first.can_retry_help),
        "parts": parts,
        "count": len(group),
        "example_row": first.row_number,
        "example_account_id": first.account_id,
    }
    if known is None:
        return row
    row["count"] = known._mapping["count"] + len(group)
    if known.example_row < first.row_number:
        row |= {"example_row": known.example_row, "example_account_id": known.example_account_id}
    return row


def _next_example(connection: Connection, tally: Row[Any]) -> dict[str, Any]:
    # The example is the first of its group, so the next one comes after it.
    candidates = (
        select(*FAILURE_COLUMNS)
        .where(
            items.c.job_id == tally.job_id,
            items.c.state == ItemState.FAILED,
            items.c.code == tally.code,
            items.c.http_status.is_not_distinct_from(tally.http_status),
            items.c.row_number > tally.example_row,
        )
        .order_by(items.c.row_number)
    )
    with connection.execute(candidates, execution_options={"yield_per": 100}) as rows:
        for row in rows:
            if to_failure(row).key == (tally.job_id, tally.reason):
                return {"example_row": row.row_number, "example_account_id": row.account_id}
    return {}


def add_pace(
    connection: Connection, locked: Iterable[Row[Any]], ended: Mapping[str, Counter[str]], now: datetime
) -> None:
    """Count what ended now. `locked`: rows of jobs, with `created_at` and `pace_s`. `ended`: job id -> how many by state."""
    rows = []
    for job in locked:
        counts = ended.get(job.id, Counter())
        if not (counts["installed"] or counts["failed"]):
            continue
        over_s = max(job.pace_s, _width_s((now - job.created_at).total_seconds()))
        if over_s > job.pace_s:
            _widen(connection, job.id, over_s)
        at = _begin(now, over_s)
        rows.append(
            {"job_id": job.id, "at": at, "installed": counts["installed"], "failed": counts["failed"]}
        )
    _upsert(connection, pace_points, rows, {"installed": _sum, "failed": _sum})


def _width_s(elapsed_s: float) -> int:
    """So wide that points from the job's beginning to now are at most `MOST_POINTS`: a power of two."""
    width_s = 1
    while elapsed_s >= MOST_POINTS * width_s:
        width_s *= 2
    return width_s


def _begin(at: datetime, over_s: int) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // over_s * over_s, UTC)


def _widen(connection: Connection, job_id: str, over_s: int) -> None:
    # Once each time that the job's age doubles.
    is_mine = pace_points.c.job_id == job_id
    wider: dict[datetime, Counter[str]] = {}
    for row in connection.execute(select(pace_points).where(is_mine)):
        counts = wider.setdefault(_begin(row.at, over_s), Counter())
        counts.update(installed=row.installed, failed=row.failed)
    connection.execute(delete(pace_points).where(is_mine))
    if wider:
        connection.execute(
            insert(pace_points), [{"job_id": job_id, "at": at} | counts for at, counts in wider.items()]
        )
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(pace_s=over_s))


def add_calls(connection: Connection, made: Iterable[tuple[str, CallMade]]) -> None:
    """Count these calls too, each with the id of its instance: the last step of a transaction, since all share the tallies."""
    calls: Counter[tuple[str, str, str, int]] = Counter()
    took_s: Counter[tuple[str, str, str, int]] = Counter()
    for instance_id, call in made:
        key = instance_id, call.call, call.outcome, bisect_left(LATENCY_BUCKETS_S, call.took_s)
        calls[key] += 1
        took_s[key] += call.took_s  # type: ignore[assignment]
    names = ("instance_id", "call", "outcome", "bucket")
    rows = [
        dict(zip(names, key, strict=True)) | {"calls": calls[key], "took_s": took_s[key]}
        for key in sorted(calls)
    ]
    _upsert(connection, call_tallies, rows, {"calls": _sum, "took_s": _sum})


def _sum(old: Any, new: Any) -> Any:
    return old + new


def _upsert(connection: Connection, table: Any, rows: Sequence[dict[str, Any]], changes: Any) -> None:
    """Insert `rows`, or change those that are there. `changes`: column -> what the old and the new value make."""
    if not rows:
        return
    statement = upsert_into(connection, table)
    new = {name: change(table.c[name], statement.excluded[name]) for name, change in changes.items()}
    keys = [column.name for column in table.primary_key]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=new), list(rows))
