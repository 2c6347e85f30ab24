"""Rows become a job and its items; and what earlier jobs know about the rows of a file."""

import secrets as randomness
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from filelock import FileLock
from sqlalchemy import (
    ARRAY,
    Connection,
    Engine,
    Select,
    String,
    Table,
    bindparam,
    func,
    insert,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from worker.domain.connectors import Connector
from worker.domain.failures import ToldFailure
from worker.domain.rows import PlannedRow, RefusedRow, SkippedRow, StoredRow, Warning_
from worker.domain.states import ItemState, JobState
from worker.store.abandoned import delete_abandoned_loads, delete_load
from worker.store.bulk import insert_rows
from worker.store.new_rows import HELD_UNTIL, new_item, new_unloaded_row, new_warning, storable
from worker.store.sealing import Sealer
from worker.store.session import db_now, reading, writing
from worker.store.tables import (
    IS_FORGOTTEN,
    instances,
    items,
    job_connectors,
    job_warnings,
    jobs,
    remembered_targets,
    unloaded_rows,
)

PIECE = 5_000  # one transaction of 1,000,000 rows would block every other writer of SQLite for 10-18 s
PIECE_CHARACTERS = 4_000_000  # of cells: rows may be long, and memory is not to grow with them
LOAD_LOCK = 0x6379636C  # PostgreSQL's advisory lock of a load
WARNINGS_KEPT = 100
JOB_ID_LETTERS = "bcdfghjkmnpqrstvwxz23456789"  # nothing that reads like another letter, or like a word
KEYS_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a job is before its rows. `fingerprint`: of content, options and instance; `first`: hold back all but so many.

    `delimiter`: between the cells of the file. `id`: from `new_job_id`; None makes one. `api_key_id`: of the API key
    that hands it in; None: a command does.
    """

    source_name: str
    fingerprint: str
    columns: Sequence[str]
    look_first: bool
    skip_if_present: bool
    first: int | None = None
    id: str | None = None
    delimiter: str = ","
    api_key_id: str | None = None


def ensure_instance(engine: Engine, instance_id: str, api_host: str) -> None:
    """The instance has its row. Safe to repeat."""

    with reading(engine) as connection:
        if connection.execute(select(instances.c.id).where(instances.c.id == instance_id)).first():
            return
    new = insert(instances).values(id=instance_id, api_host=api_host)
    with suppress(IntegrityError):  # another process was first
        writing(engine, lambda connection: connection.execute(new))


def _begun_at(connection: Connection, job_id: str, fingerprint: str) -> datetime | None:
    begun = select(jobs.c.created_at).where(
        jobs.c.id == job_id, jobs.c.fingerprint == fingerprint, jobs.c.state == JobState.LOADING
    )
    at: datetime | None = connection.execute(begun).scalar()
    return at


def new_job_id(now: datetime) -> str:
    """Short enough to be read aloud, and sorted by day: `261121-k3x9qd`."""
    return f"{now:%y%m%d}-" + "".join(randomness.choice(JOB_ID_LETTERS) for _ in range(6))


@contextmanager
def loading_turn(engine: Engine) -> Iterator[None]:
    """Loads take turns, so that what one checks about live targets holds until it ends. What dead loaders left is gone."""
    with _load_lock(engine):
        # Nobody else is loading now, so a load that is not done will never be.
        delete_abandoned_loads(engine, older_than_s=0)
        yield


@contextmanager
def _load_lock(engine: Engine) -> Iterator[None]:
    if engine.dialect.name == "sqlite":
        with FileLock(f"{engine.url.database}.load.lock", mode=0o600):
            yield
        return
    # The lock is the session's, so that no transaction stays open over the load; the session ends with the load,
    # so that nothing keeps the lock.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()
        for statement in (
            "SET lock_timeout = 0",  # the load before may take as long as it likes
            "SET statement_timeout = 0",
            f"SELECT pg_advisory_lock({LOAD_LOCK})",
        ):
            connection.execute(text(statement))
        yield


class LoadLost(ToldFailure):
    """The job that was being loaded is gone: its loader was taken for dead."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"job {job_id} was loaded too slowly and was taken for abandoned; nothing of it was installed, run it again"
        )
        self.job_id = job_id


