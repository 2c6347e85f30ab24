"""What the tests of the store share: real databases of both kinds, jobs to put into them, and their rows as they stand."""

import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from sqlalchemy import Connection, select, text, update

from tests.postgres import Databases
from worker.clock import Clock
from worker.domain.connectors import AuthMethod, Connector, ConnectorRef
from worker.domain.options import JobOptions
from worker.domain.rows import PlannedRow, Problem, RefusedRow, Row, SkippedRow
from worker.domain.states import RULED, JobState
from worker.domain.verdicts import Verdict
from worker.operations.install import INSTALL
from worker.store.claiming import ClaimedItem, Hold, Standing, claim, prolong
from worker.store.instances import ensure_instance
from worker.store.loading import Loader, NewJob
from worker.store.memory import Waiting
from worker.store.readiness import upgrade
from worker.store.sealing import Sealer
from worker.store.session import Engine, open_engine, reading, writing
from worker.store.settling import Settlement, settle
from worker.store.tables import attempts, failure_tallies, items, jobs, metadata, outcome_tallies
from worker.store.tallies import to_failure

INSTANCE = "instance-a"
OTHER_INSTANCE = "instance-b"
SEALER = Sealer({"k1": b"1" * 32})
MOST_LEFT_BYTES = 500_000  # of rows that were deleted, in a database that is used again
NEVER = 1_000.0  # per cent: no share of failures pauses a job
CONNECTOR = Connector(7, "Acme CRM", "1.0", "Live", (AuthMethod("m1", "Key", "ApiKey"),))
# Written once: to write a statement anew costs a test that asks often more than the answer does.
ALL_ITEMS = select(items)
ALL_JOBS = select(jobs)
ALL_TALLIES = select(failure_tallies)
ALL_OUTCOMES = select(outcome_tallies)

only_sqlite = pytest.mark.parametrize("stores", ["sqlite"], indirect=True, scope="session")
only_postgres = pytest.mark.parametrize("stores", ["postgresql"], indirect=True, scope="session")


class Stores(Protocol):
    """Databases of one kind. `new`: at head; `copy`: like that one, in a database never used before;
    `empty`: without a table; `drop`: any of these.
    """

    def new(self) -> Engine: ...
    def copy(self, engine: Engine) -> Engine: ...
    def empty(self) -> Engine: ...
    def drop(self, engine: Engine) -> None: ...


class SqliteStores:
    """Every database is a file of its own; engines are used again, since each has all statements to compile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._idle: list[Engine] = []
        self._template = self.empty()
        upgrade(self._template)

    def new(self) -> Engine:
        return self.copy(self._template)

    def copy(self, engine: Engine) -> Engine:
        engine.dispose()  # the last to leave writes all into the one file
        opened = self.empty()
        shutil.copy(path_of(engine), path_of(opened))
        return opened

    def empty(self) -> Engine:
        if self._idle:
            return self._idle.pop()
        folder = self._folder / uuid.uuid4().hex
        folder.mkdir()
        return open_engine(f"sqlite:///{folder / 'store.db'}")

    def drop(self, engine: Engine) -> None:
        engine.dispose()
        for path in path_of(engine).parent.iterdir():
            path.unlink()
        self._idle.append(engine)


class PostgresStores:
    """To make a database takes 0.1-0.3 s, to empty one 0.01 s: those whose schema is still as it was are used again."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._template = self.empty()
        upgrade(self._template)
        self._schema = _fingerprint(self._template)
        self._idle: list[Engine] = []

    def new(self) -> Engine:
        return self._idle.pop() if self._idle else self.copy(self._template)

    def copy(self, engine: Engine) -> Engine:
        engine.dispose()  # nobody may be in it
        return open_engine(self._databases.new(url_of(engine)))

    def empty(self) -> Engine:
        return open_engine(self._databases.new())

    def drop(self, engine: Engine) -> None:
        # Its connections are used again with it: a new one has all of the catalog to read, 10 ms of CPU.
        if engine.pool.checkedout():  # type: ignore[attr-defined]
            engine.dispose()  # what a test has left open is closed, not used again
        if _fingerprint(engine) != self._schema:
            self._drop(engine)
            return
        with engine.begin() as connection:
            _empty(connection)
        self._idle.append(engine)

    def _drop(self, engine: Engine) -> None:
        engine.dispose()
        self._databases.drop(url_of(engine))

    def close(self) -> None:
        for engine in [*self._idle, self._template]:
            self._drop(engine)


