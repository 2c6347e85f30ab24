"""The product as a deployment runs it: the Procfile's processes on the site's servers, everything on."""

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tests.benchmarks.server import account_id
from tests.benchmarks.site import Site
from tests.end_to_end.fleet.fleet import KEY, procfile, worker_processes
from tests.end_to_end.processes.commands import ROOT, Command, eventually
from worker.store.session import open_engine, reading

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
    """`settings`: of all its processes. `code`: the checkout that they run, which need not be this one."""

    def __init__(self, site: Site, database_url: str, settings: dict[str, str], code: Path = ROOT) -> None:
        self.site = site
        self.code = code
        # As in the image: what `alembic` needs lies where the processes run.
        self.folder = site.folder / ("today" if code == ROOT else code.name)
        self.folder.mkdir(exist_ok=True)
        for name in ("alembic.ini", "migrations"):
            if not (link := self.folder / name).exists():
                link.symlink_to(code / name)
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
            "PYTHONPATH": str(code),
            **settings,
        }

    def launch(self, name: str, *more: str, **settings: str) -> Command:
        """A process of the Procfile."""
        words = [*procfile(self.code)[name], *more]
        return self.site.begin(name, words, folder=self.folder, **(self.settings | settings))

    def release(self) -> None:
        command = self.launch("release")
        assert command.wait() == 0, command.err

    def launch_worker(self, processes: int = 1) -> Command:
        worker = self.launch("worker", "--concurrency", str(processes))
        eventually(lambda: len(worker_processes(worker)) >= processes, "the worker has its processes")
        return worker

    def submit(self, rows: int, *options: str) -> str:
        """The id of a job of so many rows, loaded and running."""
        path = write_file(self.site.folder / f"rows-{rows}.csv", rows)
        words = [sys.executable, "-m", "worker.cli", "submit", str(path), "--yes", *options]
        command = self.site.begin("submit", words, folder=self.folder, **self.settings)
        assert command.wait(within_s=LONGEST_S) == 0, command.err
        return command.out.strip()

    def job(self, job_id: str) -> Any:
        question = text("SELECT total, installed, finished_at FROM jobs WHERE id = :job_id")
        with reading(self.engine) as connection:
            return connection.execute(question, {"job_id": job_id}).one()

    def wait_until_completed(self, job_id: str) -> None:
        eventually(
            lambda: self.job(job_id).finished_at, f"job {job_id} ends", within_s=LONGEST_S, every_s=0.1
        )
        job = self.job(job_id)
        assert job.installed == job.total, f"{job.installed} of {job.total} installed"


@contextmanager
def open_product(site: Site, code: Path = ROOT, **settings: str) -> Iterator[Product]:
    """A new database, brought up to date; no process yet."""
    url = site.databases.new()
    product = Product(site, url, settings, code)
    try:
        product.release()
        yield product
    finally:
        for command in site.commands:
            site.end(command)
        site.commands.clear()
        product.engine.dispose()
        site.databases.drop(url)
        site.flush()
