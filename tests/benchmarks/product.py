"""The product as a deployment runs it: the Procfile's processes on the site's servers, everything on."""

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tests.benchmarks.server import account_id
from tests.benchmarks.site import Site
from tests.end_to_end.fleet.fleet import KEY, procfile, worker_processes
from tests.end_to_end.processes.commands import ROOT, Command, eventually
from worker.store.readiness import upgrade
from worker.store.session import open_engine, reading
from worker.store.tables import jobs

COLUMNS = ("account_id", "connector", "api_key", "property.WebhookSecret", "reference")
LONGEST_S = 3_600.0


def write_file(path: Path, rows: int) -> Path:
    """A file of so many rows, each with an account of its own, a credential and a property."""
    with path.open("w", newline="", encoding="utf-8") as out:
        lines = csv.writer(out)
        lines.writerow(COLUMNS)
        lines.writerows(
            (
                account_id(n),
                "Northwind Mail",
                f"key-of-{n}-5f1c9a7e42d0",
                f"whsec-of-{n}-77ab",
                f"customer {n}",
            )
            for n in range(rows)
        )
    return path


class Product:
    """`settings`: of all its processes."""

    def __init__(self, site: Site, database_url: str, settings: dict[str, str]) -> None:
        self.site = site
        self.database_url = database_url
        self.engine = open_engine(database_url)
        self.settings = {
            "CYCLR_API_URL": site.url,
            "CYCLR_CLIENT_ID": "partner-1",
            "CYCLR_CLIENT_SECRET": "partner-secret",
            "CYCLR_CALLS_PER_SECOND": "5000",
            "CYCLR_CONCURRENCY": "100",
            "CYCLR_BULK_SEALING_KEYS": KEY,
            "CYCLR_BULK_HOME": str(site.folder / "home"),
            "DATABASE_URL": database_url,
            "REDIS_URL": site.valkey.url,
            **settings,
        }

    def launch(self, name: str, *more: str, **settings: str) -> Command:
        """A process of the Procfile."""
        return self.site.begin(name, [*procfile()[name], *more], **(self.settings | settings))

    def launch_worker(self, processes: int = 1) -> Command:
        worker = self.launch("worker", "--concurrency", str(processes))
        eventually(lambda: len(worker_processes(worker)) >= processes, "the worker has its processes")
        return worker

    def submit(self, rows: int) -> str:
        """The id of a job of so many rows, loaded and running."""
        path = write_file(self.site.folder / f"rows-{rows}.csv", rows)
        words = [sys.executable, "-m", "worker.cli", "submit", str(path), "--yes"]
        command = self.site.begin("submit", words, **self.settings)
        assert command.wait(within_s=LONGEST_S) == 0, command.err
        return command.out.strip()

    def job(self, job_id: str) -> Any:
        with reading(self.engine) as connection:
            return connection.execute(select(jobs).where(jobs.c.id == job_id)).one()

    def wait_until_completed(self, job_id: str) -> None:
        eventually(
            lambda: self.job(job_id).finished_at, f"job {job_id} ends", within_s=LONGEST_S, every_s=0.1
        )
        job = self.job(job_id)
        assert job.installed == job.total, f"{job.installed} of {job.total} installed"


@contextmanager
def open_product(site: Site, **settings: str) -> Iterator[Product]:
    """A new database; no process yet."""
    for name in ("alembic.ini", "migrations"):
        link = site.folder / name
        if not link.exists():
            link.symlink_to(ROOT / name)
    url = site.databases.new()
    product = Product(site, url, settings)
    upgrade(product.engine)
    try:
        yield product
    finally:
        for command in site.commands:
            site.end(command)
        site.commands.clear()
        product.engine.dispose()
        site.databases.drop(url)
        site.flush()
