import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from tests.integration.store.databases import (
    Loads,
    Stores,
    ago,
    change_job,
    only_postgres,
    only_sqlite,
    path_of,
    url_of,
    wait_until_blocked,
)
from tests.started import run_process, start_process
from worker.domain.states import Code, ItemState, JobState, Outcome, PauseReason
from worker.domain.steps import ACCOUNT, CONNECTOR
from worker.store.jobs import get_job
from worker.store.readiness import NEWEST, NewerSchema, SchemaBusy, alembic_config, migrations_folder, upgrade
from worker.store.session import Engine, db_now, open_engine, reading, writing
from worker.store.settling import VERDICT_NAMES
from worker.store.tables import attempts, call_tallies, instances, items, jobs, metadata, pace_points
from worker.store.tallies import FailureReason, list_failures

HEAD = ScriptDirectory(str(migrations_folder())).get_current_head()
LATER = f"""
import sqlalchemy as sa
from alembic import op

revision = "later"
down_revision = "{HEAD}"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("colour", sa.Text()))


def downgrade() -> None:
    op.drop_column("jobs", "colour")
"""


@pytest.fixture
def later_migrations(tmp_path: Path) -> Path:
    """The product's migrations and one more."""
    folder = shutil.copytree(migrations_folder(), tmp_path / "migrations")
    (folder / "versions" / "20991231_later.py").write_text(LATER)
    return folder


def schema(engine: Engine) -> dict[str, str]:
    """Every table and index as the database itself writes it down."""
    with reading(engine) as connection:
        if engine.dialect.name == "sqlite":
            made = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
            found = {row.name: row.sql for row in made}
        else:
            found = dict(connection.execute(POSTGRES_SCHEMA).all())
    return {name: sql for name, sql in found.items() if "alembic" not in name}


POSTGRES_SCHEMA = text(
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    " UNION ALL SELECT table_name, string_agg(column_name || ' ' || data_type || coalesce(column_default, ''), ', '"
    " ORDER BY column_name) FROM information_schema.columns WHERE table_schema = 'public' GROUP BY table_name"
)


def revision(engine: Engine) -> str:
    with reading(engine) as connection:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()


# SQLite as we need it


@only_sqlite
def test_sqlite_is_safe_against_power_cuts_and_keeps_its_references(engine: Engine):
    with reading(engine) as connection:
        found = {
            pragma: connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 15_000}


@only_sqlite
def test_a_transaction_that_writes_locks_at_once_and_one_that_reads_does_not(engine: Engine):
    other = sqlite3.connect(path_of(engine), timeout=0, isolation_level=None)

    def is_locked() -> bool:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        other.execute("ROLLBACK")
        return False

    with reading(engine) as connection:
        connection.execute(select(jobs.c.id)).all()
        assert not is_locked()
    with engine.begin() as connection:
        connection.execute(select(jobs.c.id)).all()
        assert is_locked()
    assert not is_locked()
    other.close()


@only_sqlite
def test_nobody_else_may_read_the_files_of_the_database(engine: Engine, loads: Loads):
    path_of(engine).chmod(0o644)  # as an earlier version made it
    loads.job(1)
    with reading(engine):
        modes = {path.name: path.stat().st_mode & 0o777 for path in path_of(engine).parent.glob("store.db*")}
    assert modes.pop("store.db") == 0o600
    assert set(modes) >= {"store.db-wal", "store.db-shm"}


@only_sqlite
def test_a_new_database_and_all_that_lies_beside_it_is_private(empty: Engine):
    upgrade(empty)
    with reading(empty):
        modes = {path.name: path.stat().st_mode & 0o777 for path in path_of(empty).parent.iterdir()}
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


# PostgreSQL as we need it


@only_postgres
def test_nothing_may_wait_for_ever(engine: Engine):
    names = ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout", "application_name")
    with reading(engine) as connection:
        found = [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]
    assert found == ["10s", "15s", "1min", "cyclr-bulk"]


@only_postgres
def test_what_the_url_says_goes_first(engine: Engine):
    url = engine.url.update_query_dict({"application_name": "ours", "options": "-c lock_timeout=7s"})
    other = open_engine(url.render_as_string(hide_password=False))
    with reading(other) as connection:
        assert connection.execute(text("SHOW application_name")).scalar_one() == "ours"
        assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "7s"
    other.dispose()