def _empty(connection: Connection) -> None:
    # A TRUNCATE makes new files for every table and index, 40 ms of CPU: only where a DELETE leaves much behind.
    sizes = text("SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND oid >= 16384")
    if connection.execute(sizes).scalar_one() > MOST_LEFT_BYTES:
        tables = ", ".join(table.name for table in metadata.sorted_tables)
        connection.execute(text(f"TRUNCATE {tables}"))
    else:
        connection.execute(
            text("; ".join(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)))
        )
    connection.execute(text("SELECT setval(oid, 1, false) FROM pg_class WHERE relkind = 'S'"))


def _fingerprint(engine: Engine) -> Any:
    """What tells a schema that was changed from one that was not."""
    columns = text("SELECT count(*) FROM pg_attribute WHERE attrelid >= 16384 AND NOT attisdropped")
    with reading(engine) as connection:
        return connection.execute(columns).scalar_one()


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def path_of(engine: Engine) -> Path:
    """The file of a database of SQLite."""
    assert engine.url.database is not None
    return Path(engine.url.database)


def wait_until(is_true: Callable[[], bool], *, within_s: float = 90) -> None:
    deadline = time.monotonic() + within_s
    while not is_true():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.01)


def wait_until_blocked(engine: Engine, sessions: int = 1) -> None:
    """Until so many sessions of a PostgreSQL database wait for a lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    def are_waiting() -> bool:
        with reading(engine) as connection:
            return connection.execute(waiting).scalar_one() >= sessions

    wait_until(are_waiting)


def planned(number: int, **changes: Any) -> PlannedRow:
    """A row of account `a<number>`, with the secret `secret-<number>`."""
    secrets = {"api_key": f"secret-{number}"}
    account_id = f"a{number}"
    row = Row(number, account_id, ConnectorRef("Acme CRM"), (account_id, "[not exported]"), secrets)
    whole = PlannedRow(row, "Acme", f"target-{number}", "acme", "m1", row.cells, secrets)
    return replace(whole, **changes)


def refused_as_live(row: PlannedRow, job_id: str) -> RefusedRow:
    """What becomes of a row whose target that job has got meanwhile."""
    number = row.row.number
    return RefusedRow(number, row.row.cells, (Problem(number, None, f"live in {job_id}"),))


@dataclass(frozen=True)
class Loads:
    """Puts jobs into one database."""

    engine: Engine

    def job(
        self,
        rows: int | Sequence[PlannedRow | RefusedRow | SkippedRow],
        *,
        start: int = 2,
        instance_id: str = INSTANCE,
        first: int | None = None,
        **options: Any,
    ) -> str:
        """The id of a running job with these rows, or with so many rows numbered from `start`."""
        given = [planned(number) for number in range(start, start + rows)] if isinstance(rows, int) else rows
        waiting = options.pop("waiting", None) or Waiting(self.engine)
        ids: list[str] = []

        def load() -> None:
            loader = self.loader(instance_id=instance_id, first=first, waiting=waiting, **options)
            try:
                for row in given:
                    loader.add(row, account_exists=True)
                loader.finish()
            except BaseException:
                loader.abandon()
                raise
            ids.append(loader.job_id)

        waiting.see_through(load)
        return ids[-1]

    def loader(
        self,
        *,
        instance_id: str = INSTANCE,
        first: int | None = None,
        columns: Sequence[str] = ("account_id", "api_key"),
        waiting: Waiting | None = None,
        **options: Any,
    ) -> Loader:
        ensure_instance(self.engine, instance_id, "api.example.com")
        loader = Loader(
            self.engine,
            SEALER,
            instance_id,
            NewJob("file.csv", "f" * 64, columns, JobOptions(**options), first=first),
            refuse=refused_as_live,
            waiting=waiting,
        )
        loader.add_connector("acme", CONNECTOR)
        return loader


def take(
    engine: Engine, count: int = 100, *, is_idle: bool = False, claim_s: float = 60, **more: Any
) -> list[ClaimedItem]:
    asked = {"instance_id": INSTANCE, "count": count, "claim_s": claim_s, "is_idle": is_idle}
    asked["mark"] = lambda item: INSTALL.first_mark(item, max_attempts=8)
    _, taken = claim(engine, SEALER, **asked | more, moment=Clock().moment)
    return taken


def hold(engine: Engine, item: ClaimedItem, *, claim_s: float, **noted: Any) -> Standing:
    """Prolong the claim of one item. `noted`: what is done and sent by now."""
    _, [standing] = prolong(
        engine, [Hold(item, replace(item.notes, **noted))], claim_s=claim_s, moment=Clock().moment
    )
    return standing


def settlement(item: ClaimedItem, verdict: Verdict, **noted: Any) -> Settlement:
    return Settlement(
        item, verdict, replace(item.notes, **noted), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), 0.5, "install"
    )


def end(engine: Engine, *pairs: tuple[ClaimedItem, Verdict], pause_above_percent: float = NEVER) -> int:
    return settle(
        engine,
        [settlement(item, verdict) for item, verdict in pairs],
        pause_above_percent=pause_above_percent,
    )


def item_row(engine: Engine, item_id: int) -> Any:
    with reading(engine) as connection:
        return connection.execute(select(items).where(items.c.id == item_id)).one()


def rows_of(engine: Engine, job_id: str) -> list[Any]:
    with reading(engine) as connection:
        mine = select(items).where(items.c.job_id == job_id).order_by(items.c.row_number)
        return list(connection.execute(mine))


def attempts_of(engine: Engine, item_id: int) -> list[Any]:
    with reading(engine) as connection:
        mine = select(attempts).where(attempts.c.item_id == item_id).order_by(attempts.c.id)
        return list(connection.execute(mine))


def change_items(engine: Engine, job_id: str, row_number: int | None = None, **values: Any) -> None:
    mine = update(items).where(items.c.job_id == job_id).values(values)
    if row_number is not None:
        mine = mine.where(items.c.row_number == row_number)
    writing(engine, lambda connection: connection.execute(mine))


def change_job(engine: Engine, job_id: str, **values: Any) -> None:
    writing(
        engine, lambda connection: connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
    )


def set_state(engine: Engine, job_id: str, state: JobState) -> None:
    change_job(engine, job_id, state=state)


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


def assert_counters_hold(engine: Engine) -> None:
    """The counters of every job, its failures by reason and its outcomes are what its items say."""
    with reading(engine) as connection:
        all_items = list(connection.execute(ALL_ITEMS))
        assert_rows_agree(
            all_items, list(connection.execute(ALL_JOBS)), list(connection.execute(ALL_TALLIES))
        )
        outcomes = {(row.job_id, row.outcome): row[3] for row in connection.execute(ALL_OUTCOMES)}
    assert outcomes == Counter((item.job_id, item.outcome) for item in all_items if item.outcome)


def assert_rows_agree(all_items: list[Any], all_jobs: list[Any], tallies: list[Any]) -> None:
    """`assert_counters_hold`, of rows that were read before."""
    loaded = [job for job in all_jobs if job.state != JobState.LOADING]
    counted = Counter((item.job_id, item.state) for item in all_items)
    tried = Counter(item.job_id for item in all_items if item.tried)
    total = Counter(item.job_id for item in all_items)
    ruled = Counter(item.job_id for item in all_items if item.state == "failed" and item.code in RULED)
    for job in loaded:
        for state in ("installed", "failed", "cancelled"):
            assert getattr(job, state) == counted[job.id, state], (job.id, state)
        assert job.tried == tried[job.id]
        assert job.ruled == ruled[job.id]
        assert job.total == total[job.id]
    _assert_tallies_agree({job.id for job in loaded}, all_items, tallies)


def assert_tallies_hold(engine: Engine) -> None:
    """The failures by reason of every job are what its items say."""
    with reading(engine) as connection:
        is_there = [job.id for job in connection.execute(ALL_JOBS) if job.state != JobState.LOADING]
        _assert_tallies_agree(
            set(is_there), list(connection.execute(ALL_ITEMS)), list(connection.execute(ALL_TALLIES))
        )


def _assert_tallies_agree(job_ids: set[str], all_items: list[Any], tallies: list[Any]) -> None:
    groups: dict[tuple[str, str], list[Any]] = {}
    for row in sorted(all_items, key=lambda row: row.row_number):
        if row.state == "failed" and row.job_id in job_ids:
            groups.setdefault(to_failure(row).key, []).append(row)
    found = {(row.job_id, row.reason): tuple(row)[6:] for row in tallies if row.job_id in job_ids}
    assert found == {key: (len(rows), rows[0].row_number, rows[0].account_id) for key, rows in groups.items()}
