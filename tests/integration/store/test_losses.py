"""What each error of a real server leads to: the session is dropped, the work is tried again, a row is bad, or it waits."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, event, insert, text
from sqlalchemy.exc import DBAPIError, OperationalError
from structlog.testing import capture_logs

from tests.integration.store.databases import Loads, end, only_postgres, rows_of, take, url_of, wait_until
from tests.postgres import SHORT_LIVED, PostgresServer, postgres_server
from worker.domain.states import Outcome
from worker.domain.verdicts import Installed
from worker.store.faults import (
    DatabaseAway,
    TakesNoWrites,
    find_sqlstate,
    is_database_away,
    is_lost_session,
    is_of_data,
    is_passing,
    lost_database_in_words,
)
from worker.store.readiness import require_ready
from worker.store.session import Engine, insert_rows, open_engine, reading, writing
from worker.store.tables import instances

CREATED = Installed(Outcome.CREATED, 6508, True)
READ_ONLY = text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
PID = text("SELECT pg_backend_pid()")
IN_WORDS = (
    "answers, but takes no writes now. It is being switched over, or it is a standby, or it was set to read-only."
    " If it stays so, check the server that DATABASE_URL leads to."
)


@pytest.fixture
def engine(engine: Engine) -> Engine:
    """With an empty pool, so that the session that is used is the one that was used before."""
    engine.dispose()
    return engine


@pytest.fixture
def other(engine: Engine) -> Iterator[Engine]:
    """Somebody else in the same database."""
    opened = open_engine(url_of(engine))
    yield opened
    opened.dispose()


def new_instance(connection: Connection) -> None:
    connection.execute(insert(instances).values(id="i", api_host="h"))


def pid_of(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.execute(PID).scalar_one())


def make_read_only(engine: Engine) -> int:
    """The session of the pool, and stay so, as one that began while its server was switched over; its process id."""
    with engine.connect() as connection:
        connection.execute(READ_ONLY)
        connection.commit()
        return int(connection.execute(PID).scalar_one())


def error_of(engine: Engine, *statements: str) -> DBAPIError:
    def work() -> None:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    with pytest.raises(DBAPIError) as caught:
        work()
    return caught.value


# Every state has one meaning


@only_postgres
@pytest.mark.parametrize(
    ("state", "is_lost", "passes", "is_data", "is_away"),
    [
        ("08000", True, True, False, True),
        ("08006", True, True, False, True),
        ("08007", True, True, False, True),
        ("08P01", True, True, False, True),
        ("22001", False, False, True, False),
        ("22021", False, False, True, False),
        ("22P05", False, False, True, False),
        ("23502", False, False, True, False),
        ("23514", False, False, True, False),
        ("25006", True, True, False, True),
        ("25P03", True, True, False, True),
        ("25P04", True, True, False, True),
        ("40001", False, True, False, True),
        ("40003", True, True, False, True),
        ("40P01", False, True, False, True),
        ("42501", False, False, False, True),
        ("42703", False, False, False, False),
        ("53100", False, True, False, True),
        ("53200", False, True, False, True),
        ("53300", True, True, False, True),
        ("55P03", False, True, False, True),
        ("57014", False, False, False, True),
        ("57P01", True, True, False, True),
        ("57P02", True, True, False, True),
        ("57P03", True, True, False, True),
        ("57P04", True, True, False, True),
        ("57P05", True, True, False, True),
        ("58030", False, True, False, True),
        ("XX000", False, False, False, True),
        ("XX001", False, False, False, True),
    ],
)
def test_each_state_has_one_meaning(
    engine: Engine, state: str, is_lost: bool, passes: bool, is_data: bool, is_away: bool
):
    before = pid_of(engine)
    error = error_of(engine, f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$")
    assert find_sqlstate(error) == state
    assert (is_lost_session(error), error.connection_invalidated) == (is_lost, is_lost)
    assert (is_passing(error), is_of_data(error), is_database_away(error)) == (passes, is_data, is_away)
    assert (pid_of(engine) != before) is is_lost


# A session that is read-only


@only_postgres
def test_a_session_that_became_read_only_is_dropped_with_its_pool_and_the_work_done_in_a_new_one(
    engine: Engine,
):
    with engine.connect() as first, engine.connect() as second:
        before = {each.execute(PID).scalar_one() for each in (first, second)}
        for each in (first, second):
            each.execute(READ_ONLY)
            each.commit()
    writing(engine, new_instance)
    with engine.connect() as first, engine.connect() as second:
        after = {each.execute(PID).scalar_one() for each in (first, second)}
    assert before.isdisjoint(after)


@only_postgres
def test_many_rows_at_once_find_out_too(engine: Engine):
    before = make_read_only(engine)
    rows = [{"id": f"i{number}", "api_host": "h"} for number in range(3)]
    writing(engine, lambda connection: insert_rows(connection, instances, rows))
    assert pid_of(engine) != before


@only_postgres
def test_no_session_begins_that_is_read_only_and_writing_goes_on_when_one_may_write(
    engine: Engine, other: Engine
):
    name = engine.url.database
    fresh = open_engine(url_of(engine))
    refusals: list[str] = []

    def count(context) -> None:
        refusals.append(str(context.original_exception))
        if len(refusals) == 3:
            with other.begin() as connection:
                connection.execute(text("SET TRANSACTION READ WRITE"))
                connection.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))

    with other.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    with pytest.raises(OperationalError, match="session is read-only"), reading(fresh):
        pass
    with pytest.raises(TakesNoWrites) as caught:
        require_ready(fresh)
    assert str(caught.value) == f"the database {name} {IN_WORDS}"
    event.listen(fresh, "handle_error", count)
    writing(fresh, new_instance)
    require_ready(fresh)
    fresh.dispose()
    assert len(refusals) == 3


@only_postgres
def test_a_database_whose_open_sessions_became_read_only_is_not_ready(engine: Engine):
    require_ready(engine)
    make_read_only(engine)
    with pytest.raises(TakesNoWrites):
        require_ready(engine)
    require_ready(engine)  # with a new session


# In words


@only_postgres
@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("25006", IN_WORDS),
        ("57P01", "cannot be used: it answers 57P01 admin_shutdown: no. Check DATABASE_URL and the server."),
        (
            "42501",
            "cannot be used: it answers 42501 insufficient_privilege: no. Which rights its role needs is in docs/operations.md.",
        ),
        ("XX000", "cannot be used: it answers XX000 internal_error: no. Check DATABASE_URL and the server."),
        ("22001", None),
        ("42703", None),
    ],
)
def test_a_command_says_what_is_wrong_with_the_database_and_nothing_else_is_taken_for_that(
    engine: Engine, state: str, said: str | None
):
    fails = text(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$")

    def work() -> None:
        with lost_database_in_words(engine), engine.begin() as connection:
            connection.execute(fails)

    with pytest.raises(DatabaseAway if said else DBAPIError) as caught:
        work()
    if said:
        assert str(caught.value) == f"the database {engine.url.database} {said}"


# Settling


@only_postgres
def test_outcomes_are_written_though_the_sessions_were_read_only(engine: Engine, loads: Loads):
    job_id = loads.job(5)
    items = take(engine)
    make_read_only(engine)
    with capture_logs() as logs:
        assert end(engine, *((item, CREATED) for item in items)) == 5
    assert [log["event"] for log in logs] == ["job_ended"]
    assert {row.state for row in rows_of(engine, job_id)} == {"installed"}


@only_postgres
@pytest.mark.parametrize("state", ["XX000", "42501", "42P01", "0A000", "57014", "54000"])
def test_what_is_no_fault_of_a_value_costs_no_outcome(engine: Engine, loads: Loads, state: str):
    job_id = loads.job(3)
    items = take(engine)
    tries = _refuse_updates(engine, state)
    with capture_logs() as logs, pytest.raises(DBAPIError):
        end(engine, *((item, CREATED) for item in items))
    tries()
    assert (logs, {row.state for row in rows_of(engine, job_id)}) == ([], {"running"})
    assert end(engine, *((item, CREATED) for item in items)) == 3


def _refuse_updates(engine: Engine, state: str) -> Callable[[], None]:
    """Until what it returns is called."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"
            )
        )
        connection.execute(
            text("CREATE TRIGGER refuse BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION refuse()")
        )

    def end_it() -> None:
        with engine.begin() as connection:
            connection.execute(text("DROP FUNCTION refuse() CASCADE"))

    return end_it


