"""Commands that share a home, and how they are held up so that one is sure to find the other."""

from functools import partial
from pathlib import Path

from tests.end_to_end.processes.commands import Command
from tests.end_to_end.processes.evidence import watch_counters
from tests.end_to_end.processes.site import Site
from worker.simulator.faults import slow

TAKES_OVER = "The command that ran the workers has ended: this one goes on."


def states_by_source(site: Site) -> dict[str, str]:
    return {job.source_name: job.state for job in site.jobs()}


def hold_up(site: Site) -> None:
    """Installs take so long that the first command is sure to be at work while the others start."""
    site.change(lambda world: world.faults.add(slow(1.5), call="install"))


def let_go(site: Site) -> None:
    site.change(lambda world: world.faults.clear())


def run(site: Site, file: Path) -> Command:
    return site.start("run", str(file), "--yes", CYCLR_CONCURRENCY="4")


def ends_well(site: Site, command: Command) -> None:
    assert command.wait(meanwhile=partial(watch_counters, site)) == 0, command.err
