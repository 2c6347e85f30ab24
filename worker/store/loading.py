"""Rows become a job and its items: what each becomes there, and how they come in, in pieces, beside other loads."""

import os
import re
import secrets as randomness
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from worker.clock import Clock
from worker.domain.connectors import Connector
from worker.domain.failures import ToldFailure
from worker.domain.options import JobOptions
from worker.domain.rows import PlannedRow, Problem, RefusedRow, SkippedRow, Warning_
from worker.domain.states import ItemState, JobState
from worker.store.faults import LOCK_TIMED_OUT, find_sqlstate
from worker.store.memory import (
    KEYS_PER_QUERY,
    MustGiveWay,
    Waiting,
    find_met,
    iter_known,
    list_shown_otherwise,
)
from worker.store.postgres import change_limits
from worker.store.sealing import Sealer
from worker.store.session import Locked, db_now, insert_rows, waiting_only, writing
from worker.store.tables import (
    HELD_UNTIL,
    items,
    job_connectors,
    job_warnings,
    jobs,
    unloaded_rows,
)
from worker.store.upkeep import delete_load

T = TypeVar("T")
PIECE = 5_000  # one transaction of 1,000,000 rows would block every other writer of SQLite for 10-18 s
PIECE_CHARACTERS = 4_000_000  # of cells: rows may be long, and memory is not to grow with them
HEARD_EVERY_S = 1.0  # of a loader
LIVE_TARGETS = "uq_items_live_target"
MOST_TRIES = 40  # of a piece: others may come first again and again
# A loader that is stopped in the middle of a piece must not hold up those that come upon its rows for long.
PIECE_LIMITS = {"lock_timeout": "3s", "statement_timeout": "20s"}
PIECE_LOCK_S = 3.0
LOCKED_MS = 1_000  # after so long whoever is in the way on SQLite is named
WARNINGS_KEPT = 100
JOB_ID_LETTERS = "bcdfghjkmnpqrstvwxz23456789"  # nothing that reads like another letter, or like a word
UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")  # PostgreSQL takes no NUL, and no database half a character


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a job is before its rows. `fingerprint`: of content, connector and instance; `first`: hold back all but so many.

    `delimiter`: between the cells of the file. `id`: from `new_job_id`; None makes one. `api_key_id`: of the API key
    that hands it in; None: a command does.
    """

    source_name: str
    fingerprint: str
    columns: Sequence[str]
    options: JobOptions = field(default_factory=JobOptions)
    first: int | None = None
    id: str | None = None
    delimiter: str = ","
    api_key_id: str | None = None
    operation: str = "install"


def _begun_at(connection: Connection, job_id: str, fingerprint: str) -> datetime | None:
    begun = select(jobs.c.created_at).where(
        jobs.c.id == job_id, jobs.c.fingerprint == fingerprint, jobs.c.state == JobState.LOADING
    )
    at: datetime | None = connection.execute(begun).scalar()
    return at


def new_job_id(now: datetime) -> str:
    """Short enough to be read aloud, and sorted by day: `261121-k3x9qd`."""
    return f"{now:%y%m%d}-" + "".join(randomness.choice(JOB_ID_LETTERS) for _ in range(6))


class LoadLost(ToldFailure):
    """The job that was being loaded is gone: its loader was taken for dead."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"job {job_id} was loaded too slowly and was taken for abandoned; nothing of it was installed, run it again"
        )
        self.job_id = job_id


class _InTheWay(Exception):
    """The piece could not be written: a target of it is live, or (`is_lock`) in a transaction that has not ended."""

    def __init__(self, error: DBAPIError, *, is_lock: bool) -> None:
        super().__init__()
        self.error = error
        self.is_lock = is_lock


