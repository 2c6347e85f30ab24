"""The standby of PostgreSQL takes its place while a job runs, and the one that was there comes back read-only: the job ends
by itself, with each row installed once."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from tests.end_to_end.fleet.fleet import Fleet, end, open_fleet
from tests.end_to_end.processes.commands import eventually
from tests.postgres import Databases
from tests.postgres_pair import SET_ASIDE, DatabasesBehind, Pair, Switch, postgres_pair
from tests.relay import SOCKET
from worker.store.session import reading
from worker.store.tables import jobs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ACCOUNTS = [f"account-{number}" for number in range(150)]
MANY = [f"account-{number}" for number in range(300)]
ENDS_WITHIN_S = 200.0
NEVER_SAID = ("settlement_refused", "verdicts_dropped", "attempt_crashed", "Traceback")
TAKES_NO_WRITES = (
    "answers, but takes no writes now. It is being switched over, or it is a standby, or it was set to read-only."
    " If it stays so, check the server that DATABASE_URL leads to."
)


@contextmanager
def working(folder: Path, pair: Pair, hosts: str) -> Iterator[Fleet]:
    """A deployment on the database behind these hosts, with a worker and a sweep."""
    databases = DatabasesBehind(pair.primary, hosts)
    with open_fleet(folder, databases, CYCLR_CALLS_PER_SECOND="20", CYCLR_BURST="5") as fleet:
        fleet.release()
        fleet.launch("sweep")
        fleet.launch_worker("--concurrency", "2")
        yield fleet
        fleet.assert_never_twice()
        fleet.assert_no_secret_was_said()


def is_over(fleet: Fleet, job_id: str) -> bool:
    with suppress(DBAPIError):  # its database is away
        return fleet.job(job_id).finished_at is not None
    return False


def is_loading(fleet: Fleet) -> bool:
    with reading(fleet.engine) as connection:
        return connection.execute(select(jobs.c.state)).scalars().all() == ["loading"]


def assert_ended_by_itself(fleet: Fleet, job_id: str) -> None:
    """By the processes that it began with; each row has its install in Cyclr's ledger, and one only."""
    _, sweep, worker, *_ = fleet.commands
    eventually(lambda: is_over(fleet, job_id), "the job is over", within_s=ENDS_WITHIN_S)
    assert (sweep.exit_code, worker.exit_code) == (None, None)
    assert set(fleet.states(job_id)) == {"installed"}
    made = [effect.account_id for effect in fleet.simulator.ledger.effects if effect.kind == "installed"]
    assert sorted(made) == sorted(ACCOUNTS)
    said = sweep.err + worker.err
    assert [word for word in NEVER_SAID if word in said] == []


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "fleet"


def test_with_both_hosts_in_its_url_a_job_goes_on_at_the_standby(here: Path) -> None:
    with (
        postgres_pair() as pair,
        Switch(pair.primary) as first,
        Switch(pair.standby) as second,
        working(here, pair, f"{first.host},{second.host}") as fleet,
    ):
        job_id = fleet.submit(ACCOUNTS)
        fleet.wait_for_installs(ACCOUNTS, 30)
        pair.primary.kill()
        pair.standby.promote()
        # As a standby of the one that was its own.
        pair.primary.follow(pair.standby)
        pair.primary.start()
        assert pair.primary.ask("SHOW transaction_read_only") == "on"
        assert_ended_by_itself(fleet, job_id)


def test_behind_one_address_a_job_waits_for_the_server_that_takes_writes(here: Path) -> None:
    with (
        postgres_pair() as pair,
        Switch(pair.primary) as address,
        working(here, pair, address.host) as fleet,
    ):
        job_id = fleet.submit(ACCOUNTS)
        watcher = fleet.start("watch", job_id)
        fleet.wait_for_installs(ACCOUNTS, 30)
        eventually(lambda: f"{job_id}: " in watcher.err, "somebody watches")
        pair.primary.kill()
        pair.standby.promote()
        # For some seconds the address leads to the old one, which takes no writes any more.
        pair.primary.start(SET_ASIDE)
        taken = address.taken
        eventually(lambda: address.taken >= taken + 20, "new sessions were asked for meanwhile")
        eventually(lambda: "the database takes no writes" in watcher.err, "who watches is told")
        name = fleet.settings["DATABASE_URL"].rpartition("/")[2]
        status = fleet.say("status", job_id)
        assert (status.code, status.out.splitlines()[0].endswith(": running")) == (0, True), status
        assert status.err.splitlines() == [
            f"the database {name} at 127.0.0.1 {TAKES_NO_WRITES}"
            " Until then nothing is claimed or settled, and what is shown may be old."
        ]
        for words in (
            ("submit", fleet.file(["late"], "late.csv"), "--yes"),
            ("pause", job_id),
            ("distrust",),
        ):
            said = fleet.say(*words)
            assert (said.code, said.out) == (2, ""), said
            assert said.err.splitlines()[-2] == f"the database {name} at 127.0.0.1 {TAKES_NO_WRITES}"
        address.lead_to(str(pair.standby.folder / SOCKET))
        assert_ended_by_itself(fleet, job_id)
        assert watcher.wait() == 0, watcher.err


def test_commits_that_a_standby_never_got_are_looked_for_after_distrust(here: Path) -> None:
    """Asynchronous: it believes rows unsent that were sent, as docs/operations.md says."""
    with (
        postgres_pair(is_synchronous=False) as pair,
        Switch(pair.primary) as address,
        working(here, pair, address.host) as fleet,
    ):
        job_id = fleet.submit(MANY)
        fleet.wait_for_installs(MANY, 20)
        pair.stop_following()
        sent = len(fleet.calls("install", MANY))
        fleet.wait_for_installs(MANY, sent + 30)
        pair.primary.kill()
        for command in fleet.commands[1:]:
            end(command)
        pair.standby.promote()
        address.lead_to(str(pair.standby.folder / SOCKET))
        known = fleet.job(job_id).installed
        assert known <= sent
        assert fleet.say("distrust").code == 0
        fleet.launch("sweep")
        fleet.launch_worker("--concurrency", "2")
        eventually(lambda: is_over(fleet, job_id), "the job is over", within_s=ENDS_WITHIN_S)
        rows = fleet.items(job_id)
        assert {row.state for row in rows} == {"installed"}
        assert sum(row.outcome in ("recovered", "adopted") for row in rows) >= 30


def test_a_submit_whose_database_takes_no_writes_any_more_in_the_middle_says_so(
    databases: Databases, here: Path
) -> None:
    with open_fleet(here, databases) as fleet:
        fleet.release()
        file = fleet.file([f"account-{number}" for number in range(30_000)])
        command = fleet.start("submit", str(file), "--yes")
        eventually(lambda: is_loading(fleet), "its rows are being stored")
        with fleet.engine.begin() as connection:
            name = fleet.engine.url.database
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    f" WHERE datname = '{name}' AND pid <> pg_backend_pid()"
                )
            )
        assert (command.wait(), command.out) == (2, "")
        assert command.err.splitlines()[-2:] == [
            f"the database {name} {TAKES_NO_WRITES}",
            "Nothing was changed.",
        ]
        assert "Traceback" not in command.err
