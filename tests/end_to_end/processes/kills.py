"""kill -9 of every kind of process at random moments: each row ends once, and no account has two.

The stories mostly wait for claims to run out, so each file holds two at most: they go on side by side.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.end_to_end.processes.commands import Command, eventually
from tests.end_to_end.processes.evidence import (
    assert_all_installed,
    assert_never_wrong,
    watch_counters,
)
from tests.end_to_end.processes.site import Site, account_ids, open_site

ACCOUNTS = 300
VICTIMS = ("worker", "celery", "valkey", "command")
# `KILL_SEEDS=17` repeats one; `KILL_SEEDS=1-40` looks harder.
SEEDS = os.environ.get("KILL_SEEDS", "1")
NEXT_SEED = 1_000  # is added where a kill hit nothing in flight
TRIES = 4


class HitNothing(Exception):
    """The kills of a story did not hit what it is about."""


@dataclass
class Run:
    """One job and the kills that it goes through."""

    site: Site
    file: Path
    rng: random.Random
    command: Command
    killed_at: list[float] = field(default_factory=list)
    in_valkey: bytes = b""

    def kill(self, victim: str) -> None:
        """kill -9, now. The command is run again where it was the one."""
        self.in_valkey += self.site.valkey_contents()
        match victim:
            case "worker":
                busy = eventually(self.site.busy_children, "a worker calls Cyclr")
                pid = self.rng.choice(busy).pid
            case "celery":
                pid = self.site.celery_main().pid
            case "valkey":
                pid = self.site.valkey().pid
            case _:
                pid = self.command.pid
        self.killed_at.append(time.time())
        os.kill(pid, signal.SIGKILL)
        if victim == "command":
            assert self.command.wait() == -signal.SIGKILL
            self.command = self.site.run(self.file)

    def hit_something(self, at: float, *, holder_died: bool) -> bool:
        """Whether a call that Cyclr had received by then was not settled by then; where its worker died, by its rescue."""
        received = {call.account_id: call.received_at for call in reversed(self.site.installs())}
        return any(
            received[item.account_id] < at < item.settled_at.timestamp()
            and (item.deaths > 0 or not holder_died)
            for item in self.site.items()
        )


def seeds() -> list[int]:
    first, _, last = SEEDS.partition("-")
    return list(range(int(first), int(last or first) + 1))


def start(site: Site, rng: random.Random) -> Run:
    file = site.file(account_ids(ACCOUNTS))
    return Run(site, file, rng, site.run(file))


def finish(run: Run) -> None:
    """The command ends well, and so did all that it was asked for."""
    site = run.site
    code = run.command.wait(meanwhile=partial(watch_counters, site))
    lost = [item for item in site.items() if item.code == "worker_lost"]
    if lost:
        # The product's own rule for a row that three workers died of: these kills happened to hit one row three times.
        assert min(item.deaths for item in lost) >= 3
        raise HitNothing
    assert code == 0, run.command.err
    assert_all_installed(site, ACCOUNTS)
    assert_never_wrong(site, seen_in_valkey=run.in_valkey)
    site.wait_until_nothing_runs()


def one_kill(victim: str, folder: Path, seed: int) -> None:
    rng = random.Random(f"{victim} {seed}")
    with open_site(folder, account_ids(ACCOUNTS)) as site:
        run = start(site, rng)
        site.wait_for_installs(rng.randint(10, 260))
        run.kill(victim)
        finish(run)
        if not run.hit_something(run.killed_at[0], holder_died=victim != "valkey"):
            raise HitNothing


def many_kills(folder: Path, seed: int) -> None:
    """Each kind once while fresh rows are installed, then a worker once more, while what was lost is looked for."""
    rng = random.Random(f"many {seed}")
    victims = rng.sample(VICTIMS, len(VICTIMS))
    with open_site(folder, account_ids(ACCOUNTS)) as site:
        run = start(site, rng)
        for number, victim in enumerate(victims):
            site.wait_for_installs(rng.randint(60 * number + 10, 60 * number + 50))
            run.kill(victim)
        looks = len(site.simulator.ledger.calls_of("look"))
        eventually(lambda: len(site.simulator.ledger.calls_of("look")) > looks, "lost rows are looked for")
        run.kill("worker")
        finish(run)
        if not all(run.hit_something(at, holder_died=False) for at in run.killed_at):
            raise HitNothing


def until_it_hits(name: str, story: Callable[[Path, int], None], folder: Path, seed: int) -> None:
    """The story with this seed, or with the next ones while its kills hit nothing."""
    for tried in range(seed, seed + TRIES * NEXT_SEED, NEXT_SEED):
        print(f"kill -9, {name}: seed {tried}")  # noqa: T201 - to repeat it with KILL_SEEDS
        try:
            return story(folder / str(tried), tried)
        except HitNothing:
            continue
        except BaseException as failure:
            failure.add_note(f"kill -9, {name}: repeat it with KILL_SEEDS={tried}")
            raise
    raise AssertionError(f"{name}: no kill of {TRIES} hit a call in flight, from seed {seed} on")
