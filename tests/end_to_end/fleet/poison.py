"""A row that kills its worker: whichever process calls Cyclr for it is killed, from outside, while the call is in flight."""

import random
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from tests.end_to_end.fleet.fleet import Fleet, open_fleet, worker_processes
from tests.end_to_end.processes.commands import Command, eventually
from tests.postgres import Databases
from worker.simulator.faults import silence
from worker.simulator.ledger import Call

ROWS = 500
POISON = "account-250"
RANDOM_KILLS = 10
ENDS_WITHIN_S = 180.0
# Long enough for the call to be seen in flight. A lost row waits 10 s longer than this for its rescue.
TIMEOUT_S = "1"


def poisoned_run(folder: Path, databases: Databases, seed: int) -> None:
    """500 rows, of which one kills three workers, and ten kills by chance: all are installed but that one."""
    ids = [f"account-{number:03}" for number in range(ROWS)]
    # Few calls in flight in a process: few rows are lost with it.
    settings = {"CYCLR_TIMEOUT_S": TIMEOUT_S, "CYCLR_CALLS_PER_SECOND": "100", "CYCLR_CONCURRENCY": "20"}
    with open_fleet(folder, databases, **settings) as fleet:
        # Whatever is asked of Cyclr for the poisoned row stays unanswered until its worker is dead.
        fleet.change(lambda world: world.faults.add(silence(after_effect=False), account_id=POISON))
        fleet.release()
        fleet.launch("sweep")
        worker = fleet.launch_worker("--concurrency", "2")
        job_id = submit(fleet, ids)
        kills = Kills(fleet, worker, random.Random(f"poison {seed}"))
        while not fleet.job(job_id).finished_at:
            kills.go_on(for_s=0.5)

        assert kills.by_chance == RANDOM_KILLS
        items = {item.account_id: item for item in fleet.items(job_id)}
        assert (items[POISON].code, items[POISON].deaths) == ("worker_lost", 3)
        assert items[POISON].message.startswith(
            "may be installed: three workers died while they held this row"
        )
        failed = [(i.account_id, i.code, i.deaths, i.message) for i in items.values() if i.state == "failed"]
        assert [account_id for account_id, *_ in failed] == [POISON], failed
        assert Counter(item.state for item in items.values()) == {"installed": ROWS - 1, "failed": 1}
        assert (fleet.job(job_id).installed, fleet.job(job_id).failed) == (ROWS - 1, 1)
        fleet.assert_never_twice()
        fleet.assert_no_secret_was_said()


def submit(fleet: Fleet, ids: list[str]) -> str:
    command = fleet.start("submit", str(fleet.file(ids)), "--yes")
    assert command.wait() == 0, command.err
    return command.out.strip()


class Kills:
    """All that die in a run: who calls for the poisoned row, and ten by chance while the others are installed."""

    def __init__(self, fleet: Fleet, worker: Command, rng: random.Random) -> None:
        self._fleet = fleet
        self._worker = worker
        self._rng = rng
        self._at = sorted(rng.sample(range(20, 400), RANDOM_KILLS))
        self._last_poisoned = -1
        self._deadline = time.monotonic() + ENDS_WITHIN_S
        self.by_chance = 0

    def go_on(self, *, for_s: float) -> None:
        """Kill who is due in this time. Fails when nothing more comes of it."""
        assert time.monotonic() < self._deadline, f"the job does not end; {self.by_chance} died by chance"
        until = time.monotonic() + for_s
        eventually(lambda: self._next() or time.monotonic() > until, "its time is over", every_s=0.01)

    def _next(self) -> None:
        """Kill who is due."""
        if call := self._poisoned_call():
            self._last_poisoned = call.index
            self._kill([process for process in self._processes() if has_connection(process, call)])
        elif self._is_one_by_chance_due() and (processes := self._processes()):
            self._kill([self._rng.choice(processes)])
            self.by_chance += 1

    def _poisoned_call(self) -> Call | None:
        """A call for the poisoned row that waits for its answer, and nobody was killed for yet."""
        calls = [call for call in self._fleet.simulator.ledger.calls if call.account_id == POISON]
        is_new = bool(calls) and calls[-1].ended_at is None and calls[-1].index > self._last_poisoned
        return calls[-1] if is_new else None

    def _is_one_by_chance_due(self) -> bool:
        installs = len(self._fleet.simulator.ledger.calls_of("install"))
        return self.by_chance < RANDOM_KILLS and installs >= self._at[self.by_chance]

    def _processes(self) -> list[psutil.Process]:
        return worker_processes(self._worker)

    def _kill(self, processes: list[psutil.Process]) -> None:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def has_connection(process: psutil.Process, call: Call) -> bool:
    """Whether the call came by a connection of this process."""
    with suppress(psutil.Error):
        return any(link.laddr.port == call.caller_port for link in process.net_connections("tcp"))
    return False