@only_postgres
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_the_url_opens_the_database(engine: Engine, loads: Loads, scheme: str):
    job_id = loads.job(1)
    other = open_engine(url_of(engine).replace("postgresql+psycopg://", f"{scheme}://"))
    with reading(other) as connection:
        assert connection.execute(select(jobs.c.id)).scalar_one() == job_id
    other.dispose()


@only_postgres
def test_connections_that_were_cut_are_replaced_without_an_error(engine: Engine, loads: Loads):
    cut = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    surgeon = open_engine(url_of(engine))
    tries: list[int] = []

    def work(connection) -> str:
        tries.append(1)
        connection.execute(insert(instances).values(id="i", api_host="h"))
        if len(tries) == 1:
            with surgeon.connect() as other:
                other.execute(cut)
        return connection.execute(select(instances.c.id)).scalar_one()

    assert writing(engine, work) == "i"
    assert len(tries) == 2
    with surgeon.connect() as other:
        other.execute(cut)
    surgeon.dispose()
    loads.job(1)


@only_postgres
def test_a_deadlock_is_settled_by_trying_again(engine: Engine):
    for name in ("a", "b"):
        new = insert(instances).values(id=name, api_host="h")
        writing(engine, lambda connection, new=new: connection.execute(new))
    both_hold_one = threading.Barrier(2)
    tries: list[str] = []

    def work(connection, first: str, second: str) -> str:
        tries.append(first)
        for name in (first, second):
            connection.execute(update(instances).where(instances.c.id == name).values(api_host="changed"))
            if name == first and len(tries) <= 2:
                both_hold_one.wait(10)
        return "done"

    with ThreadPoolExecutor(2) as threads:
        ends = threads.map(
            lambda pair: writing(engine, partial(work, first=pair[0], second=pair[1])), ["ab", "ba"]
        )
        assert list(ends) == ["done", "done"]
    assert len(tries) == 3


@only_postgres
def test_a_statement_that_took_too_long_is_not_tried_again(engine: Engine):
    tries: list[int] = []

    def work(connection) -> None:
        tries.append(1)
        connection.execute(text("SET LOCAL statement_timeout = '20ms'"))
        connection.execute(text("SELECT pg_sleep(5)"))

    with pytest.raises(OperationalError, match="statement timeout"):
        writing(engine, work)
    assert len(tries) == 1


# Transactions


def test_work_that_raises_changes_nothing(engine: Engine):
    def work(connection) -> None:
        connection.execute(insert(instances).values(id="i", api_host="h"))
        raise KeyError("broken")

    with pytest.raises(KeyError):
        writing(engine, work)
    with reading(engine) as connection:
        assert connection.execute(select(instances.c.id)).all() == []


@only_sqlite
def test_work_is_tried_again_after_a_passing_error(engine: Engine):
    tries: list[int] = []

    def work(connection) -> str:
        tries.append(1)
        connection.execute(insert(instances).values(id="i", api_host="h"))
        if len(tries) < 3:
            busy = sqlite3.OperationalError("database is locked")
            busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise OperationalError("INSERT", None, busy)
        return "done"

    assert writing(engine, work) == "done"
    assert len(tries) == 3
    with reading(engine) as connection:
        assert connection.execute(select(instances.c.id)).all() == [("i",)]


def test_an_error_that_will_not_pass_is_raised_at_once(engine: Engine):
    tries: list[int] = []

    def work(connection) -> None:
        tries.append(1)
        connection.execute(text("SELECT * FROM nowhere"))

    with pytest.raises(DBAPIError, match="nowhere"):
        writing(engine, work)
    assert len(tries) == 1


def test_times_are_aware_utc_whatever_zone_they_came_in(engine: Engine):
    plus_two = datetime(2026, 11, 21, 14, 30, tzinfo=timezone(timedelta(hours=2)))
    writing(
        engine,
        lambda connection: connection.execute(
            insert(instances).values(id="i", api_host="h", gate_until=plus_two)
        ),
    )
    with reading(engine) as connection:
        assert connection.execute(select(instances.c.gate_until)).scalar_one() == datetime(
            2026, 11, 21, 12, 30, tzinfo=UTC
        )
        assert db_now(connection).tzinfo is UTC