class Loader:
    """Loads one job in pieces, within a `loading_turn`. Until `finish` it is `loading` and nothing claims from it;
    `abandon` undoes it.

    Every transaction of it may be repeated: after a lost connection nobody knows whether the commit came to pass.
    """

    def __init__(self, engine: Engine, sealer: Sealer, instance_id: str, job: NewJob) -> None:
        self._engine = engine
        self._sealer = sealer
        self._first = job.first
        self._items: list[dict[str, Any]] = []
        self._unloaded: list[dict[str, Any]] = []
        self._characters = 0
        self._connectors: dict[str, int] = {}
        self._counts = {"total": 0, "held": 0, "refused": 0, "skipped": 0}

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
                    look_first=job.look_first,
                    skip_if_present=job.skip_if_present,
                    created_at=now,
                    loader_seen_at=now,
                )
            )
            return job_id, now

        self.job_id, self._due_at = writing(engine, work)

    def add_connector(self, key: str, connector: Connector) -> None:
        """Make the connector of the rows with this `connector_key` known, before the first of them."""

        def work(connection: Connection) -> int:
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

        self._connectors[key] = writing(self._engine, work)

    def add(self, row: PlannedRow | RefusedRow | SkippedRow, *, account_exists: bool) -> None:
        """Take one row; pieces are written as they fill. Raises: LoadLost, UnstorableText."""
        match row:
            case PlannedRow():
                self._items.append(self._to_item(row, account_exists=account_exists))
            case RefusedRow():
                self._counts["refused"] += 1
                self._unloaded.append(new_unloaded_row(row, job_id=self.job_id))
            case SkippedRow():
                self._counts["skipped"] += 1
                self._unloaded.append(new_unloaded_row(row, job_id=self.job_id))
        self._characters += sum(map(len, row.cells))
        if len(self._items) + len(self._unloaded) >= PIECE or self._characters >= PIECE_CHARACTERS:
            self._write_piece()

    def finish(self, warnings: Sequence[Warning_] = (), warning_count: int = 0) -> None:
        """The last step: the job runs. Only after this may a ticket be sent. Raises: LoadLost.

        `warnings`: of its check, of which the first 100 are kept; `warning_count`: of all rows.
        """
        self._write_piece()
        kept = [new_warning(warning) for warning in warnings[:WARNINGS_KEPT]]

        def work(connection: Connection) -> None:
            if self._has_finished(connection):
                return
            now = db_now(connection)
            is_empty = self._counts["total"] == 0
            self._change_job(
                connection,
                **self._counts,
                state=JobState.COMPLETED if is_empty else JobState.RUNNING,
                started_at=now,
                finished_at=now if is_empty else None,
                working_since=None if is_empty else now,
                loader_seen_at=None,
                warning_count=warning_count,
            )
            if kept:
                connection.execute(insert(job_warnings).values(job_id=self.job_id, warnings=kept))

        writing(self._engine, work)

    def abandon(self) -> None:
        """Undo the load; nothing of it was ever due. Safe to repeat."""
        delete_load(self._engine, self.job_id)

    def _write_piece(self) -> None:
        new_items, new_unloaded = self._items, self._unloaded

        def work(connection: Connection) -> None:
            self._change_job(connection, loader_seen_at=db_now(connection))
            if self._is_written(connection, items, new_items[:1]):
                return
            if self._is_written(connection, unloaded_rows, new_unloaded[:1]):
                return
            insert_rows(connection, items, new_items)
            insert_rows(connection, unloaded_rows, new_unloaded)

        writing(self._engine, work)
        self._items, self._unloaded = [], []
        self._characters = 0

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
        self._counts["total"] += 1
        is_held = self._first is not None and self._counts["total"] > self._first
        self._counts["held"] += is_held
        return new_item(
            planned,
            self._sealer,
            job_id=self.job_id,
            connector_id=self._connectors[planned.connector_key],
            due_at=HELD_UNTIL if is_held else self._due_at,
            account_exists=account_exists,
        )


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """What our database knows of a target. `live`: queued or running in that job; `tried`: it may have been sent before.

    `job_id` empty: that job is deleted.
    """

    state: Literal["live", "installed", "tried"]
    job_id: str
    row_number: int


_OF_A_DELETED_JOB = TargetRecord("tried", "", 0)


def find_targets(engine: Engine, targets: Sequence[str]) -> dict[str, TargetRecord]:
    """The targets among these that some job holds or held. Where several did: live before installed before tried.

    A job that is still loading counts for nothing: it waits for its turn's end, or its loader is dead.
    """
    found: dict[str, TargetRecord] = {}
    rank = {"live": 0, "installed": 1, "tried": 2}
    with reading(engine) as connection:
        for start in range(0, len(targets), KEYS_PER_QUERY):
            these = list(targets[start : start + KEYS_PER_QUERY])
            is_postgres = connection.dialect.name == "postgresql"
            for row in connection.execute(_WITH_ANY if is_postgres else _WITH_TARGETS, {"targets": these}):
                state = _record_state(row)
                if state is None:
                    continue
                record = TargetRecord(state, row.job_id, row.row_number)
                if row.is_forgotten:
                    record = _OF_A_DELETED_JOB
                known = found.get(row.target)
                if known is None or rank[record.state] <= rank[known.state]:
                    found[row.target] = record
            # After the items: a row that is deleted in between was seen there.
            sought = [target for target in these if target not in found]
            remembered = _REMEMBERED_WITH_ANY if is_postgres else _REMEMBERED
            for target in connection.execute(remembered, {"targets": sought}).scalars():
                found[target] = _OF_A_DELETED_JOB
    return found


