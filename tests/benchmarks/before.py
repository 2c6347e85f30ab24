"""The product as it was at another commit, beside today's: the same servers, the same environment, in turn."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from redis import Redis

from tests.benchmarks.product import Product
from tests.benchmarks.site import Site
from tests.counts import COMMITS, TRANSACTIONS, UPDATES, ask
from tests.end_to_end.processes.commands import ROOT
from tests.started import run_process

# The last commit before an operation was a list of steps. BEFORE=commit: another one.
BEFORE = "bce18fc"
NAMES = ("updates of items", "commits", "transactions", "commands of Redis")
NEVER_MORE = ("updates of items", "commits", "commands of Redis")  # transactions come by the second


def commit() -> str:
    return os.environ.get("BEFORE") or BEFORE


def check_out(site: Site) -> Path | None:
    """Its files, in a folder of the site; None where git does not have it."""
    archive = ["git", "-C", str(ROOT), "archive", "--format=tar", commit()]
    try:
        done = run_process(archive, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return None
    if done.returncode:
        return None
    folder = site.folder / f"before-{commit().replace('/', '-')}"
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
        files.extractall(folder, filter="data")
    _require_it_runs(site, folder)
    return folder


def _require_it_runs(site: Site, folder: Path) -> None:
    """What the environment has installed is this checkout, which must not be measured in its place."""
    words = [sys.executable, "-c", "import worker; print(worker.__file__)"]
    command = site.begin("whose", words, PYTHONPATH=str(folder))
    assert command.wait() == 0, command.err
    assert Path(command.out.strip()).is_relative_to(folder), command.out


def costs(product: Product) -> dict[str, int]:
    """What was asked of the database and of Redis since ever."""
    with Redis.from_url(product.site.valkey.url) as redis:
        commands = int(redis.info("stats")["total_commands_processed"])
    return dict(zip(NAMES, (*ask(product.engine, UPDATES, COMMITS, TRANSACTIONS), commands), strict=True))