# Bringing the schema up to date


def test_an_empty_database_gets_the_whole_schema(empty: Engine):
    upgrade(empty)
    assert revision(empty) == HEAD
    assert {table.name for table in metadata.sorted_tables} <= set(schema(empty))
    upgrade(empty)


def test_the_newest_schema_is_the_last_migration():
    assert NEWEST == HEAD


def test_a_database_at_head_is_left_alone(engine: Engine, loads: Loads):
    job_id = loads.job(1)
    before = schema(engine)
    upgrade(engine)
    assert schema(engine) == before
    with reading(engine) as connection:
        assert connection.execute(select(jobs.c.id)).scalar_one() == job_id


def test_an_older_database_is_brought_up_to_date_with_what_it_holds(
    engine: Engine, loads: Loads, later_migrations: Path
):
    job_id = loads.job(3)
    upgrade(engine, migrations=later_migrations)
    assert revision(engine) == "later"
    with reading(engine) as connection:
        found = connection.execute(text("SELECT id, total, colour FROM jobs")).one()
        assert tuple(found) == (job_id, 3, None)
        assert len(connection.execute(select(items.c.id)).all()) == 3


def test_a_newer_database_is_refused_in_words_and_left_alone(engine: Engine, later_migrations: Path):
    upgrade(engine, migrations=later_migrations)
    before = schema(engine)
    with pytest.raises(NewerSchema) as caught:
        upgrade(engine)
    assert str(caught.value) == (
        "the database is of a newer version of cyclr-bulk (schema later); install that version, or use another home"
    )
    assert schema(engine) == before


@pytest.fixture
def failing_migrations(later_migrations: Path) -> Path:
    """The product's migrations, and one that fails."""
    path = later_migrations / "versions" / "20991231_later.py"
    path.write_text(
        LATER.replace("def downgrade", '    op.execute("SELECT * FROM nowhere")\n\n\ndef downgrade')
    )
    return later_migrations


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(engine: Engine, failing_migrations: Path):
    before = schema(engine)
    with pytest.raises(DBAPIError, match="nowhere"):
        upgrade(engine, migrations=failing_migrations)
    assert (schema(engine), revision(engine)) == (before, HEAD)


def test_an_upgrade_over_many_releases_that_fails_leaves_nothing_of_any(
    empty: Engine, failing_migrations: Path
):
    with pytest.raises(DBAPIError, match="nowhere"):
        upgrade(empty, migrations=failing_migrations)
    assert inspect(empty).get_table_names() == []


