"""What a claim, a settle and a look at the progress cost in a large job, beside the same in a small one."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median

from sqlalchemy import text

from tests.benchmarks.intake_run import SEALER
from tests.benchmarks.product import write_file
from tests.benchmarks.server import CONNECTOR
from tests.benchmarks.site import Site
from tests.benchmarks.sizes import sizes
from worker.clock import Clock
from worker.cyclr import shapes
from worker.domain.options import RunOptions
from worker.domain.states import Outcome
from worker.domain.verdicts import Installed
from worker.intake import AskedAccounts, Findings, open_source, survey
from worker.jobs.checking import Checked
from worker.jobs.loading import load_job
from worker.operations.install import INSTALL
from worker.store.claiming import claim
from worker.store.instances import ensure_instance
from worker.store.jobs import get_job
from worker.store.loading import new_job_id
from worker.store.readiness import upgrade
from worker.store.session import Engine, open_engine
from worker.store.settling import Settlement, settle

INSTANCE_ID = "bench"
TAKEN = 100  # items in a claim, and verdicts in a settle
COPIES = text(
    "INSERT INTO items (job_id, row_number, account_id, name, target, connector_id, cells, sealed, state, due_at)"
    " SELECT job_id, n, 'acct-' || n, name, md5(job_id || n), connector_id, cells, sealed, state, due_at"
    " FROM items, generate_series(CAST(:first AS integer), CAST(:last AS integer)) n WHERE row_number = 2"
)


@dataclass(slots=True)
class Job:
    """A job of its own database, and how long each operation took in it."""

    engine: Engine
    id: str
    took_s: dict[str, list[float]] = field(default_factory=dict)

    def time(self, name: str, work: Callable[[], object]) -> object:
        began = time.perf_counter()
        result = work()
        self.took_s.setdefault(name, []).append(time.perf_counter() - began)
        return result

    def medians(self) -> dict[str, float]:
        return {name: median(each) for name, each in self.took_s.items()}


def measure(site: Site) -> dict[str, dict[str, float]]:
    """`small` and `large` -> operation -> its median in seconds, both jobs in turn."""
    jobs = {"small": make_job(site, sizes().small_job), "large": make_job(site, sizes().large_job)}
    for _ in range(sizes().job_repeats):
        for job in jobs.values():
            _once(job)
    for job in jobs.values():
        job.engine.dispose()
    return {name: job.medians() for name, job in jobs.items()}


def _once(job: Job) -> None:
    now = datetime.now(UTC)
    items = job.time(
        "claim",
        lambda: claim(
            job.engine,
            SEALER,
            instance_id=INSTANCE_ID,
            count=TAKEN,
            claim_s=60,
            is_idle=False,
            mark=lambda item: INSTALL.first_mark(item, max_attempts=8),
            moment=Clock().moment,
        ),
    )
    assert isinstance(items, list)
    assert len(items) == TAKEN, f"{len(items)} claimed"
    group = [
        Settlement(item, Installed(Outcome.CREATED, item.id, True), item.notes, now, 0.05, "install")
        for item in items
    ]
    job.time("settle", lambda: settle(job.engine, group, pause_above_percent=100))
    job.time("progress", lambda: get_job(job.engine, job.id))


def make_job(site: Site, rows: int) -> Job:
    """A running job of so many items; all but the first are copies."""
    url = site.databases.new()
    engine = open_engine(url)
    upgrade(engine)
    ensure_instance(engine, INSTANCE_ID, "api.example")
    source, options = open_source(write_file(site.folder / "one.csv", 1)), RunOptions()
    found = survey(source, options)
    catalogue = dict.fromkeys(found.connectors, shapes.connector(CONNECTOR))
    job_id = new_job_id(datetime.now(UTC))
    load_job(
        Checked(source, options, found, catalogue, AskedAccounts(), Findings()),
        RunOptions(),
        engine=engine,
        sealer=SEALER,
        instance_id=INSTANCE_ID,
        job_id=job_id,
        on_rows=lambda _: None,
    )
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(COPIES, {"first": 3, "last": rows + 1})
        connection.execute(text("UPDATE jobs SET total = :rows"), {"rows": rows})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("RESET statement_timeout"))
    return Job(engine, job_id)