class Loader:
    """Loads one job in pieces, beside others. Until `finish` it is `loading` and nothing claims from it; `abandon` undoes it.

    `refuse`: what becomes of a row whose target the job of this id has to do, which was not there when the row was planned.
    `waiting`: how it waits for a younger load that has come first to a target.

    Every transaction of it may be repeated: after a lost connection nobody knows whether the commit came to pass.
    """

    def __init__(
        self,
        engine: Engine,
        sealer: Sealer,
        instance_id: str,
        job: NewJob,
        *,
        refuse: Callable[[PlannedRow, str], RefusedRow],
        waiting: Waiting | None = None,
    ) -> None:
        self._engine = engine
        self._impatient = waiting_only(engine, LOCKED_MS)
        self._sealer = sealer
        self._first = job.first
        self._refuse = refuse
        self._waiting = waiting or Waiting(engine)
        self._clock = Clock()
        self._heard_at = self._clock.moment()
        self._items: list[dict[str, Any]] = []
        self._planned: dict[str, PlannedRow] = {}
        self._unloaded: list[dict[str, Any]] = []
        self._characters = 0
        self._connectors: dict[str, int] = {}
        self._counts = {"total": 0, "held": 0, "refused": 0, "skipped": 0}
        self._done_by: Counter[str] = Counter()

        def work(connection: Connection) -> tuple[str, datetime]:
            now = db_now(connection)
            job_id = job.id or new_job_id(now)
            if begun_at := _begun_at(connection, job_id, job.fingerprint):
                return job_id, begun_at
            connection.execute(
                insert(jobs).values(
                    id=job_id,
                    instance_id=instance_id,
                    state=JobState.LOADING,
                    source_name=storable(job.source_name),
                    api_key_id=job.api_key_id,
                    fingerprint=job.fingerprint,
                    columns=list(job.columns),
                    delimiter=job.delimiter,
                    operation=job.operation,
                    options=job.options.to_json(),
                    # For workers of the version before that, which know no options: as `FOR_THE_VERSION_BEFORE` has it.
                    look_first=True,
                    skip_if_present=True,
                    created_at=now,
                    loader_seen_at=now,
                    loader=f"process {os.getpid()} on {socket.gethostname()}",
                )
            )
            return job_id, now

        self.job_id = job.id or ""
        self.job_id, self._began_at = self._writing(work)

    def add_connector(self, key: str, connector: Connector) -> None:
        """Make the connector of the rows with this `connector_key` known, before the first of them."""

        def work(connection: Connection) -> int:
            self._change_job(connection, loader_seen_at=db_now(connection))
            known = select(job_connectors.c.id).where(
                job_connectors.c.job_id == self.job_id, job_connectors.c.key == key
            )
            known_id: int | None = connection.execute(known).scalar()
            if known_id is not None:
                return known_id
            row = insert(job_connectors).values(
                job_id=self.job_id,
                key=key,
                release_id=connector.release_id,
                definition=connector.to_json(),
                renamed_methods={},
                resolved_at=db_now(connection),
            )
            return int(connection.execute(row).inserted_primary_key[0])  # type: ignore[index]

        self._connectors[key] = self._writing(work)

    def add(self, row: PlannedRow | RefusedRow | SkippedRow, *, account_exists: bool) -> None:
        """Take one row; pieces are written as they fill. Raises: LoadLost, UnstorableText, MustGiveWay."""
        match row:
            case PlannedRow():
                self._items.append(self._to_item(row, account_exists=account_exists))
                self._planned[row.target] = row
            case _:
                self._leave_out(row)
        self._characters += sum(map(len, row.cells))
        if len(self._items) + len(self._unloaded) >= PIECE or self._characters >= PIECE_CHARACTERS:
            self.write()
        else:
            self._be_heard()

    def _leave_out(self, row: RefusedRow | SkippedRow) -> None:
        self._counts["refused" if isinstance(row, RefusedRow) else "skipped"] += 1
        if isinstance(row, SkippedRow):
            self._done_by[row.job_id] += 1
        self._unloaded.append(new_unloaded_row(row, job_id=self.job_id))

    def finish(self, warnings: Sequence[Warning_] = (), warning_count: int = 0) -> None:
        """The last step: the job runs. Only after this may a ticket be sent. Raises: LoadLost, MustGiveWay.

        `warnings`: of its check, of which the first 100 are kept; `warning_count`: of all rows.
        """
        self.write()
        kept = [new_warning(warning) for warning in warnings[:WARNINGS_KEPT]]

        def work(connection: Connection) -> None:
            if self._has_finished(connection):
                return
            now = db_now(connection)
            is_empty = self._counts["total"] == 0
            self._change_job(
                connection,
                **self._counts,
                done_by=dict(self._done_by) or None,
                state=JobState.COMPLETED if is_empty else JobState.RUNNING,
                started_at=now,
                finished_at=now if is_empty else None,
                working_since=None if is_empty else now,
                loader_seen_at=None,
                warning_count=warning_count,
            )
            if kept:
                connection.execute(insert(job_warnings).values(job_id=self.job_id, warnings=kept))

        self._writing(work)

    def abandon(self) -> None:
        """Undo the load; nothing of it was ever due. Safe to repeat."""
        delete_load(self._engine, self.job_id)

    def write(self) -> None:
        """Write the rows that were taken since the last piece. Raises: LoadLost, MustGiveWay.

        Where another load has a target of theirs, it is waited for if it is the younger one.
        """
        for left in reversed(range(MOST_TRIES)):
            self._hold_back_all_but_the_first()
            try:
                self._writing(self._write_piece)
            except _InTheWay as met:
                if not left:
                    raise met.error from None
                self._make_room(is_lock=met.is_lock)
            else:
                break
        self._counts["total"] += len(self._items)
        self._counts["held"] += sum(item["due_at"] == HELD_UNTIL for item in self._items)
        self._items, self._unloaded = [], []
        self._planned.clear()
        self._characters = 0
        self._heard_at = self._clock.moment()

    def _write_piece(self, connection: Connection) -> None:
        change_limits(connection, **PIECE_LIMITS)
        self._change_job(connection, loader_seen_at=db_now(connection))
        if self._is_written(connection, items, self._items[:1]):
            return
        if self._is_written(connection, unloaded_rows, self._unloaded[:1]):
            return
        with _in_the_way():
            insert_rows(connection, items, self._items)
        insert_rows(connection, unloaded_rows, self._unloaded)
        # From here on nobody else takes these targets; whoever had one since the row was planned has settled it.
        fresh = [item["target"] for item in self._items if not item["must_look"]]
        tried = [target for target, known in iter_known(connection, fresh) if known.state != "live"]
        for start in range(0, len(tried), KEYS_PER_QUERY):
            these = items.c.target.in_(tried[start : start + KEYS_PER_QUERY])
            mine = update(items).where(items.c.job_id == self.job_id, these)
            connection.execute(mine.values(must_look=True))
        # Whoever has been shown something otherwise was tried, and is known by that.
        known = [item["target"] for item in self._items if item["must_look"]]
        for target, fields in list_shown_otherwise(connection, [*known, *tried]).items():
            mine = update(items).where(items.c.job_id == self.job_id, items.c.target == target)
            connection.execute(mine.values(shown_otherwise=fields))

    def _make_room(self, *, is_lock: bool) -> None:
        """Whoever has targets of this piece has ended when this returns, or their rows have left the piece."""
        met = find_met(self._engine, list(self._planned), besides=self.job_id)
        for load in met.loads:
            if (load.began_at, load.job_id) < (self._began_at, self.job_id):
                raise MustGiveWay(load)
            self._waiting.wait_for(load, self._be_heard)
        for target, job_id in met.jobs.items():
            self._items = [item for item in self._items if item["target"] != target]
            self._leave_out(self._refuse(self._planned.pop(target), job_id))
        if is_lock and not met.jobs and not met.loads:
            # Not to be seen before it is committed.
            self._waiting.note_write(self.job_id, PIECE_LOCK_S)
            self._be_heard()

    def _be_heard(self) -> None:
        """Raises: LoadLost."""
        if self._clock.since(self._heard_at) < HEARD_EVERY_S:
            return
        self._writing(lambda connection: self._change_job(connection, loader_seen_at=db_now(connection)))
        self._heard_at = self._clock.moment()

    def _writing(self, work: Callable[[Connection], T]) -> T:
        """As `writing`; where another process keeps SQLite locked, it is told what is waited for. Nobody can end that from here."""
        for left in reversed(range(MOST_TRIES)):
            try:
                return writing(self._impatient, work)
            except Locked as locked:
                if not left:
                    raise locked.error from None
                self._waiting.note_write(self.job_id, LOCKED_MS / 1_000)
        raise AssertionError("unreachable")

    def _hold_back_all_but_the_first(self) -> None:
        for number, item in enumerate(self._items, start=self._counts["total"] + 1):
            is_held = self._first is not None and number > self._first
            item["due_at"] = HELD_UNTIL if is_held else self._began_at

    def _is_written(self, connection: Connection, table: Table, first: list[dict[str, Any]]) -> bool:
        """Whether the piece of this row is there already: a piece comes whole or not at all."""
        numbers = [row["row_number"] for row in first]
        mine = select(table.c.row_number).where(
            table.c.job_id == self.job_id, table.c.row_number.in_(numbers)
        )
        return connection.execute(mine).first() is not None

    def _has_finished(self, connection: Connection) -> bool:
        state = connection.execute(select(jobs.c.state).where(jobs.c.id == self.job_id)).scalar()
        return state is not None and state != JobState.LOADING

    def _change_job(self, connection: Connection, **changes: Any) -> None:
        loading = update(jobs).where(
            jobs.c.id == self.job_id,
            jobs.c.state == JobState.LOADING,
            jobs.c.loader_seen_at.is_not(None),
        )
        if not connection.execute(loading.values(changes)).rowcount:
            raise LoadLost(self.job_id)

    def _to_item(self, planned: PlannedRow, *, account_exists: bool) -> dict[str, Any]:
        return new_item(
            planned,
            self._sealer,
            job_id=self.job_id,
            connector_id=self._connectors[planned.connector_key],
            due_at=self._began_at,
            account_exists=account_exists,
        )