def _with_targets(is_one_of_them: Any) -> Select[Any]:
    return (
        select(
            items.c.target,
            items.c.state,
            items.c.tried,
            items.c.maybe_sent,
            items.c.job_id,
            items.c.row_number,
            IS_FORGOTTEN.label("is_forgotten"),
        )
        .join(jobs, jobs.c.id == items.c.job_id)
        .where(is_one_of_them, or_(jobs.c.state != JobState.LOADING, IS_FORGOTTEN))
        .order_by(items.c.id)
    )


_WITH_TARGETS = _with_targets(items.c.target.in_(bindparam("targets", expanding=True)))
# One parameter, where so many take longer to be written into the statement than to be looked up.
_WITH_ANY = _with_targets(items.c.target == func.any(bindparam("targets", type_=ARRAY(String))))


_REMEMBERED = select(remembered_targets.c.target).where(
    remembered_targets.c.target.in_(bindparam("targets", expanding=True))
)
_REMEMBERED_WITH_ANY = select(remembered_targets.c.target).where(
    remembered_targets.c.target == func.any(bindparam("targets", type_=ARRAY(String)))
)


def _record_state(row: Any) -> Literal["live", "installed", "tried"] | None:
    state = ItemState(row.state)
    if not state.is_final:
        return "live"
    if state is ItemState.INSTALLED:
        return "installed"
    return "tried" if row.tried or row.maybe_sent else None


def find_stored_rows(
    engine: Engine, sealer: Sealer, rows: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], StoredRow | None]:
    """(job id, row number) -> that item; unknown rows are left out.

    None where the row was refused at intake; if it referred to an item itself, that item without its secrets.
    """
    wanted = list(rows)
    found: dict[tuple[str, int], StoredRow | None] = {}
    origins: dict[tuple[str, int], tuple[str, int]] = {}
    with reading(engine) as connection:
        for start in range(0, len(wanted), KEYS_PER_QUERY):
            keys = wanted[start : start + KEYS_PER_QUERY]
            held = _STORED.where(tuple_(items.c.job_id, items.c.row_number).in_(keys))
            for row in connection.execute(held):
                kept = sealer.find(row.sealed, job_id=row.job_id, row_number=row.row_number)
                connector = (row.connector_name, row.connector_version)
                found[row.job_id, row.row_number] = StoredRow(
                    row.instance_id, row.account_id, row.name, row.key, connector, kept
                )
            missing = [key for key in keys if key not in found]
            if missing:
                refused = _REFUSED.where(
                    tuple_(unloaded_rows.c.job_id, unloaded_rows.c.row_number).in_(missing)
                )
                for line in connection.execute(refused):
                    found[line.job_id, line.row_number] = None
                    if (origin := _origin(line.columns, line.cells)) is not None:
                        origins[line.job_id, line.row_number] = origin
    if origins:
        behind = find_stored_rows(engine, sealer, set(origins.values()))
        for at, origin in origins.items():
            if (stored := behind.get(origin)) is not None:
                found[at] = replace(stored, secrets={}, at=stored.at or origin)
    return found


def _origin(columns: Sequence[str], cells: Sequence[str]) -> tuple[str, int] | None:
    """The row that a line of a result file said it was; None where it said none."""
    told = dict(zip((column.strip().casefold() for column in columns), cells, strict=False))
    job_id, number = told.get("_job", ""), told.get("_row", "")
    if not job_id or not (number.isascii() and number.isdigit() and len(number) <= 9):
        return None
    return job_id, int(number)


_STORED = (
    select(
        *(items.c.job_id, items.c.row_number, items.c.account_id, items.c.name, items.c.sealed),
        *(jobs.c.instance_id, job_connectors.c.key),
        job_connectors.c.definition["name"].as_string().label("connector_name"),
        job_connectors.c.definition["version"].as_string().label("connector_version"),
    )
    .join(jobs, jobs.c.id == items.c.job_id)
    .join(job_connectors, job_connectors.c.id == items.c.connector_id)
)


_REFUSED = (
    select(unloaded_rows.c.job_id, unloaded_rows.c.row_number, unloaded_rows.c.cells, jobs.c.columns)
    .join(jobs, jobs.c.id == unloaded_rows.c.job_id)
    .where(unloaded_rows.c.problems.is_not(None))
)


def find_namesakes(engine: Engine, targets: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """(job id, target) -> the row number of that job's item with this target; left out where there is none."""
    wanted = set(targets)
    keys = sorted({target for _, target in wanted})
    found: dict[tuple[str, str], int] = {}
    with reading(engine) as connection:
        for start in range(0, len(keys), KEYS_PER_QUERY):
            these = select(items.c.job_id, items.c.target, items.c.row_number).where(
                items.c.target.in_(keys[start : start + KEYS_PER_QUERY])
            )
            for row in connection.execute(these):
                if (row.job_id, row.target) in wanted:
                    found[row.job_id, row.target] = row.row_number
    return found
