"""What a deployment says while a server is away, and that it goes on by itself when that is back."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis
from sqlalchemy.engine import make_url

from tests.end_to_end.fleet.fleet import Fleet, end, open_fleet, worker_processes
from tests.end_to_end.processes.commands import Command, eventually
from tests.plain_http import http_client
from tests.postgres import PostgresServer, postgres_server
from tests.tls_end import tls_end, write_certificate
from worker.tickets import QUEUE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PROCESSES = ("worker", "sweep", "web")
READ_ONLY = "25006 read_only_sql_transaction"
A_MINUTE_S = 60.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """One that is broken at will."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def site(postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """Released; no process yet."""
    monkeypatch.chdir(tmp_path)
    with open_fleet(tmp_path / "fleet", postgres.databases()) as fleet:
        fleet.release()
        yield fleet
        fleet.assert_never_twice()
        fleet.assert_no_secret_was_said()


def lines(process: Command) -> list[dict[str, Any]]:
    """All that it has written, each line of which is JSON."""
    return [json.loads(line) for line in (process.out + process.err).splitlines()]


def said(process: Command, event: str, **fields: object) -> list[dict[str, Any]]:
    whole = process.err.rpartition("\n")[0]  # the last line may be half written
    events = [json.loads(line) for line in whole.splitlines()]
    return [each for each in events if each["event"] == event and fields.items() <= each.items()]


def launch(site: Fleet, name: str) -> Command:
    return site.launch(name, *(("--concurrency", "2") if name == "worker" else ()), PORT="0")


def execute(site: Fleet, *statements: str) -> None:
    url = make_url(site.settings["DATABASE_URL"]).set(drivername="postgresql", database="postgres")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


def cut_all_sessions(site: Fleet) -> None:
    execute(site, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'test_%'")


@contextmanager
def read_only_database(site: Fleet) -> Iterator[None]:
    """As a standby that has not been promoted yet: reading goes well."""
    name = make_url(site.settings["DATABASE_URL"]).database
    execute(site, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    cut_all_sessions(site)
    try:
        yield
    finally:
        execute(site, f"ALTER DATABASE {name} RESET default_transaction_read_only")
        cut_all_sessions(site)


@contextmanager
def read_only_redis(site: Fleet) -> Iterator[None]:
    """As a replica behind a proxy, or a primary that was demoted; without the ticket that it may have held."""
    with redis.Redis.from_url(site.valkey.url) as client:
        client.replicaof("127.0.0.1", "1")  # type: ignore[no-untyped-call]
        client.config_set("replica-read-only", "no")
        client.delete(QUEUE)
        client.config_set("replica-read-only", "yes")
        yield
        client.replicaof("NO", "ONE")  # type: ignore[no-untyped-call]


def address(web: Command) -> str:
    [started] = eventually(lambda: said(web, "web_started"), "the web process listens")
    return str(started["address"]).replace("0.0.0.0", "127.0.0.1")


@contextmanager
def client_of(site: Fleet, web: Command) -> Iterator[httpx.Client]:
    made = site.say("api-keys", "create", "tests", "--scope", "write", "--expires", "1h")
    headers = {"Authorization": f"Bearer {made.out.strip()}"}
    with http_client(base_url=address(web), headers=headers, timeout=60) as client:
        yield client


def wait_for_fault(process: Command, event: str, kind: str) -> dict[str, Any]:
    """The first line of this class; a worker's main process and those that it forks write into one log."""
    [line, *_] = eventually(lambda: said(process, event, **{"class": kind}), f"{event} {kind} is said")
    return line


def figures(client: httpx.Client) -> list[str]:
    return [
        line for line in client.get("/metrics").text.splitlines() if "_server_" in line and line[0] != "#"
    ]


def assert_once_a_minute(process: Command) -> None:
    """No class of fault twice within a minute, of one process of those that write here."""
    told: dict[tuple[str, str, int], float] = {}
    for line in lines(process):
        if line["event"].endswith("_away"):
            key = line["event"], line["class"], line["pid"]
            at = time.mktime(time.strptime(line["timestamp"][:19], "%Y-%m-%dT%H:%M:%S"))
            assert at - told.get(key, 0.0) >= A_MINUTE_S - 1, line
            told[key] = at