# As it really happens


@only_postgres
@pytest.mark.parametrize(
    ("statements", "state"),
    [
        (("SET TRANSACTION READ ONLY", "INSERT INTO instances (id, api_host) VALUES ('i', 'h')"), "25006"),
        (("SELECT pg_terminate_backend(pg_backend_pid())",), "57P01"),
        (("SET LOCAL transaction_timeout = '20ms'", "SELECT pg_sleep(60)"), "25P04"),
    ],
)
def test_what_ends_a_session_is_known(engine: Engine, statements: tuple[str, ...], state: str):
    before = pid_of(engine)
    error = error_of(engine, *statements)
    assert (find_sqlstate(error), error.connection_invalidated, is_database_away(error)) == (
        state,
        True,
        True,
    )
    assert pid_of(engine) != before


@only_postgres
@pytest.mark.parametrize(
    ("setting", "in_transaction", "state"),
    [
        ("idle_in_transaction_session_timeout", True, "25P03"),
        ("idle_session_timeout", False, "57P05"),
    ],
)
def test_a_session_that_was_ended_for_being_idle_is_known(
    engine: Engine, other: Engine, setting: str, in_transaction: bool, state: str
):
    def is_gone(pid: int) -> bool:
        with reading(other) as connection:
            found = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
            return not connection.execute(found, {"pid": pid}).scalar_one()

    def wait_for_too_long() -> None:
        with engine.connect() as connection:
            pid = connection.execute(PID).scalar_one()
            connection.execute(text(f"SET {setting} = '20ms'"))
            if not in_transaction:
                connection.commit()
            wait_until(lambda: is_gone(pid))
            connection.execute(PID)

    with pytest.raises(DBAPIError) as caught:
        wait_for_too_long()
    error = caught.value
    assert (find_sqlstate(error), error.connection_invalidated) == (state, True)
    assert is_passing(error)
    writing(engine, new_instance)


