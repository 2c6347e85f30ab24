"""What a PostgreSQL may be, and what may stand between it and us."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from tests.integration.store.databases import Loads, assert_counters_hold, end, rows_of, take
from tests.pooler import LEFT_IN_A_SESSION, Pooler, pgbouncer, transaction_pooler
from tests.postgres import PostgresServer, postgres_server
from tests.started import run_process
from worker.domain.states import Outcome
from worker.domain.verdicts import Installed
from worker.settings import InvalidSettings
from worker.store.faults import DatabaseAway
from worker.store.postgres import WrongEncoding
from worker.store.readiness import NEWEST, require_ready, upgrade
from worker.store.session import Engine, open_engine, reading, writing
from worker.store.upkeep import rescue

CREATED = Installed(Outcome.CREATED, 6508, True)
LIMITS = ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout", "plan_cache_mode")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture(scope="module")
def pooler(server: PostgresServer) -> Iterator[Pooler]:
    with transaction_pooler(server.folder) as running:
        yield running


@pytest.fixture
def direct(server: PostgresServer) -> Iterator[Engine]:
    """A database with our tables, without a pooler."""
    engine = open_engine(server.new_database())
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def pooled(direct: Engine, pooler: Pooler) -> Iterator[Engine]:
    """The same through the pooler."""
    engine = open_engine(pooler.url(direct.url.render_as_string()))
    yield engine
    engine.dispose()


def alembic(url: str | None, *words: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    if url is not None:
        env["DATABASE_URL"] = url
    return run_process(
        [sys.executable, "-m", "alembic", *(words or ("upgrade", "head"))],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


# A pooler in transaction mode


def test_every_transaction_has_its_limits_whichever_session_it_is_lent(pooled: Engine):
    for _ in range(6):
        with reading(pooled) as connection:
            found = [connection.execute(text(f"SHOW {name}")).scalar_one() for name in LIMITS]
        assert found == ["10s", "15s", "1min", "force_custom_plan"]


def test_a_job_goes_through_a_pooler_and_leaves_nothing_in_its_sessions(pooled: Engine, pooler: Pooler):
    loads = Loads(pooled)
    job_id = loads.job(5_200)
    for n in range(8):  # more often than the driver asks a statement before it would prepare it
        loads.job(3, start=10_000 + 10 * n)
    for _ in range(8):
        end(pooled, *((item, CREATED) for item in take(pooled, 20)))
        rescue(pooled, due_in_s=0)
    assert_counters_hold(pooled)
    assert len([row for row in rows_of(pooled, job_id) if row.state == "installed"]) > 0
    left = pooler.ask_each(LEFT_IN_A_SESSION)
    assert left == [["0"]] * len(left)
    assert len(left) >= 4
    assert pooler.refused == []


def test_an_upgrade_goes_through_a_pooler(server: PostgresServer, pooler: Pooler):
    url = pooler.url(server.new_database())
    done = alembic(url)
    assert (done.returncode, done.stderr) == (0, "")
    engine = open_engine(url)
    require_ready(engine)
    engine.dispose()
    left = pooler.ask_each(LEFT_IN_A_SESSION)
    assert left == [["0"]] * len(left)


def test_a_pooler_that_refuses_a_parameter_is_told_in_words(direct: Engine, pooler: Pooler):
    engine = open_engine(pooler.url(direct.url.render_as_string()) + "?options=-c%20lock_timeout%3D7s")
    with pytest.raises(DatabaseAway, match="unsupported startup parameter: options"):
        require_ready(engine)
    engine.dispose()
    pooler.refused.clear()


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="no pgbouncer on the PATH (Debian: pgbouncer)")
def test_the_real_pgbouncer_in_transaction_mode(direct: Engine, server: PostgresServer):
    with pgbouncer(server) as port:
        database = direct.url.database
        pooled = open_engine(f"postgresql://postgres@127.0.0.1:{port}/{database}?prepare_threshold=0")
        try:
            loads = Loads(pooled)
            for n in range(8):
                loads.job(3, start=10_000 + 10 * n)
                end(pooled, *((item, CREATED) for item in take(pooled, 20)))
            assert_counters_hold(pooled)
            with reading(pooled) as connection:
                assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "1min"
        finally:
            pooled.dispose()


# What a URL may say


@pytest.mark.parametrize(("given", "prepared_after"), [("", None), ("0", None), ("none", None), ("7", 7)])
def test_the_threshold_is_read_as_a_number_and_nothing_is_prepared_unless_it_says_so(
    direct: Engine, given: str, prepared_after: int | None
):
    url = direct.url.update_query_dict({"prepare_threshold": given}) if given else direct.url
    engine = open_engine(url.render_as_string())
    with reading(engine) as connection:
        assert connection.connection.driver_connection.prepare_threshold == prepared_after
    for _ in range(12):
        with reading(engine) as connection:
            assert connection.execute(text("SELECT :n + 1"), {"n": 1}).scalar_one() == 2
    engine.dispose()


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("prepare_threshold=often", "prepare_threshold: expected a whole number; 0 prepares nothing"),
        ("prepare_threshold=-1", "prepare_threshold: expected a whole number; 0 prepares nothing"),
        ("autocommit=false", "autocommit is nothing that PostgreSQL's driver knows; take it out"),
        ("row_factory=dict", "row_factory is nothing that PostgreSQL's driver knows; take it out"),
        ("connect_timeout=soon", "connect_timeout: expected a whole number"),
        ("keepalives=1&keepalives=2", "keepalives stands in it more than once"),
        ("client_encoding=latin1", "client_encoding: expected utf8; take it out"),
        (
            "port=abc",
            "expected a URL such as postgresql://user:password@host/database, and of several hosts a port for each or none",
        ),
        ("pgbouncer=true", "pgbouncer is nothing that PostgreSQL's driver knows; take it out"),
    ],
)
def test_what_the_driver_would_not_understand_is_a_problem_of_the_setting(query: str, problem: str):
    with pytest.raises(InvalidSettings) as caught:
        open_engine(f"postgresql://someone:secret-word@db.example.com/cyclr?{query}")
    assert caught.value.problems == [f"DATABASE_URL: {problem}"]


@pytest.mark.parametrize(
    "options",
    [
        "-c lock_timeout=7s -c work_mem=8MB",
        "-clock_timeout=7s --work-mem=8MB",
        "--lock-timeout=7s --work_mem=8MB",
    ],
)
def test_options_of_the_url_are_added_to_ours(direct: Engine, options: str):
    engine = open_engine(direct.url.update_query_dict({"options": options}).render_as_string())
    with reading(engine) as connection:
        found = [connection.execute(text(f"SHOW {name}")).scalar_one() for name in (*LIMITS, "work_mem")]
    engine.dispose()
    assert found == ["10s", "7s", "1min", "force_custom_plan", "8MB"]


def test_options_that_stand_there_twice_are_all_taken(direct: Engine):
    url = direct.url.render_as_string() + "&options=-c%20lock_timeout%3D7s&options=-c%20work_mem%3D8MB"
    engine = open_engine(url)
    with reading(engine) as connection:
        found = [
            connection.execute(text(f"SHOW {name}")).scalar_one() for name in ("lock_timeout", "work_mem")
        ]
    engine.dispose()
    assert found == ["7s", "8MB"]


def test_texts_are_utf8_whatever_the_environment_says(direct: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    engine = open_engine(direct.url.render_as_string())
    with reading(engine) as connection:
        assert connection.execute(text("SELECT :letter"), {"letter": "𝄞"}).scalar_one() == "𝄞"
    engine.dispose()


def test_the_limits_cost_no_round_trip(pooled: Engine, pooler: Pooler):
    def ask() -> None:
        with reading(pooled) as connection:
            connection.execute(text("SELECT 1"))

    ask()
    before = pooler.questions
    ask()
    # Is it alive, BEGIN with the limits, the question, ROLLBACK or COMMIT.
    assert pooler.questions - before == 4


def test_a_process_opens_no_more_connections_than_it_is_given(direct: Engine):
    engine = open_engine(direct.url.render_as_string(), connections=3)
    with reading(engine), reading(engine), reading(engine):
        assert engine.pool.checkedout() == 3  # type: ignore[attr-defined]
        assert engine.pool._max_overflow + engine.pool.size() == 3  # type: ignore[attr-defined]
    engine.dispose()


# What the database must be


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_does_not_keep_every_letter_is_refused_in_words(
    server: PostgresServer, encoding: str
):
    url = other_encoding(server, encoding)
    engine = open_engine(url)
    with pytest.raises(WrongEncoding) as caught:
        require_ready(engine)
    engine.dispose()
    told = (
        f"the database {make_url(url).database} cannot be used: its encoding is {encoding}, expected UTF8, which has"
        " every letter that a row may hold. Make another one: CREATE DATABASE cyclr_bulk TEMPLATE template0 ENCODING 'UTF8'"
    )
    assert str(caught.value) == told
    done = alembic(url)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told + "\n")


def other_encoding(server: PostgresServer, encoding: str) -> str:
    url = make_url(server.new_database())
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    name = f"{url.database}_{encoding.lower()}"
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    return url.set(database=name).render_as_string(hide_password=False)


# `alembic upgrade head`


def test_alembic_says_that_nobody_answers():
    done = alembic("postgresql://someone:secret-word@127.0.0.1:9/cyclr")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "the database cyclr at 127.0.0.1 cannot be used: it does not answer (connection_refused): connection failed: "
    )
    assert done.stderr.endswith(". Check DATABASE_URL and the server.\n")
    assert done.stderr.count("\n") == 1
    assert "secret-word" not in done.stderr + done.stdout


def test_alembic_says_that_it_is_refused(server: PostgresServer, direct: Engine):
    url = direct.url.set(username="nobody-here").render_as_string()
    done = alembic(url)
    assert done.returncode == 1
    assert 'role "nobody-here" does not exist. Check DATABASE_URL and the server.\n' in done.stderr
    assert done.stderr.count("\n") == 1


def test_alembic_says_that_its_url_is_none():
    done = alembic("mysql://someone:secret-word@127.0.0.1/cyclr")
    assert done.returncode == 1
    assert done.stderr == (
        "Settings (environment or .env) need attention:\n"
        "  DATABASE_URL: expected a URL such as postgresql://user:password@host/database\n"
    )


def test_alembic_says_that_the_database_is_of_a_newer_version(direct: Engine):
    writing(
        direct,
        lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = 'later'")),
    )
    done = alembic(direct.url.render_as_string())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "the database is of a newer version of cyclr-bulk (schema later); install that version, or use another home\n"
    )


# The rights of its role


def test_a_role_with_the_rights_of_the_documentation_releases_and_another_one_works(server: PostgresServer):
    url = make_url(server.new_database())
    owner = open_engine(url.render_as_string())
    statements = (
        "CREATE ROLE releasing LOGIN",
        "CREATE ROLE working LOGIN",
        "GRANT USAGE, CREATE ON SCHEMA public TO releasing",
        "GRANT USAGE ON SCHEMA public TO working",
        "ALTER DEFAULT PRIVILEGES FOR ROLE releasing IN SCHEMA public"
        " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO working",
        "ALTER DEFAULT PRIVILEGES FOR ROLE releasing IN SCHEMA public GRANT USAGE ON SEQUENCES TO working",
    )
    with owner.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    documented = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")
    assert [
        statement for statement in statements[2:] if f"{statement};" not in " ".join(documented.split())
    ] == []
    working = open_engine(url.set(username="working").render_as_string())
    done = alembic(url.set(username="releasing").render_as_string())
    assert (done.returncode, done.stderr) == (0, "")
    require_ready(working)
    loads = Loads(working)
    loads.job(12)
    end(working, *((item, CREATED) for item in take(working, 20)))
    assert_counters_hold(working)
    refused = alembic(url.set(username="working").render_as_string(), "downgrade", "base")
    assert refused.returncode == 1
    assert "must be owner of" in refused.stderr
    assert refused.stderr.endswith(". Which rights its role needs is in docs/operations.md.\n")
    for engine in (owner, working):
        engine.dispose()


def test_a_role_without_rights_is_told_in_words(direct: Engine):
    with direct.begin() as connection:
        connection.execute(text("CREATE ROLE stranger LOGIN"))
    stranger = open_engine(direct.url.set(username="stranger").render_as_string())
    with pytest.raises(
        DatabaseAway, match=r"permission denied for table alembic_version\. Which rights its role"
    ):
        require_ready(stranger)
    stranger.dispose()
    assert NEWEST