def test_two_processes_that_upgrade_at_once_do_no_harm(empty: Engine):
    upgraders = [
        start_process(
            [sys.executable, "-m", "tests.integration.store.upgrader", url_of(empty)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for upgrader in upgraders:
        assert upgrader.stdout is not None
        assert upgrader.stdout.readline() == "ready\n"
    for upgrader in upgraders:
        assert upgrader.stdin is not None
        upgrader.stdin.write("go\n")
        upgrader.stdin.flush()
    ends = [(upgrader.communicate(timeout=60)[1], upgrader.returncode) for upgrader in upgraders]
    assert ends == [("", 0), ("", 0)]
    assert revision(empty) == HEAD
    command.check(alembic_config(empty))


@only_postgres
def test_an_upgrade_waits_for_another_and_then_finds_nothing_to_do(empty: Engine):
    with empty.connect() as other:
        other.execute(text("SELECT pg_advisory_lock(:key)"), {"key": 0x6379636D})
        thread = threading.Thread(target=lambda: upgrade(empty))
        thread.start()
        wait_until_blocked(empty)
        metadata.create_all(other)
        other.execute(text("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"))
        other.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
        other.commit()
        other.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": 0x6379636D})
        thread.join(90)
    assert not thread.is_alive()
    assert revision(empty) == HEAD


@only_postgres
def test_an_upgrade_does_not_wait_for_ever_for_a_table_in_use(
    engine: Engine, loads: Loads, later_migrations: Path
):
    env = later_migrations / "env.py"
    env.write_text(env.read_text().replace("lock_timeout = '5s'", "lock_timeout = '100ms'"))
    before = schema(engine)
    with engine.begin() as backup:
        backup.execute(select(jobs.c.id)).all()
        with pytest.raises(SchemaBusy, match="in use"):
            upgrade(engine, migrations=later_migrations)
    assert (schema(engine), revision(engine)) == (before, HEAD)
    upgrade(engine, migrations=later_migrations)
    assert revision(engine) == "later"


@only_postgres
def test_an_upgrade_lets_go_of_all_it_set(engine: Engine, later_migrations: Path):
    upgrade(engine, migrations=later_migrations)
    with reading(engine) as connection:
        held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        assert connection.execute(held).scalar_one() == 0
        assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "15s"


def test_what_failed_before_there_were_tallies_is_grouped_too(engine: Engine, loads: Loads):
    job_id = loads.job(4)
    command.downgrade(alembic_config(engine), "0005")
    failed = text(
        "UPDATE items SET state = 'failed', code = 'refused', http_status = 400, message = 'no ' || account_id"
        " WHERE row_number > 2"
    )
    with engine.begin() as connection:
        connection.execute(failed)
    upgrade(engine)
    assert list_failures(engine, job_id) == [
        FailureReason(
            "ea933eae", "refused", 400, "no …", 3, False, 3, "a3", "Mend what the message names, then retry."
        )
    ]


def test_what_was_worked_before_it_was_counted_is_taken_from_what_is_known(engine: Engine, loads: Loads):
    running, ended, paused = (loads.job(1, start=start) for start in (10, 20, 30))
    change_job(engine, running, started_at=ago(seconds=50))
    change_job(
        engine, ended, state=JobState.COMPLETED, started_at=ago(seconds=500), finished_at=ago(seconds=400)
    )
    change_job(engine, paused, state=JobState.PAUSED, started_at=ago(seconds=900))
    point = {"job_id": paused, "at": ago(seconds=840), "installed": 1, "failed": 0}
    with engine.begin() as connection:
        connection.execute(insert(pace_points).values(point))
    command.downgrade(alembic_config(engine), "0007")
    upgrade(engine)
    worked = {job_id: get_job(engine, job_id) for job_id in (running, ended, paused)}
    assert worked[running].working_since == worked[running].started_at
    assert (round(worked[ended].worked_s), worked[ended].working_since) == (100, None)
    assert (round(worked[paused].worked_s), worked[paused].working_since) == (60, None)


def test_a_downgrade_leaves_no_table(engine: Engine):
    command.downgrade(alembic_config(engine), "base")
    assert schema(engine) == {}


@only_sqlite
def test_alembic_without_a_database_says_what_to_set(stores: Stores):
    env = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = run_process(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "DATABASE_URL is not set: expected the URL of the database whose schema is to be changed\n"
    )


# One truth about the tables


def test_alembic_finds_no_difference_between_the_tables_and_the_migrations(engine: Engine):
    command.check(alembic_config(engine))


def test_the_migrations_make_exactly_the_indexes_that_the_tables_declare(engine: Engine, empty: Engine):
    metadata.create_all(empty)
    migrated, declared = (
        {name: sql for name, sql in schema(made).items() if "CREATE" in sql and " INDEX " in sql}
        for made in (engine, empty)
    )

    def plain(sql: str) -> str:
        return sql.replace("(state NOT IN ('queued', 'running'))", "state NOT IN ('queued', 'running')")

    assert {"uq_items_live_target", "ix_items_due", "ix_items_alone"} <= set(migrated)
    assert {name: plain(sql) for name, sql in migrated.items()} == {
        name: plain(sql) for name, sql in declared.items()
    }


CALLS = (ACCOUNT.call, CONNECTOR.call, "account", "connector", "look")


@pytest.mark.parametrize(
    ("values", "column"),
    [
        (ItemState, items.c.state),
        (JobState, jobs.c.state),
        (PauseReason, jobs.c.pause_reason),
        (Outcome, items.c.outcome),
        (Code, items.c.code),
        (Code, attempts.c.code),
        (VERDICT_NAMES.values(), attempts.c.verdict),
        (CALLS, attempts.c.call),
        (CALLS, call_tallies.c.call),
    ],
)
def test_every_word_fits_its_column(values, column):
    assert max(len(value) for value in values) <= column.type.length
