"""Valkey and PostgreSQL, which go, come back, or do not answer."""

import signal
import time

import redis
from sqlalchemy import text

from tests.faults.classes.fault import Fault
from tests.faults.deployment import OBSERVER
from tests.pooler import LEFT_IN_A_SESSION, transaction_pooler
from worker.store.session import reading

HALF_OPEN_S, HALF_OPEN_BRIEFLY_S = 20.0, 6.0
CALLS_END_WITHIN_S = 1.0
CUT_TIMES = 4
CUT_EVERY_S = 0.5
COMMITS_WITHIN_S = 60.0
CUTS_AT_COMMIT, CUTS_AT_COMMIT_BRIEFLY = 8, 3


class ValkeyFault(Fault):
    """Its evidence: another memory than before, and calls of Cyclr after it."""

    def run_id(self) -> str:
        with self.at.redis() as client:
            return str(client.info("server")["run_id"])

    def calls_since(self, at: float) -> int:
        return sum(call.received_at > at for call in self.at.cyclr.installs())


class ValkeyRestarted(ValkeyFault):
    name = "Valkey restarted"

    def strike(self) -> None:
        self.before = self.run_id()
        self.at.valkey.kill()
        self.at.pass_time(self.rng.uniform(0.5, 2.0))
        self.at.valkey.start()
        self.after, self.struck_at = self.run_id(), time.time()

    def took_place(self) -> bool:
        return self.before != self.after and self.calls_since(self.struck_at) > 0


class ValkeyFlushed(ValkeyFault):
    name = "Valkey flushed"

    def strike(self) -> None:
        with self.at.redis() as client:
            self.keys = client.dbsize()
            client.flushall()
        self.struck_at = time.time()

    def took_place(self) -> bool:
        return self.keys > 0 and self.calls_since(self.struck_at) > 0


class ValkeyHalfOpen(ValkeyFault):
    name = "Valkey takes connections and answers nothing"
    answered = True
    calls_meanwhile = 0

    def strike(self) -> None:
        self.at.valkey.freeze()
        began = time.time()
        try:
            self.at.pass_time(HALF_OPEN_BRIEFLY_S if self.is_brief else HALF_OPEN_S)
            self.answered = self._answers()
        finally:
            ended = time.time()
            self.at.valkey.resume()
        calls = [call.received_at for call in self.at.cyclr.read_on().calls]
        late = sum(began + CALLS_END_WITHIN_S < at < ended for at in calls)
        assert late == 0, f"{late} calls while nobody could ask the limiter"
        self.struck_at = ended

    def _answers(self) -> bool:
        try:
            with self.at.redis() as client:
                return bool(client.ping())
        except redis.TimeoutError:
            return False

    def took_place(self) -> bool:
        return not self.answered and self.calls_since(self.struck_at) > 0


class PostgresRestarted(Fault):
    name = "PostgreSQL restarted"

    def strike(self) -> None:
        self.started_at = [self._started_at()]
        for number in self.rng.sample((signal.SIGINT, signal.SIGQUIT), 2):
            self.was_running = not self.at.is_over()
            self.at.postgres.restart(number)
            self.started_at.append(self._started_at())
            self.at.pass_time(1.0)

    def _started_at(self) -> object:
        with reading(self.at.engine) as connection:
            return connection.execute(text("SELECT pg_postmaster_start_time()")).scalar_one()

    def took_place(self) -> bool:
        return len(set(self.started_at)) == 3 and self.was_running


class ConnectionsCut(Fault):
    name = "PostgreSQL's connections cut"
    cut = 0

    def strike(self) -> None:
        everybody_else = text(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND application_name <> :observer"
        )
        for _ in range(CUT_TIMES):
            with reading(self.at.engine) as connection:
                self.cut += connection.execute(everybody_else, {"observer": OBSERVER}).scalar_one()
            self.at.pass_time(CUT_EVERY_S)
        self.was_running = not self.at.is_over()

    def took_place(self) -> bool:
        return self.cut >= 2 and self.was_running


class CutAtCommit(Fault):
    name = "PostgreSQL's connection cut at COMMIT"

    def strike(self) -> None:
        self.before = self.at.cutter.cuts
        wanted = self.before + (CUTS_AT_COMMIT_BRIEFLY if self.is_brief else CUTS_AT_COMMIT)
        self.at.cutter.arm(wanted - self.before)
        self.at.comes_true(lambda: self.at.cutter.cuts >= wanted, COMMITS_WITHIN_S)
        self.at.cutter.arm(0)

    def took_place(self) -> bool:
        return self.at.cutter.cuts > self.before


class BehindAPooler(Fault):
    """All processes are replaced by some that reach PostgreSQL through a pooler in transaction mode, and by the usual ones."""

    name = "PostgreSQL behind a pooler in transaction mode"
    transactions = 0
    left: tuple[str, ...] = ("unknown",)

    def strike(self) -> None:
        direct = self.at.settings["DATABASE_URL"]
        with transaction_pooler(self.at.postgres.folder, sessions=6) as pooler:
            self.at.settings["DATABASE_URL"] = pooler.url(direct)
            try:
                self._replace_all()
                self.at.bring(5)
                self.at.bring(5)  # what the load before left in a session would be in its way
                self.at.pass_time(2.0 if self.is_brief else 6.0)
                self.transactions = pooler.transactions
                self.left = tuple(value for values in pooler.ask_each(LEFT_IN_A_SESSION) for value in values)
            finally:
                self.at.settings["DATABASE_URL"] = direct
                self._replace_all()

    def _replace_all(self) -> None:
        for command in (self.at.worker, self.at.sweep):
            command.send(signal.SIGTERM)
            self.at.wait_until(lambda command=command: command.exit_code is not None, "it ends")  # type: ignore[misc]
        self.at.launch_sweep()
        self.at.launch_worker_again()

    def took_place(self) -> bool:
        assert set(self.left) == {"0"}, "nothing of ours is left in a session of the server"
        return self.transactions > 50