@contextmanager
def _in_the_way() -> Iterator[None]:
    """Raises: _InTheWay instead of the driver's error where a target is taken."""
    try:
        yield
    except DBAPIError as error:
        if find_sqlstate(error) == LOCK_TIMED_OUT:
            raise _InTheWay(error, is_lock=True) from error
        if isinstance(error, IntegrityError) and _is_of_live_targets(error.orig):
            raise _InTheWay(error, is_lock=False) from error
        raise


def _is_of_live_targets(error: Any) -> bool:
    constraint = getattr(getattr(error, "diag", None), "constraint_name", None)
    return constraint == LIVE_TARGETS or str(error) == "UNIQUE constraint failed: items.target"


class UnstorableText(ToldFailure):
    """A row holds a text that the database cannot keep. The intake refuses such rows; this is the last line."""

    def __init__(self, row_number: int, column: str) -> None:
        super().__init__(
            f"row {row_number}, column {column}: expected text, got a NUL or half a character; nothing was installed"
        )
        self.row_number = row_number
        self.column = column


def storable(text: str) -> str:
    """The text with `?` for what no database takes: a file's name, say, may hold any byte."""
    return UNSTORABLE.sub("?", text)


def new_item(
    planned: PlannedRow,
    sealer: Sealer,
    *,
    job_id: str,
    connector_id: int,
    due_at: datetime,
    account_exists: bool,
) -> dict[str, Any]:
    """The row of `items`, secrets sealed. Raises: UnstorableText."""
    row, account = planned.row, planned.row.account
    texts = {
        "account_id": row.account_id,
        "name": planned.name,
        "authentication_id": planned.authentication_id,
        "description": row.description,
        "account_name": account.name if account else None,
        "account_description": account.description if account else None,
        "account_timezone": account.timezone if account else None,
    }
    _check(texts, row.number)
    return texts | {
        "job_id": job_id,
        "row_number": row.number,
        "target": planned.target,
        "connector_id": connector_id,
        "cells": list(planned.cells),
        "sealed": sealer.seal(planned.secrets, job_id=job_id, row_number=row.number),
        "state": ItemState.QUEUED,
        "due_at": due_at,
        "must_look": planned.must_look,
        "spec": {"not_kept": list(planned.not_kept)} if planned.not_kept else None,
        "account_exists": account_exists,
    }


