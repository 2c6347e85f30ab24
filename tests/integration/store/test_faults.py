"""What ails the database is told by its class and its own sentence, and never with what was to be stored."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from tests.integration.store.databases import only_postgres
from tests.postgres import postgres_server
from worker.domain.server_faults import HOPELESS, KNOWN, Server, sentence
from worker.store.faults import DatabaseAway, database_fault, lost_database_in_words
from worker.store.readiness import find_database_fault, find_revision
from worker.store.session import Engine, open_engine


def what_comes_of(engine: Engine, *statements: str) -> tuple[str, str]:
    """The class, and the sentence."""
    *before, last = [text(statement) for statement in statements]
    with engine.connect() as connection, connection.begin():
        for statement in before:
            connection.execute(statement)
        with pytest.raises(DBAPIError) as caught:
            connection.execute(last)
        connection.invalidate()  # with what was set
        connection.rollback()
    fault = database_fault(caught.value)
    assert fault is not None
    return fault.kind, fault.said


@only_postgres
@pytest.mark.parametrize(
    ("statements", "kind", "said"),
    [
        (
            ("SET TRANSACTION READ ONLY", "DELETE FROM items"),
            "25006 read_only_sql_transaction",
            "cannot execute DELETE in a read-only transaction",
        ),
        (
            ("SET statement_timeout = '10ms'", "SELECT pg_sleep(5)"),
            "57014 query_canceled",
            "canceling statement due to statement timeout",
        ),
        (
            ("SELECT pg_terminate_backend(pg_backend_pid())",),
            "57P01 admin_shutdown",
            "terminating connection due to administrator command",
        ),
        (("SELECT CAST('hunter2' AS integer)",), "22P02 invalid_text_representation", ""),
        (
            ("CREATE TEMPORARY TABLE t (a text UNIQUE)", "INSERT INTO t VALUES ('hunter2'), ('hunter2')"),
            "23505 unique_violation",
            "",
        ),
    ],
)
def test_what_a_server_answers_has_its_sqlstate(
    engine: Engine, statements: tuple[str, ...], kind: str, said: str
) -> None:
    assert what_comes_of(engine, *statements) == (kind, said)


@only_postgres
def test_a_lock_that_is_not_given_has_its_class(engine: Engine) -> None:
    with engine.begin() as holder:
        holder.execute(text("LOCK TABLE items"))
        found = what_comes_of(engine, "SET lock_timeout = '10ms'", "SELECT 1 FROM items")
    assert found == ("55P03 lock_not_available", "canceling statement due to lock timeout")


@only_postgres
def test_a_database_that_takes_no_writes_is_found_by_a_question(engine: Engine) -> None:
    assert find_database_fault(engine) is None
    read_only = open_engine(
        engine.url.update_query_dict({"options": "-c default_transaction_read_only=on"}).render_as_string(
            hide_password=False
        )
    )
    fault = find_database_fault(read_only)
    read_only.dispose()
    assert fault is not None
    assert (fault.kind, fault.label) == ("25006 read_only_sql_transaction",) * 2


def test_a_connection_limit_and_a_server_that_is_not_there_are_told_apart() -> None:
    with postgres_server({"max_connections": "4", "superuser_reserved_connections": "3"}) as server:
        url = server.new_database()
        engine = open_engine(url)
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as admin:
            admin.execute("CREATE ROLE partner LOGIN")
            partner = open_engine(make_url(url).set(username="partner").render_as_string(hide_password=False))
            fault = find_database_fault(partner)
            assert fault is not None
            assert fault.kind == "53300 too_many_connections"
            assert fault.said.startswith("remaining connection slots are reserved")
            missing = open_engine(make_url(url).set(database="nowhere").render_as_string(hide_password=False))
            nowhere = find_database_fault(missing)
            assert nowhere is not None
            assert nowhere.kind == "3D000 invalid_catalog_name"
            assert nowhere.is_hopeless
        server.kill()
        gone = find_database_fault(engine)
        assert gone is not None
        assert gone.kind in ("connection_refused", "no_such_socket")
        for each in (engine, partner, missing):
            each.dispose()


@pytest.mark.parametrize(
    ("text_", "kind", "said"),
    [
        (
            'connection failed: connection to server at "10.0.0.5", port 5432 failed: FATAL:  password'
            ' authentication failed for user "bulk"',
            "28P01 invalid_password",
            'password authentication failed for user "bulk"',
        ),
        (
            'connection to server at "10.0.0.5", port 6432 failed: FATAL:  no more connections allowed'
            " (max_client_conn)",
            "08P01 protocol_violation",
            "no more connections allowed (max_client_conn)",
        ),
        (
            'connection to server at "10.0.0.5", port 5432 failed: FATAL:  the database system is starting up',
            "57P03 cannot_connect_now",
            "the database system is starting up",
        ),
        (
            'FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "bulk", database "bulk", no encryption',
            "28000 invalid_authorization_specification",
            'no pg_hba.conf entry for host "10.0.0.9", user "bulk", database "bulk", no encryption',
        ),
        (
            "SSL error: certificate verify failed",
            "certificate_verify_failed",
            "SSL error: certificate verify failed",
        ),
        ("server closed the connection unexpectedly\n\tThis probably means", "connection_closed", ""),
        ("connection timeout expired", "timeout", "connection timeout expired"),
        ("something that nobody has seen yet", "connection_failed", "something that nobody has seen yet"),
    ],
)
def test_what_is_said_while_a_session_is_opened_is_told_by_its_text(text_: str, kind: str, said: str) -> None:
    fault = database_fault(psycopg.OperationalError(text_))
    assert fault is not None
    assert fault.kind == kind
    assert fault.said == said or not said
    assert fault.label == kind


def test_only_what_no_waiting_mends_is_hopeless() -> None:
    assert {"28P01 invalid_password", "3D000 invalid_catalog_name", "NOAUTH", "WRONGPASS"} == HOPELESS
    assert KNOWN[Server.DATABASE] | KNOWN[Server.REDIS] >= HOPELESS


def full_file(path: Path) -> None:
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA max_page_count=1")
        connection.execute("CREATE TABLE a (b)")
    finally:
        connection.close()


def no_database(path: Path) -> None:
    sqlite3.connect(path / "nowhere" / "db").close()


@pytest.mark.parametrize(("do", "kind"), [(full_file, "SQLITE_FULL"), (no_database, "SQLITE_CANTOPEN")])
def test_a_file_says_what_ails_it_by_its_own_word(
    tmp_path: Path, do: Callable[[Path], None], kind: str
) -> None:
    with pytest.raises(sqlite3.Error) as caught:
        do(tmp_path / "db" if do is full_file else tmp_path)
    fault = database_fault(caught.value)
    assert fault is not None
    assert (fault.kind, fault.label) == (kind, kind)


def test_the_class_stands_in_the_words_that_a_command_says(tmp_path: Path) -> None:
    engine = open_engine(f"postgresql://bulk:hunter2@/bulk?host={tmp_path}")
    with pytest.raises(DatabaseAway) as caught, lost_database_in_words(engine):
        find_revision(engine)
    assert "it does not answer (no_such_socket): " in str(caught.value)
    assert "hunter2" not in str(caught.value)
    # And where only those words are left.
    fault = database_fault(caught.value)
    assert fault is not None
    assert fault.kind == "no_such_socket"


def test_an_error_of_ours_is_none_of_the_databases() -> None:
    assert database_fault(KeyError("hunter2")) is None


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("ERR unknown command 'AUTH', with args beginning with: 'hunter2'", "ERR unknown command 'AUTH'"),
        ("cannot connect to redis://bulk:hunter2@host:6379/0\nmore", "cannot connect to redis://host:6379/0"),
        ("x" * 300, "x" * 197 + "..."),
        ("a\tb\x1b[31mc.", "a b [31mc"),
    ],
)
def test_a_sentence_is_one_short_line_without_what_was_sent(told: str, said: str) -> None:
    assert sentence(told) == said