def test_all_that_a_deployment_writes_is_json_whatever_breaks_and_each_fault_has_its_class(
    site: Fleet,
) -> None:
    job_id = site.submit(["a-1", "a-2"])
    sweep, web = launch(site, "sweep"), launch(site, "web")
    eventually(lambda: said(web, "no_api_key"), "the web process is ready")
    with socket.create_connection(
        ("127.0.0.1", int(address(web).rpartition(":")[2])), timeout=30
    ) as stranger:
        stranger.sendall(b"\0 no request\r\n\r\n")
        stranger.recv(1000)
    with client_of(site, web) as client:
        with read_only_redis(site):
            line = wait_for_fault(sweep, "redis_away", "READONLY")
            assert line["said"] == "You can't write against a read only replica"
            assert line["doing"] == "sending a ticket"
            found = client.get("/readyz").json()
            assert found["checks"]["redis"] == "it answers READONLY"
            assert found["faults"] == [
                {"server": "redis", "class": "READONLY", "message": "Redis answers READONLY"}
            ]
            wait_for_fault(web, "redis_away", "READONLY")
            assert 'cyclr_bulk_server_fault{server="redis",class="READONLY"} 1' in figures(client)
            assert 'cyclr_bulk_server_up{server="redis"} 0' in figures(client)
            why = "Redis answers READONLY: You can't write against a read only replica, so nobody calls Cyclr"
            assert f"  calls:     {why}" in site.say("status", job_id).out.splitlines()
            [shown] = client.get(f"/v1/jobs/{job_id}").json()["server_faults"]
            assert shown["message"] == why.removesuffix(", so nobody calls Cyclr")
        eventually(lambda: said(sweep, "redis_back"), "the sweep says that it is over")
        assert 'cyclr_bulk_server_up{server="redis"} 1' in figures(client)

        worker = launch(site, "worker")
        site.wait_for(job_id, "completed")
        with read_only_database(site):
            line = wait_for_fault(sweep, "database_away", READ_ONLY)
            assert line["doing"] == "sweeping"
            # Of a session that was open, or of one that was asked for.
            of_a_session = (
                r"cannot execute [A-Z ]+ in a read-only transaction|connection failed: .*session is read-only"
            )
            assert re.fullmatch(of_a_session, line["said"])
            wait_for_fault(worker, "database_away", READ_ONLY)
            assert 'cyclr_bulk_server_up{server="database"} 0' in figures(client)
            assert f"The database answers {READ_ONLY}" in site.say("status", job_id).out
            told = json.loads(site.say("status", job_id, "--json").out)["server_faults"]
            assert [(each["server"], each["class"]) for each in told] == [("database", READ_ONLY)]
        eventually(lambda: said(sweep, "database_back"), "the sweep says that it is over")

        site.valkey.kill()
        eventually(lambda: said(worker, "redis_away"), "Celery's main process says that Redis is away")
        worker_processes(worker)[0].kill()
        site.valkey.start()
        eventually(lambda: said(worker, "redis_back"), "and that it is back")
        second = site.submit(["c-1", "c-2"])
        site.wait_for(second, "completed")
    for process in (worker, sweep, web):
        assert end(process) == 0
        assert lines(process)
        assert_once_a_minute(process)
    assert lines(sweep)[-1]["event"] == "sweep_ended"
    assert said(worker, "worker_ending")


@pytest.mark.parametrize("name", PROCESSES)
def test_what_starts_while_all_is_away_waits_says_so_and_goes_on(
    site: Fleet, postgres: PostgresServer, name: str
) -> None:
    job_id = site.submit([f"late-{name}"])
    site.valkey.kill()
    postgres.kill()
    try:
        process = launch(site, name)
        eventually(lambda: said(process, "database_away"), "it says that the database is away")
        eventually(lambda: said(process, "redis_away"), "it says that Redis is away")
        assert process.exit_code is None
    finally:
        postgres.start()
        site.valkey.start()
    eventually(lambda: said(process, "database_back"), "it says that the database is back")
    eventually(lambda: said(process, "redis_back"), "it says that Redis is back")
    others = [launch(site, each) for each in PROCESSES if each != name]
    site.wait_for(job_id, "completed")
    for each in (process, *others):
        assert end(each) == 0
        assert_once_a_minute(each)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_that_waits_ends_when_it_is_told_to(
    site: Fleet, postgres: PostgresServer, name: str
) -> None:
    postgres.kill()
    try:
        process = launch(site, name)
        eventually(lambda: said(process, "database_away"), "it waits")
        began = time.monotonic()
        assert end(process) == 0
        assert time.monotonic() - began < 10
        assert lines(process)[-1]["event"] in ("ended_while_waiting", "sweep_ended", "web_ended")
    finally:
        postgres.start()


