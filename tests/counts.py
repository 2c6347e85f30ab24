"""What an install costs the database, counted: beside busy programs, far from the database, with many processes, with looks."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import make_url

from tests.delay import delaying_proxy
from tests.end_to_end.fleet.fleet import Fleet, end, open_fleet, worker_processes
from tests.end_to_end.processes.commands import eventually
from tests.postgres import Databases
from tests.started import start_process
from worker.store.session import Engine, reading

# Each claimed item draws a number; one that is drawn in a transaction that is taken back counts too, as it should.
COUNT_CLAIMS = (
    "CREATE SEQUENCE claims_of_items",
    "CREATE FUNCTION count_a_claim() RETURNS trigger LANGUAGE plpgsql"
    " AS $$ BEGIN PERFORM nextval('claims_of_items'); RETURN NULL; END $$",
    "CREATE TRIGGER count_claims AFTER UPDATE OF state ON items FOR EACH ROW"
    " WHEN (OLD.state = 'queued' AND NEW.state = 'running') EXECUTE FUNCTION count_a_claim()",
)
# Since ever.
UPDATES = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'items'"
COMMITS = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"  # of the whole server, which does nothing else
TRANSACTIONS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"


@dataclass(frozen=True, slots=True)
class Load:
    """`loops`: programs beside the workers that never rest. `delay_s`: of each answer of the database.

    `has_looks`: each account is looked into before its install.
    """

    name: str
    rows: int
    processes: int = 2
    loops: int = 0
    delay_s: float = 0.0
    has_looks: bool = False


LOADS = (
    Load("alone", 2_000),
    Load("with looks", 2_000, has_looks=True),
    Load("beside 8 busy loops", 2_000, loops=8),
    Load("beside 31 busy loops", 2_000, loops=31),
    Load("8 processes", 2_000, processes=8),
    Load("a database 0.3 s away", 400, delay_s=0.3),
)
# Takes two minutes, and on a machine that is busy besides its answers come too late for any call: no test, but in `make bench`.
VERY_FAR = Load("a database 1 s away", 400, delay_s=1.0)
LONG = 1_000  # rows, from which on a job's beginning and end count for little


@dataclass(frozen=True, slots=True)
class Counts:
    """For each install. `tries`: more than one where a call had no answer in time, as on a machine that starves.

    `claims`: items claimed; `updates`: of items, of which a claim is one, and a settle one. `commits`: transactions that have written something. `transactions`: those that only read too, and the empty questions
    that show whether a connection lives; the slower the machine, the more of them, since they come by the second.
    """

    tries: float
    claims: float
    updates: float
    commits: float
    transactions: float


def counted(databases: Databases, folder: Path, load: Load) -> Counts:
    """What workers alone did: nobody sweeps, and nobody asks how the job stands. `folder`: an empty one."""
    limit = {"CYCLR_CALLS_PER_SECOND": "2000", "CYCLR_BURST": "20", "CYCLR_TIMEOUT_S": "30"}
    with ExitStack() as stack:
        stack.enter_context(chdir(folder))
        fleet = stack.enter_context(open_fleet(folder, databases, **limit))
        fleet.release()
        with fleet.engine.begin() as connection:
            for statement in COUNT_CLAIMS:
                connection.execute(text(statement))
        stack.enter_context(_worker(fleet, load))
        stack.enter_context(busy_loops(load.loops))
        return _count(fleet, load)


@contextmanager
def _worker(fleet: Fleet, load: Load) -> Iterator[None]:
    """The worker of the fleet, whose database answers so late."""
    url = fleet.settings["DATABASE_URL"]
    far = fleet.folder / "far"
    far.mkdir()
    with delaying_proxy(Path(str(make_url(url).query["host"])), far) as proxy:
        way = proxy.url(url) if load.delay_s else url
        fleet.worker = fleet.launch("worker", "--concurrency", str(load.processes), DATABASE_URL=way)
        eventually(lambda: len(worker_processes(fleet.worker)) == load.processes, "its processes are up")
        proxy.delay_s = load.delay_s  # not for the start, which would take a minute
        yield


@contextmanager
def busy_loops(many: int) -> Iterator[None]:
    loops = [start_process([sys.executable, "-c", "while True: pass"]) for _ in range(many)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _count(fleet: Fleet, load: Load) -> Counts:
    accounts = [f"account-{number}" for number in range(load.rows)]
    job_id = fleet.submit(accounts, *([] if load.has_looks else ["--no-look"]))
    before = _counters(fleet.engine)
    all_are_there = f"{load.rows} installs"
    eventually(lambda: len(fleet.calls("install", accounts)) >= load.rows, all_are_there, within_s=240)
    assert end(fleet.worker) == 0  # it settles what it holds, and its sessions tell of all that they did
    after = _counters(fleet.engine)
    # What had no answer in time waits for somebody to sweep.
    installed = fleet.job(job_id).installed
    assert installed >= 0.95 * load.rows
    return Counts(*((now - then) / installed for then, now in zip(before, after, strict=True)))


def _counters(engine: Engine) -> tuple[int, ...]:
    """As in `Counts`, since ever."""
    claims = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM claims_of_items"
    return ask(engine, "SELECT count(*) FROM attempts", claims, UPDATES, COMMITS, TRANSACTIONS)


def ask(engine: Engine, *questions: str) -> tuple[int, ...]:
    """A number for each; a session tells of its own updates and transactions as it ends, or a second later at most."""
    with reading(engine) as connection:
        connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        return tuple(int(connection.execute(text(question)).scalar_one()) for question in questions)
