"""One intake in a process of its own: `python -m tests.benchmarks.intake_run product|bare DATABASE_URL FILE`.

Prints seconds, CPU seconds and the peak of its memory in MB as JSON. The product's part is everything between the
file and a running job but the calls of Cyclr's catalogue and accounts; the bare part is csv.reader and one COPY.
"""

import csv
import json
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from tests.benchmarks.server import CONNECTOR
from tests.benchmarks.site import dsn
from worker.cyclr import shapes
from worker.domain.options import RunOptions
from worker.intake import AskedAccounts, Findings, iter_plan, open_source, survey
from worker.jobs.checking import Checked
from worker.jobs.loading import load_job
from worker.store.instances import ensure_instance
from worker.store.loading import new_job_id
from worker.store.memory import DatabaseMemory
from worker.store.sealing import Sealer
from worker.store.session import open_engine

INSTANCE_ID = "bench"
SEALER = Sealer({"k1": b"1" * 32})


def product(database_url: str, path: Path) -> None:
    """Parse and check (two passes), then seal and load (a third), as `submit` does."""
    engine = open_engine(database_url)
    ensure_instance(engine, INSTANCE_ID, "api.example")
    source, options = open_source(path), RunOptions()
    found = survey(source, options)
    connector = shapes.connector(CONNECTOR)
    catalogue = dict.fromkeys(found.connectors, connector)
    checked = Checked(source, options, found, catalogue, AskedAccounts(), Findings())
    plan = iter_plan(
        source,
        options,
        instance_id=INSTANCE_ID,
        survey=found,
        catalogue=catalogue,
        accounts=checked.accounts,
        memory=DatabaseMemory(engine, SEALER),
        findings=checked.findings,
    )
    assert sum(1 for _ in plan) == found.rows
    assert not checked.problem_count
    load_job(
        checked,
        RunOptions(),
        engine=engine,
        sealer=SEALER,
        instance_id=INSTANCE_ID,
        job_id=new_job_id(datetime.now(UTC)),
        on_rows=lambda _: None,
    )


def bare(database_url: str, path: Path) -> None:
    with psycopg.connect(dsn(database_url)) as connection, path.open(newline="", encoding="utf-8") as text:
        rows = csv.reader(text)
        columns = ", ".join(f'"{name}" text' for name in next(rows))
        connection.execute(f"CREATE TABLE bare ({columns})")  # type: ignore[call-overload]
        with connection.cursor().copy("COPY bare FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


if __name__ == "__main__":
    kind, url, file = sys.argv[1:]
    began, cpu_before = time.monotonic(), time.process_time()
    {"product": product, "bare": bare}[kind](url, Path(file))
    took_s, cpu = time.monotonic() - began, time.process_time() - cpu_before
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"took_s": took_s, "cpu_s": cpu, "peak_mb": peak_mb}))
