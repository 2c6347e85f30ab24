import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import get_args

import pytest
from alembic import command
from sqlalchemy import insert, select, text
from sqlalchemy.exc import OperationalError

from tests.integration.store.databases import Loads
from worker.domain.states import Code, ItemState, JobState, Outcome, PauseReason
from worker.installing.judging import Call
from worker.store.session import (
    Engine,
    NewerSchema,
    alembic_config,
    db_now,
    migrations_folder,
    open_engine,
    reading,
    upgrade,
    writing,
)
from worker.store.settling import VERDICT_NAMES
from worker.store.tables import attempts, instances, items, jobs, metadata

LATER = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("colour", sa.Text()))


def downgrade() -> None:
    op.drop_column("jobs", "colour")
"""


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Engine]:
    opened = open_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    yield opened
    opened.dispose()


@pytest.fixture
def later_migrations(tmp_path: Path) -> Path:
    """The product's migrations and one more."""
    folder = shutil.copytree(migrations_folder(), tmp_path / "migrations")
    (folder / "versions" / "20991231_later.py").write_text(LATER)
    return folder


def schema(engine: Engine) -> dict[str, str]:
    with reading(engine) as connection:
        made = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {row.name: row.sql for row in made if row.name != "alembic_version"}


def revision(engine: Engine) -> str:
    with reading(engine) as connection:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()


# SQLite as we need it


def test_sqlite_is_safe_against_power_cuts_and_keeps_its_references(engine: Engine):
    with reading(engine) as connection:
        found = {
            pragma: connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 15_000}


def test_a_transaction_that_writes_locks_at_once_and_one_that_reads_does_not(engine: Engine, tmp_path: Path):
    other = sqlite3.connect(tmp_path / "store.db", timeout=0, isolation_level=None)

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


def test_work_that_raises_changes_nothing(engine: Engine):
    def work(connection) -> None:
        connection.execute(insert(instances).values(id="i", api_host="h"))
        raise KeyError("broken")

    with pytest.raises(KeyError):
        writing(engine, work)
    with reading(engine) as connection:
        assert connection.execute(select(instances.c.id)).all() == []


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

    with pytest.raises(OperationalError, match="no such table: nowhere"):
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
    assert revision(empty) == "0001"
    assert {table.name for table in metadata.sorted_tables} <= set(schema(empty))


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
    assert revision(engine) == "0002"
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
        "the database is of a newer version of cyclr-bulk (schema 0002); install that version, or use another home"
    )
    assert schema(engine) == before


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(engine: Engine, later_migrations: Path):
    path = later_migrations / "versions" / "20991231_later.py"
    path.write_text(
        LATER.replace("def downgrade", '    op.execute("SELECT * FROM nowhere")\n\n\ndef downgrade')
    )
    before = schema(engine)
    with pytest.raises(OperationalError, match="no such table: nowhere"):
        upgrade(engine, migrations=later_migrations)
    assert (schema(engine), revision(engine)) == (before, "0001")


def test_two_processes_that_upgrade_at_once_do_no_harm(empty: Engine, tmp_path: Path):
    upgraders = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.integration.store.upgrader", f"sqlite:///{tmp_path / 'empty.db'}"],
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
    assert revision(empty) == "0001"
    command.check(alembic_config(empty))


def test_a_downgrade_leaves_no_table(engine: Engine):
    command.downgrade(alembic_config(engine), "base")
    assert set(schema(engine)) <= {"alembic_version"}


def test_alembic_without_a_database_says_what_to_set(tmp_path: Path):
    env = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
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

    assert {name: plain(sql) for name, sql in migrated.items()} == {
        name: plain(sql) for name, sql in declared.items()
    }


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
        (get_args(Call), attempts.c.call),
    ],
)
def test_every_word_fits_its_column(values, column):
    assert max(len(value) for value in values) <= column.type.length
