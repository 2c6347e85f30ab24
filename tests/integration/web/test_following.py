"""Streams of events: what they cost however many follow, and when they end."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from sqlalchemy import event, update

from tests.integration.store.databases import Stores
from tests.integration.web.site import Site, new_site, wait_until
from tests.integration.web.test_permissions import session_of, signed_in
from tests.integration.web.test_reading import submit
from worker.simulator.server import SimulatorThread
from worker.store.api_keys import Scope, find_key_of_text, revoke_key
from worker.store.job_states import cancel_job
from worker.store.session import Engine, writing
from worker.store.tables import api_keys, jobs
from worker.store.upkeep import delete_load
from worker.web.api import events as stream
from worker.web.guards import COOKIE

BIG = "x" * 1_000_000


class Following:
    """Events of one stream, as they come. `cookie`, `key`: whose it is."""

    def __init__(self, site: Site, job_id: str, *, key: str = "", cookie: str = "") -> None:
        self.seen: list[dict[str, str]] = []
        self.has_ended = False
        who = f"Authorization: Bearer {key}" if key else f"Cookie: {COOKIE}={cookie}"
        # HTTP/1.0: the answer comes without marks between its pieces.
        request = f"GET /v1/jobs/{job_id}/events HTTP/1.0\r\nHost: 127.0.0.1\r\n{who}\r\n\r\n"
        self._socket = socket.create_connection(("127.0.0.1", site.server.port))
        self._socket.sendall(request.encode())
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        event: dict[str, str] = {}
        with self._socket.makefile("r", encoding="utf-8") as lines:
            assert " 200 " in next(lines)
            for line in lines:
                name, _, value = line.rstrip("\r\n").partition(": ")
                if name:
                    event[name] = value
                else:
                    self.seen.append(event)
                    event = {}
        self.has_ended = True

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [json.loads(each["data"]) for each in list(self.seen) if each.get("event") == kind]

    def wait_for(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The event with this number of its kind."""
        wait_until(lambda: len(self.of_kind(kind)) >= count)
        return self.of_kind(kind)[count - 1]

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        self._socket.close()


class Follow(Protocol):
    def __call__(self, job_id: str, *, key: str = "", cookie: str = "") -> Following: ...


@pytest.fixture
def follow(request: pytest.FixtureRequest) -> Iterator[Follow]:
    """Begins to follow a job, and has heard how it stands."""
    site: Site = request.getfixturevalue("on_postgres" if "on_postgres" in request.fixturenames else "site")
    with ExitStack() as stack:

        def begin(job_id: str, *, key: str = "", cookie: str = "") -> Following:
            following = Following(site, job_id, key=key, cookie=cookie)
            stack.callback(following.close)
            following.wait_for("progress")
            return following

        yield begin


def touch(engine: Engine, job_id: str, **more: Any) -> None:
    """Something of the job moves."""
    mine = update(jobs).where(jobs.c.id == job_id).values(tried=jobs.c.tried + 1, **more)
    writing(engine, lambda connection: connection.execute(mine))


@contextmanager
def statements(engine: Engine, about: str) -> Iterator[list[float]]:
    """When the database was sent a statement that reads `about`."""
    times: list[float] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith("SELECT") and about in statement:
            times.append(time.monotonic())

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield times
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("followers", [1, 50])
def test_the_database_is_asked_once_a_second_however_many_follow(site: Site, follow: Follow, followers: int):
    job_id = submit(site.client(site.key()), "acme")
    all_of_them = [
        follow(job_id, key=site.key(Scope.READ, name=f"follower {number}")) for number in range(followers)
    ]
    with statements(site.engine, "FROM jobs") as asked:
        wait_until(lambda: len(asked) >= 4)
        # From the first to the fourth it takes three seconds.
        assert asked[3] - asked[0] > 2.5
    touch(site.engine, job_id)
    for each in all_of_them:
        each.wait_for("progress", 2)


def test_what_is_new_is_made_once_for_all_who_follow(site: Site, follow: Follow):
    job_id = submit(site.client(site.key()), "acme")
    key = site.key(Scope.READ)
    all_of_them = [follow(job_id, key=key) for _ in range(10)]
    with statements(site.engine, "instances.api_host") as asked:
        touch(site.engine, job_id)
        for each in all_of_them:
            each.wait_for("progress", 2)
    assert len(asked) == 1


def test_nobody_asks_any_more_when_the_last_follower_has_gone(site: Site, follow: Follow):
    job_id = submit(site.client(site.key()), "acme")
    key = site.key()
    first, second = follow(job_id, key=key), follow(job_id, key=key)
    second.close()
    touch(site.engine, job_id)
    first.wait_for("progress", 2)
    first.close()
    wait_until(lambda: not site.app.state.askers._by_key)
    with statements(site.engine, "FROM jobs") as asked:
        time_is_up = time.monotonic() + 1.5
        wait_until(lambda: time.monotonic() > time_is_up)
    assert asked == []