@only_postgres
@pytest.mark.parametrize(
    ("statements", "state", "passes"),
    [
        (("SET LOCAL statement_timeout = '20ms'", "SELECT pg_sleep(60)"), "57014", False),
        (("SET LOCAL lock_timeout = '20ms'", "LOCK TABLE jobs"), "55P03", True),
    ],
)
def test_what_took_too_long_keeps_its_session(
    engine: Engine, other: Engine, statements: tuple[str, ...], state: str, passes: bool
):
    before = pid_of(engine)
    with other.begin() as holder:
        holder.execute(text("LOCK TABLE jobs"))
        error = error_of(engine, *statements)
    assert (find_sqlstate(error), is_passing(error), error.connection_invalidated) == (state, passes, False)
    assert pid_of(engine) == before


@only_postgres
def test_a_server_with_no_connection_left_is_tried_again(engine: Engine, other: Engine):
    with other.begin() as connection:
        connection.execute(text("CREATE ROLE crowded LOGIN CONNECTION LIMIT 1"))
    first, second = (open_engine(engine.url.set(username="crowded").render_as_string()) for _ in range(2))
    refusals: list[str] = []

    def leave(context) -> None:
        refusals.append(str(context.original_exception))
        if len(refusals) == 2:
            holder.close()
            first.dispose()

    try:
        holder = first.connect()
        holder.execute(PID)
        event.listen(second, "handle_error", leave)
        assert writing(second, lambda connection: connection.execute(PID).scalar_one()) > 0
    finally:
        first.dispose()
        second.dispose()
        with other.begin() as connection:
            connection.execute(text("DROP ROLE crowded"))
    assert len(refusals) >= 2
    assert all("too many connections for role" in each for each in refusals)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server(SHORT_LIVED) as opened:
        yield opened


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_work_outlasts_a_restart_of_its_server(server: PostgresServer, number: int):
    opened = open_engine(server.new_database())
    tries: list[int] = []

    def work(connection: Connection) -> int:
        tries.append(1)
        found = int(connection.execute(PID).scalar_one())
        if len(tries) == 1:
            server.restart(number)
        return int(connection.execute(PID).scalar_one()) and found

    assert writing(opened, work) > 0
    opened.dispose()
    assert len(tries) == 2


def test_work_outlasts_the_crash_of_another_session(server: PostgresServer):
    opened = open_engine(server.new_database())
    tries: list[int] = []

    def work(connection: Connection) -> int:
        tries.append(1)
        if len(tries) == 1:
            with opened.connect() as other:
                os.kill(other.execute(PID).scalar_one(), signal.SIGKILL)
                with pytest.raises(OperationalError) as caught:
                    connection.execute(text("SELECT pg_sleep(60)"))
                assert is_passing(caught.value)
                raise caught.value
        return int(connection.execute(PID).scalar_one())

    assert writing(opened, work) > 0
    opened.dispose()
    assert len(tries) == 2