def _check(texts: Mapping[str, str | None], row_number: int) -> None:
    for column, text in texts.items():
        if text and UNSTORABLE.search(text):
            raise UnstorableText(row_number, column)


def new_warning(warning: Warning_) -> dict[str, Any]:
    """One of those that `job_warnings` keeps."""
    column = None if warning.column is None else storable(warning.column)
    return {
        "row": warning.row_number,
        "column": column,
        "reason": storable(warning.reason),
        "count": warning.count,
        "spans": list(map(list, warning.spans)),
    }


def new_unloaded_row(row: RefusedRow | SkippedRow, *, job_id: str) -> dict[str, Any]:
    """The row of `unloaded_rows`: with its problems, or with the item that holds its target."""
    unloaded: dict[str, Any] = {
        "job_id": job_id,
        "row_number": row.number,
        "cells": list(row.cells),
        "problems": None,
        "installed_job_id": None,
        "installed_row_number": None,
    }
    match row:
        case RefusedRow():
            return unloaded | {"problems": [_new_problem(problem) for problem in row.problems]}
        case SkippedRow():
            return unloaded | {"installed_job_id": row.job_id, "installed_row_number": row.row_number}


def _new_problem(problem: Problem) -> dict[str, Any]:
    told = {"column": problem.column, "reason": problem.reason}
    return told if problem.way is None else told | {"way": problem.way}
