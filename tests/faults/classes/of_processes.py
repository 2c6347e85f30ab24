"""Processes that die, freeze, or are there twice."""

import os
import signal
import time
from pathlib import Path

from tests.end_to_end.fleet.fleet import has_ended
from tests.end_to_end.processes.commands import eventually
from tests.faults.classes.fault import Fault
from tests.faults.deployment import CLAIM_S, busy_process

SWEEP_AWAY_S, SWEEP_AWAY_BRIEFLY_S = 5.0, 2.5
RESCUED_WITHIN_S = 60.0
LINES_LEFT_OUT = 60_000


class CallsInFlight(Fault):
    """Its evidence: a row that Cyclr had been called for, whose outcome nobody had written down when its worker was hit."""

    hit: frozenset[str] = frozenset()  # accounts
    hit_at = 0.0

    def hit_a_busy_process(self, number: int) -> int:
        """Its process id."""
        process, self.hit = busy_process(self.at)
        process.send_signal(number)
        self.hit_at = time.time()
        return process.pid

    def are_taken_back(self) -> bool:
        """Whether its rows are, as soon as their claims have run out and the sweep has seen it."""
        return self.at.comes_true(lambda: self.at.deaths(self.hit) > 0, CLAIM_S + RESCUED_WITHIN_S)

    def was_in_flight(self) -> bool:
        return any(
            row.account_id in self.hit and row.deaths > 0 and row.settled_at.timestamp() > self.hit_at
            for row in self.at.rows()
        )


class WorkerProcessKilled(CallsInFlight):
    name = "kill -9 of a worker process"

    def strike(self) -> None:
        began = time.time()
        pid = self.hit_a_busy_process(signal.SIGKILL)
        self.at.seen.deafened.append((began, time.time()))
        self.at.wait_until(
            lambda: pid not in [process.pid for process in self.at.processes_of_worker()], "it is dead"
        )

    def took_place(self) -> bool:
        return self.was_in_flight()


class CeleryMainKilled(CallsInFlight):
    name = "kill -9 of Celery's main process"

    def strike(self) -> None:
        children = self.at.processes_of_worker()
        began = time.time()
        self.killed = self.at.worker
        _, self.hit = busy_process(self.at)
        os.kill(self.killed.pid, signal.SIGKILL)
        self.hit_at = time.time()
        self.at.wait_until(lambda: all(map(has_ended, children)), "its processes end with it")
        self.at.seen.deafened.append((began, time.time()))
        self.at.launch_worker_again()

    def took_place(self) -> bool:
        return self.killed.exit_code == -signal.SIGKILL and self.was_in_flight()


class SweepKilled(Fault):
    name = "kill -9 of the sweep"

    def strike(self) -> None:
        self.killed = self.at.sweep
        os.kill(self.killed.pid, signal.SIGKILL)
        self.killed.wait()
        # Nobody rescues, and nobody rings again, meanwhile.
        self.at.pass_time(SWEEP_AWAY_BRIEFLY_S if self.is_brief else SWEEP_AWAY_S)
        self.was_still_running = not self.at.is_over()
        self.at.launch_sweep()

    def took_place(self) -> bool:
        return self.killed.exit_code == -signal.SIGKILL and self.was_still_running


class WorkerFrozen(CallsInFlight):
    name = "SIGSTOP of a worker beyond its claim"
    had_been_rescued = False

    def strike(self) -> None:
        began = time.time()
        pid = self.hit_a_busy_process(signal.SIGSTOP)
        try:
            self.at.pass_time(CLAIM_S)
            self.had_been_rescued = self.are_taken_back()
        finally:
            os.kill(pid, signal.SIGCONT)
        # What it had heard before it froze it says now.
        self.at.pass_time(1.0)
        self.at.seen.deafened.append((began, time.time()))

    def took_place(self) -> bool:
        return self.was_in_flight() and self.had_been_rescued


class TwoSweeps(CallsInFlight):
    """With something that both of them try to take back."""

    name = "two sweeps"
    were_alive = False

    def strike(self) -> None:
        first, began = self.at.sweep, time.time()
        self.hit_a_busy_process(signal.SIGKILL)
        self.at.seen.deafened.append((began, time.time()))
        second = self.at.launch("sweep")
        self.at.wait_until(lambda: "sweep_started" in second.err, "the second sweep works")
        is_early = self.at.deaths(self.hit) == 0
        self.were_alive = (
            is_early and self.are_taken_back() and first.exit_code is None and second.exit_code is None
        )
        second.kill()

    def took_place(self) -> bool:
        return self.were_alive and self.was_in_flight()


class LoaderStopped(Fault):
    """A `submit` that is stopped in mid-load, and another one that needs its rows."""

    name = "SIGSTOP of a submit in mid-load"
    said = ""
    was_overtaken = False

    def strike(self) -> None:
        ids = self.at.new_accounts(10)
        # Many lines that are left out: so its load lasts long enough to be met.
        path = self.at.file_of(ids, more_lines=[["", "", "", ""]] * LINES_LEFT_OUT)
        stopped = self.at.command("submit", path, "--yes", "--skip-invalid")
        # Without a look around: the moment is short.
        eventually(lambda: stopped.exit_code is not None or self._is_loading(path), "it loads", every_s=0.01)
        stopped.send(signal.SIGSTOP)
        try:
            self.at.submit(ids)
            self.was_overtaken = stopped.exit_code is None and not self._is_loading(path)
        finally:
            stopped.send(signal.SIGCONT)
        self.at.wait_until(lambda: stopped.exit_code is not None, "it ends")
        self.said = f"{stopped.exit_code} {stopped.err}"
        if stopped.exit_code == 0:  # it was too quick to be stopped, and has a job of its own
            self.at.job_ids.append(stopped.out.strip())

    def _is_loading(self, path: Path) -> bool:
        """Whether its load is under way, and rows of it are there."""
        loading = {
            job.id for job in self.at.jobs() if job.state == "loading" and job.source_name == path.name
        }
        return bool(loading) and any(row.job_id in loading for row in self.at.rows())

    def took_place(self) -> bool:
        return self.was_overtaken and self.said.startswith("2 ") and "was taken for abandoned" in self.said