def test_a_follower_that_reads_nothing_holds_up_nobody_and_keeps_nothing(site: Site, follow: Follow):
    job_id = submit(site.client(site.key()), "acme")
    key = site.key(Scope.READ)
    with socket.create_connection(("127.0.0.1", site.server.port)) as silent:
        silent.sendall(
            f"GET /v1/jobs/{job_id}/events HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        )
        assert silent.recv(12) == b"HTTP/1.1 200"
        quick = follow(job_id, key=key)
        for number in range(2, 12):
            touch(site.engine, job_id, source_name=BIG)
            quick.wait_for("progress", number)
        connections = site.server._server.server_state.connections
        kept = [each.transport.get_write_buffer_size() for each in connections]
        assert len(kept) >= 2
        assert max(kept) < 2 * len(BIG)


def test_a_revoked_key_hears_why_and_then_nothing(
    site: Site, follow: Follow, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.3)
    job_id = submit(site.client(site.key()), "acme")
    key, other = site.key(Scope.READ, name="Grace"), site.key(Scope.READ, name="Ada")
    follower, neighbour = (follow(job_id, key=each) for each in (key, other))
    found = find_key_of_text(site.engine, key)
    assert found is not None
    revoke_key(site.engine, found.id)
    assert follower.wait_for("problem") == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "The API key 'Grace' was revoked.",
        "code": "access_ended",
    }
    wait_until(lambda: follower.has_ended)
    touch(site.engine, job_id)
    neighbour.wait_for("progress", 2)
    assert len(follower.of_kind("progress")) == 1
    # A browser that comes back by itself stays away at a 401.
    assert site.client(key).get(f"/v1/jobs/{job_id}/events").status_code == 401


def test_a_key_that_expires_hears_why(site: Site, follow: Follow, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.3)
    job_id = submit(site.client(site.key()), "acme")
    follower = follow(job_id, key=site.key(Scope.READ, name="Grace"))
    expired = update(api_keys).where(api_keys.c.name == "Grace").values(expires_at=datetime.now(UTC))
    writing(site.engine, lambda connection: connection.execute(expired))
    told = follower.wait_for("problem")
    assert (told["status"], told["detail"]) == (401, "The API key 'Grace' has expired.")
    wait_until(lambda: follower.has_ended)


def test_a_session_that_was_signed_out_hears_why_and_then_nothing(
    site: Site, follow: Follow, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.3)
    job_id = submit(site.client(site.key()), "acme")
    key = site.key()
    session = session_of(site, key)
    follower, by_key = follow(job_id, cookie=session), follow(job_id, key=key)
    site.app.state.access.end_session(session)
    assert follower.wait_for("problem")["detail"] == "You have signed out. Sign in again."
    wait_until(lambda: follower.has_ended)
    touch(site.engine, job_id)
    by_key.wait_for("progress", 2)
    assert signed_in(site, session).get(f"/v1/jobs/{job_id}/events").status_code == 401


def test_a_caller_is_looked_up_once_for_all_of_their_streams(
    site: Site, follow: Follow, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.5)
    client = site.client(site.key())
    both = [submit(client, account) for account in ("acme", "globex")]
    key = site.key(Scope.READ)
    for job_id in both * 5:
        follow(job_id, key=key)
    with statements(site.engine, "WHERE api_keys.id") as asked:
        wait_until(lambda: len(asked) >= 4)
        assert asked[3] - asked[0] > 1.2


def test_a_job_that_is_forgotten_ends_its_streams_in_words(site: Site, follow: Follow):
    job_id = submit(site.client(site.key()), "acme")
    follower = follow(job_id, key=site.key())
    cancel_job(site.engine, job_id)
    gone = update(jobs).where(jobs.c.id == job_id).values(finished_at=None, state="loading")
    writing(site.engine, lambda connection: connection.execute(gone))
    delete_load(site.engine, job_id)
    told = follower.wait_for("problem")
    assert (told["status"], told["detail"]) == (404, f"There is no job {job_id} here.")
    wait_until(lambda: follower.has_ended)


@pytest.fixture
def on_postgres(
    postgres_stores: Stores, redis_url: str, simulator: SimulatorThread, tmp_path: Path
) -> Iterator[Site]:
    with new_site(postgres_stores, redis_url, simulator, tmp_path) as site:
        yield site


def test_all_are_told_while_the_database_is_away_and_go_on_when_it_is_back(on_postgres: Site, follow: Follow):
    site = on_postgres
    job_id = submit(site.client(site.key()), "acme")
    followers = [follow(job_id, key=site.key(Scope.READ, name=str(number))) for number in range(5)]
    with no_connections(site.engine):
        for each in followers:
            told = each.wait_for("problem")
            assert (told["status"], told["code"]) == (503, "database_away")
    for each in followers:
        each.wait_for("progress", 2)
        assert len(each.of_kind("problem")) == 1
        assert not each.has_ended
    touch(site.engine, job_id)
    for each in followers:
        each.wait_for("progress", 3)


@contextmanager
def no_connections(engine: Engine) -> Iterator[None]:
    """The server takes none to this database while the context lasts, and those there are have ended."""
    name = engine.url.database
    plain = engine.url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    with ExitStack() as stack:
        admin = stack.enter_context(psycopg.connect(plain, autocommit=True))
        stack.callback(admin.execute, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield
