"""Redis answers with errors while its connections stand: nobody calls, nobody dies, and all goes on when it is healed."""

import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.fleet.fleet import Fleet, end, open_fleet, worker_processes
from tests.end_to_end.processes.commands import Command, eventually
from tests.postgres import Databases
from tests.redis_proxy import OF_A_CONNECTION, RedisProxy, redis_proxy
from tests.redis_states import STATES
from tests.servers import ValkeyServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PROCESSES = 2
ROUNDS = 3  # so often Celery has begun anew in the same state
MOST_TRIES_A_SECOND = 10 * PROCESSES
# What a Valkey of our own cannot be brought to say, and which commands it would say it to.
SAID_BY_OTHERS = {
    "LOADING": "LOADING Redis is loading the dataset in memory",
    "CLUSTERDOWN": "CLUSTERDOWN The cluster is down",
    "WRONGPASS": "WRONGPASS invalid username-password pair or user is disabled.",
    "TRYAGAIN": "TRYAGAIN Multiple keys request during rehashing of slot",
    "ERR unknown command": "ERR unknown command 'BRPOP', with args beginning with: 'cyclr-bulk'",
    "ResponseError": "something that no Redis says",
}
# Who waits for a ticket writes nothing: such a worker meets it now and then, and when it connects.
NOT_TO_WHO_WAITS = ("OOM",)
TO_ALL_COMMANDS = ("LOADING", "WRONGPASS")
REDIS_IS_BACK = '"event": "redis_back"'


class Watched:
    """A fleet whose Redis is behind a proxy, with one worker that must never end."""

    def __init__(self, fleet: Fleet, proxy: RedisProxy) -> None:
        self.fleet, self.proxy = fleet, proxy
        self.jobs = 0

    def job(self, rows: int) -> str:
        self.jobs += 1
        return self.fleet.submit([f"a{self.jobs}-{number}" for number in range(rows)])

    def processes(self) -> frozenset[int]:
        """Of the worker; none before all have started."""
        found = frozenset(process.pid for process in worker_processes(self.fleet.worker))
        return found if len(found) == PROCESSES else frozenset()

    def tries(self) -> int:
        """How often anybody has turned to Redis: with a connection, or with a question to the limiter."""
        return self.proxy.connections + self.proxy.commands["EVALSHA"]

    def answers_with(self, fault: str) -> AbstractContextManager[None]:
        return answering(fault, self.fleet.valkey, self.proxy)


@contextmanager
def answering(fault: str, server: ValkeyServer, proxy: RedisProxy) -> Iterator[None]:
    """The server does, or the proxy before it where that is what no server of ours can be brought to."""
    if fault in STATES:
        with STATES[fault](server):
            yield
        return
    is_for_all = fault in TO_ALL_COMMANDS
    proxy.answer(SAID_BY_OTHERS[fault], concerns=lambda name: is_for_all or name not in OF_A_CONNECTION)
    try:
        yield
    finally:
        proxy.heal()


def wait_for_new_beginnings(worker: Command, proxy: RedisProxy, fault: str) -> None:
    """It has connected anew in vain, again and again."""
    before = proxy.connections
    if fault in NOT_TO_WHO_WAITS:
        proxy.cut()
    eventually(
        lambda: worker.exit_code is not None or proxy.connections >= before + ROUNDS,
        f"the worker has begun anew {ROUNDS} times",
    )
    assert worker.exit_code is None, worker.err


@pytest.fixture(scope="module")
def watched(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("redis-answers")
    with (
        open_fleet(folder, databases, CYCLR_CALLS_PER_SECOND="40", CYCLR_BURST="5") as fleet,
        redis_proxy(fleet.valkey.url) as proxy,
    ):
        fleet.settings["REDIS_URL"] = f"redis://127.0.0.1:{proxy.port}/0"
        fleet.release()
        fleet.launch("sweep")
        fleet.launch_worker("--concurrency", str(PROCESSES))
        yield Watched(fleet, proxy)
        assert end(fleet.worker) == 0
        fleet.assert_never_twice()
        fleet.assert_no_secret_was_said()


@pytest.mark.parametrize("fault", [*STATES, *SAID_BY_OTHERS])
def test_whatever_redis_answers_ends_no_worker_idle_or_busy_and_nobody_calls(
    watched: Watched, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fleet = watched.fleet
    processes = eventually(lambda: watched.processes(), "all processes of the worker are there")
    with watched.answers_with(fault):  # idle
        backs = fleet.worker.err.count(REDIS_IS_BACK)
        wait_for_new_beginnings(fleet.worker, watched.proxy, fault)
        if fault not in NOT_TO_WHO_WAITS:
            assert fleet.worker.err.count(REDIS_IS_BACK) == backs, "only connected, and answered with errors"
    job_id = watched.job(60)
    eventually(lambda: fleet.job(job_id).installed >= 5, "it is under way")
    with watched.answers_with(fault):  # busy
        calls = fleet.wait_for_silence()
        tries, began = watched.tries(), time.monotonic()
        eventually(lambda: watched.tries() >= tries + 2 * PROCESSES, "Redis is tried again")
        assert watched.tries() - tries <= MOST_TRIES_A_SECOND * (1 + time.monotonic() - began)
        assert len(fleet.simulator.ledger.calls) == calls
    fleet.wait_for(job_id, "completed")
    assert fleet.job(job_id).installed == 60
    assert watched.processes() == processes


@pytest.mark.parametrize("fault", ["OOM", "READONLY", "MASTERDOWN", "LOADING", "CLUSTERDOWN"])
def test_a_worker_that_starts_meanwhile_waits_for_tickets_once_redis_is_healed(
    watched: Watched, fault: str
) -> None:
    fleet = watched.fleet
    with redis_proxy(fleet.valkey.url) as proxy:
        with answering(fault, fleet.valkey, proxy):
            settings = {"REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}
            worker = fleet.launch("worker", "--concurrency", "1", "--hostname", f"{fault}@%h", **settings)
            wait_for_new_beginnings(worker, proxy, fault)
        asked = proxy.commands["BRPOP"]
        eventually(lambda: proxy.commands["BRPOP"] >= asked + 2, "it waits for tickets")
        assert len(worker_processes(worker)) == 1
        assert end(worker) == 0


@pytest.mark.parametrize("fault", ["OOM", "READONLY", "NOPERM", "LOADING"])
def test_a_worker_ends_in_good_order_while_redis_answers_with_errors(watched: Watched, fault: str) -> None:
    fleet = watched.fleet
    with redis_proxy(fleet.valkey.url) as proxy:
        settings = {"REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}
        worker = fleet.launch("worker", "--concurrency", "1", "--hostname", f"{fault}-ends@%h", **settings)
        eventually(lambda: proxy.commands["BRPOP"] >= 1, "it waits for tickets")
        with answering(fault, fleet.valkey, proxy):
            wait_for_new_beginnings(worker, proxy, fault)
            worker.send(signal.SIGTERM)
            assert worker.wait(within_s=30) == 0