@contextmanager
def passwords_are_asked_for(site: Fleet, postgres: PostgresServer) -> Iterator[None]:
    path = postgres.folder / "data" / "pg_hba.conf"
    before = path.read_text()
    execute(
        site, "CREATE ROLE partner LOGIN PASSWORD 'right-5d21'", "ALTER ROLE partner SET search_path = public"
    )
    path.write_text(f"local all partner scram-sha-256\n{before}")
    execute(site, "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        path.write_text(before)
        execute(site, "SELECT pg_reload_conf()", "DROP ROLE partner")


@pytest.mark.parametrize("name", PROCESSES)
def test_a_wrong_password_or_database_ends_the_process_in_words(
    site: Fleet, postgres: PostgresServer, name: str
) -> None:
    wrong = make_url(site.settings["DATABASE_URL"]).set(username="partner", password="wrong-77c0")
    site.secrets.add("wrong-77c0")
    missing = make_url(site.settings["DATABASE_URL"]).set(database="nowhere")
    with passwords_are_asked_for(site, postgres):
        for url, kind in ((wrong, "28P01 invalid_password"), (missing, "3D000 invalid_catalog_name")):
            site.settings["DATABASE_URL"] = url.render_as_string(hide_password=False)
            process = launch(site, name)
            assert process.wait() == (1 if name == "worker" else 2)
            said_last = [line for line in lines(process) if line["event"] == "cannot_start"]
            assert [kind in line["reason"] for line in said_last] == [True]


@pytest.mark.parametrize("name", PROCESSES)
def test_a_redis_that_asks_for_a_password_ends_the_process_in_words(site: Fleet, name: str) -> None:
    with redis.Redis.from_url(site.valkey.url) as client:
        client.config_set("requirepass", "right-9b3e")
        process = launch(site, name)
        assert process.wait() == (1 if name == "worker" else 2)
    [line] = [line for line in lines(process) if line["event"] == "cannot_start"]
    assert line["reason"].startswith("Redis answers NOAUTH: ")
    assert "REDIS_URL" in line["reason"]


def test_a_certificate_of_cyclr_that_is_replaced_is_named_by_log_and_status(
    site: Fleet, tmp_path: Path
) -> None:
    trusted, other = (write_certificate(tmp_path / f"{name}.pem") for name in ("trusted", "other"))
    port = int(site.simulator.base_url.rpartition(":")[2])
    with tls_end(port, trusted) as front:
        site.settings |= {
            "CYCLR_API_URL": f"https://127.0.0.1:{front.port}",
            "CYCLR_CALLS_PER_SECOND": "10",
            "CYCLR_BURST": "1",
            "SSL_CERT_FILE": str(trusted),
        }
        accounts = [f"tls-{number}" for number in range(60)]
        submit = site.start("submit", str(site.file(accounts)), "--yes", **site.settings)
        assert submit.wait() == 0, submit.err
        job_id = submit.out.strip()
        worker, sweep = launch(site, "worker"), launch(site, "sweep")
        site.wait_for_installs(accounts, 3)
        front.present(other)
        line = wait_for_fault(worker, "cyclr_away", "certificate_verify_failed")
        assert line["said"].startswith("the host's TLS certificate is not trusted: self")
        told = eventually(
            lambda: next(
                (each for each in site.say("status", job_id).out.splitlines() if "Cyclr" in each), None
            ),
            "status says that Cyclr is away",
        )
        assert "Cyclr does not answer (certificate_verify_failed): the host's TLS certificate" in told
        [fault] = json.loads(site.say("status", job_id, "--json").out)["server_faults"]
        assert (fault["server"], fault["class"]) == ("cyclr", "certificate_verify_failed")
        front.present(trusted)
        site.wait_for(job_id, "completed")
        assert said(worker, "cyclr_back")
        for process in (worker, sweep):
            assert end(process) == 0
            assert_once_a_minute(process)


def test_a_person_who_submits_is_told_what_is_away(site: Fleet) -> None:
    file = site.file(["told-1"])
    site.valkey.kill()
    submit = site.start("submit", str(file), "--yes", **site.settings)
    words = "Redis does not answer (connection_refused): Error 111 connecting to"
    eventually(lambda: submit.exit_code is not None or words in submit.err, "it says what is away")
    assert submit.exit_code is None, submit.err
    assert end(submit) == 3
    assert submit.out == ""
