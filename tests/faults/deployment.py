"""What the faults befall: the Procfile's processes on PostgreSQL and Valkey, a simulated Cyclr, one job. And what was seen meanwhile."""

import csv
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import redis
from sqlalchemy import Row, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from tests.end_to_end.fleet.fleet import COLUMNS, CONNECTOR, Fleet, worker_processes
from tests.end_to_end.processes.commands import Command, eventually
from tests.faults.cutter import CommitCutter, commit_cutter
from tests.faults.cyclr import StandIn, stand_in
from tests.faults.row_secrets import Secrets
from tests.postgres import PostgresServer
from tests.postgres_pair import Pair
from tests.servers import ValkeyServer, valkey_contents, valkey_server
from worker.settings import CyclrSettings
from worker.store.readiness import upgrade
from worker.store.session import open_engine, reading
from worker.store.tables import items, jobs
from worker.tickets import QUEUE

T = TypeVar("T")

# Small, so that claims are short: a worker is frozen beyond one.
TIMEOUT_S, SETTLE_S = 3.0, 1.0
CLAIM_S = CyclrSettings(cyclr_timeout_s=TIMEOUT_S).claim_s
BURST = 10
PROCESSES = 2
LOOK_EVERY_S = 1.0
PAUSED_FOR_S = 3.5
TEMPLATE_EVERY = 3  # accounts: one of so many was made from a template
CALLS_A_ROW = (
    7 / 3
)  # a look and an install; where the connector is there, a look and a call for each of two fields
WITHIN_S = 120.0  # for anything that should come soon, on a machine that does other things too
OBSERVER = "faults"  # the name under which the test itself is connected to PostgreSQL


@dataclass(slots=True)
class Seen:
    """What was seen while the job ran. `pauses`: (a pause was committed by then, the job was resumed after that).

    `cancels`: job -> (its cancel was committed by then, its accounts).
    """

    looks: int = 0
    most_messages: int = 0
    messages_added: int = 0  # by a fault
    most_memory_bytes: int = 0
    untrue_counters: list[str] = field(default_factory=list)
    leaks: set[str] = field(default_factory=set)
    pauses: list[tuple[float, float]] = field(default_factory=list)
    cancels: dict[str, tuple[float, frozenset[str]]] = field(default_factory=dict)
    said_to_cancel: dict[str, tuple[int, str]] = field(default_factory=dict)
    # When a process was killed or frozen: what it had been told then, nobody knows.
    deafened: list[tuple[float, float]] = field(default_factory=list)


class Deployment(Fleet):
    """`strike` of a fault works with `cyclr`, `valkey`, `postgres`, `cutter`, `worker`, `sweep`; and lets time pass by
    `wait_for` and `pass_time` only, so that what must never be seen is looked for all the while."""

    def __init__(
        self,
        folder: Path,
        cyclr: StandIn,
        valkey: ValkeyServer,
        postgres: PostgresServer,
        cutter: CommitCutter,
        database_url: str,
        *,
        calls_per_second: int,
        seed: int,
    ) -> None:
        super().__init__(
            folder,
            cyclr,  # type: ignore[arg-type]
            valkey,
            cutter.url(database_url),
            CYCLR_TIMEOUT_S=str(TIMEOUT_S),
            CYCLR_SETTLE_S=str(SETTLE_S),
            CYCLR_CALLS_PER_SECOND=str(calls_per_second),
            CYCLR_BURST=str(BURST),
        )
        self.cyclr, self.postgres, self.cutter = cyclr, postgres, cutter
        self.calls_per_second = calls_per_second
        self.row_secrets = Secrets(seed)
        self.asked: dict[str, tuple[str, str]] = {}  # account -> the credential and the property of its row
        self.seen = Seen()
        self.job_ids: list[str] = []
        self.accounts = 0
        self._files = 0
        self._were_before: list[PostgresServer] = []
        self.database = str(make_url(database_url).database)
        self._observe()
        self._looked_at = 0.0
        self._tokens: set[str] = set()

    def _observe(self) -> None:
        # Past the cutter: what the test sees of the database is never cut.
        url = f"postgresql://postgres@/{self.database}?host={self.postgres.folder}"
        self._engine = open_engine(f"{url}&application_name={OBSERVER}")

    @contextmanager
    def standby(self) -> Iterator[PostgresServer]:
        """A PostgreSQL that has what is committed before a client hears of it. It goes, unless it was promoted."""
        folder = Path(tempfile.mkdtemp(prefix="pg-"))
        server = PostgresServer(folder, standby_of=self.postgres)
        pair = Pair(self.postgres, server)
        try:
            server.start()
            pair.wait_until_it_follows(is_synchronous=True)
            yield server
        finally:
            if self.postgres is not server:
                pair.part()
                server.kill()
                shutil.rmtree(folder, ignore_errors=True)

    def move_to(self, server: PostgresServer) -> None:
        """All new sessions are with a standby that was promoted."""
        self._were_before.append(self.postgres)
        self.postgres = server
        self.cutter.lead_to_folder(server.folder)
        self._engine.dispose()
        self._observe()

    def close(self) -> None:
        """What was PostgreSQL at the beginning is so again: others use it next."""
        super().close()
        for earlier in reversed(self._were_before):
            self.postgres.kill()
            shutil.rmtree(self.postgres.folder, ignore_errors=True)
            earlier.kill()
            earlier.start()
            Pair(earlier, self.postgres).part()
            self.postgres = earlier

    # The story.

    def begin(self, accounts: int) -> None:
        """Processes are up, and a job for so many accounts is under way."""
        self.launch_sweep()
        self.worker = self.launch("worker", "--concurrency", str(PROCESSES))
        self.bring(accounts)
        self.wait_for_processes()

    def bring(self, accounts: int) -> None:
        """A job for so many accounts that nobody has seen yet."""
        self.submit(self.new_accounts(accounts))

    def new_accounts(self, count: int) -> list[str]:
        """Ids of accounts that nobody has seen yet: each is to be in one job."""
        ids = [account_id(number) for number in range(self.accounts, self.accounts + count)]
        self.cyclr.add_accounts(ids, made_from_template=ids[::TEMPLATE_EVERY])
        self.accounts += count
        return ids

    def submit(self, accounts: Sequence[str], *options: str, **settings: str) -> str:
        said = self.say("submit", self.file_of(accounts), "--yes", *options, **settings)
        assert said.code == 0, said.err
        self.job_ids.append(said.out.strip())
        return self.job_ids[-1]

    def command(self, *words: object) -> Command:
        """`cyclr-bulk WORDS`, in a process of its own."""
        command = Command(
            [sys.executable, "-m", "worker.cli", *map(str, words)],
            env=self.environment(),
            folder=self.folder,
            name=f"command-{len(self.commands) + 1}",
        )
        self.commands.append(command)
        return command

    def file_of(self, ids: Sequence[str], *, more_lines: Sequence[Sequence[str]] = ()) -> Path:
        self._files += 1
        path = self.folder / f"accounts-{self._files}.csv"
        self.asked |= {each: (self.row_secrets.new(), self.row_secrets.new()) for each in ids}
        with path.open("w", newline="", encoding="utf-8") as out:
            lines = csv.writer(out)
            lines.writerow(COLUMNS)
            lines.writerows([each, CONNECTOR, *self.asked[each]] for each in ids)
            lines.writerows(more_lines)
        return path

    def launch_sweep(self) -> None:
        self.sweep = self.launch("sweep")

    def launch_worker_again(self) -> None:
        self.worker = self.launch("worker", "--concurrency", str(PROCESSES))
        self.wait_for_processes()

    def wait_for_processes(self) -> None:
        self.wait_until(lambda: len(self.processes_of_worker()) == PROCESSES, "the worker has its processes")

    def wait_for_installs_of(self, rows: int) -> None:
        self.wait_until(
            lambda: self.is_over() or self.installed() >= rows, f"{rows} rows are installed", within_s=600
        )

    def pause_and_resume(self) -> None:
        """A person does, with all jobs that are not over."""
        paused = [job_id for job_id in self.job_ids if self.say("pause", job_id).code == 0]
        paused_at = time.time()
        self.pass_time(PAUSED_FOR_S)
        if len(paused) == len(self.running()):
            self.seen.pauses.append((paused_at, time.time()))
        for job_id in paused:
            said = self.say("resume", job_id)
            assert said.code == 0, said.err

    def submit_and_cancel(self, rows: int) -> None:
        """A person does, before it is over."""
        first = self.accounts
        self.bring(rows)
        job_id = self.job_ids[-1]
        self.wait_until(lambda: self.settled(job_id) > 0, "a row of it is done")
        said = self.say("cancel", job_id)
        self.seen.said_to_cancel[job_id] = (said.code, said.err)
        if said.code == 0:
            accounts = {account_id(number) for number in range(first, self.accounts)}
            self.seen.cancels[job_id] = (time.time(), frozenset(accounts))

    def wait_until_over(self, within_s: float) -> None:
        self.wait_until(self.is_over, "all jobs are over", within_s=within_s)

    # Time passes.

    def wait_until(
        self, condition: Callable[[], T], what: str, *, within_s: float = WITHIN_S, every_s: float = 0.2
    ) -> T:
        def looked() -> T:
            self.look_around()
            return condition()

        return eventually(looked, what, within_s=within_s, every_s=every_s)

    def pass_time(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self.wait_until(lambda: time.monotonic() >= until, "time passes", within_s=seconds + WITHIN_S)

    def comes_true(self, condition: Callable[[], object], within_s: float, *, every_s: float = 0.2) -> bool:
        """Whether it did, while time passed. Not in the end: a fault that did not take place is no failure."""
        until = time.monotonic() + within_s
        came = False

        def is_enough() -> bool:
            nonlocal came
            came = bool(condition())
            return came or time.monotonic() >= until or self.is_over()

        self.wait_until(is_enough, "time passes", within_s=within_s + WITHIN_S, every_s=every_s)
        return came

    def look_around(self) -> None:
        """Now and then."""
        if time.monotonic() >= self._looked_at + LOOK_EVERY_S:
            self.look_around_now()
            self._looked_at = time.monotonic()

    def look_around_now(self) -> None:
        """At the broker, the counters, the workers' arguments and memory."""
        self.seen.looks += 1
        self._tokens = self.cyclr.tokens()
        self._look_into_valkey()
        with suppress(DBAPIError):  # PostgreSQL is away
            self.seen.untrue_counters += self.untrue_counters()
        for process in self.processes_of_worker():
            with suppress(psutil.Error):
                self.seen.most_memory_bytes = max(self.seen.most_memory_bytes, process.memory_info().rss)
                if self.holds_secret(" ".join(process.cmdline()).encode()):
                    self.seen.leaks.add(f"arguments of {process.name()}")

    def _look_into_valkey(self) -> None:
        with suppress(redis.RedisError):  # it is away
            contents = valkey_contents(self.valkey.url)
            self.seen.leaks |= {
                f"Valkey: {where}" for where, what in contents.items() if self.holds_secret(what)
            }
            with self.redis() as client:
                self.seen.most_messages = max(self.seen.most_messages, client.llen(QUEUE))

    # What can be seen.

    def jobs(self) -> list[Row[Any]]:
        with reading(self.engine) as connection:
            return list(connection.execute(select(jobs)))

    def running(self) -> list[str]:
        """The jobs that are not over."""
        return [job.id for job in self.jobs() if not job.finished_at]

    def rows(self) -> list[Row[Any]]:
        """The items of all jobs."""
        with reading(self.engine) as connection:
            return list(connection.execute(select(items)))

    def is_over(self) -> bool:
        with suppress(DBAPIError):
            return not self.running()
        return False

    def installed(self) -> int:
        with suppress(DBAPIError):
            return sum(job.installed for job in self.jobs())
        return 0

    def settled(self, job_id: str) -> int:
        """How many rows of a job have ended."""
        with suppress(DBAPIError):
            job = self.job(job_id)
            return int(job.installed + job.failed + job.cancelled)
        return 0

    def rows_left(self) -> int:
        return self.accounts - sum(self.settled(job_id) for job_id in self.job_ids)

    def deaths(self, accounts: Collection[str] | None = None) -> int:
        """How many times a row (of these accounts) was taken back from a worker that was lost."""
        summed = select(func.coalesce(func.sum(items.c.deaths), 0))
        if accounts is not None:
            summed = summed.where(items.c.account_id.in_(accounts))
        with reading(self.engine) as connection:
            return int(connection.execute(summed).scalar_one())

    def untrue_counters(self) -> list[str]:
        """The counters of all jobs against their rows, in one view of the database."""
        by_state = select(items.c.job_id, items.c.state, func.count().label("rows"))
        grouped = by_state.group_by(items.c.job_id, items.c.state).subquery()
        with reading(self.engine) as connection:
            found = connection.execute(
                select(jobs, grouped).join(grouped, grouped.c.job_id == jobs.c.id)
            ).all()
        counted = {(row.id, row.state_1): row.rows for row in found}
        return [
            f"{state} of {job.id}: {getattr(job, state)} by the counter, {counted.get((job.id, state), 0)} rows"
            for job in {row.id: row for row in found}.values()
            for state in ("installed", "failed", "cancelled")
            if getattr(job, state) != counted.get((job.id, state), 0)
        ]

    def processes_of_worker(self) -> list[psutil.Process]:
        if self.worker.exit_code is not None:
            return []
        return worker_processes(self.worker)

    def ports_to_cyclr(self, process: psutil.Process) -> set[int]:
        """Where its connections to Cyclr begin, by which the ledger knows its calls."""
        port = int(self.cyclr.base_url.rpartition(":")[2])
        with suppress(psutil.Error):
            links = process.net_connections("tcp")
            return {link.laddr.port for link in links if link.raddr and link.raddr.port == port}
        return set()

    def holds_secret(self, content: bytes) -> bool:
        """Of a row, of the partner, a token: as of the last look around."""
        others = self.secrets | self._tokens
        return self.row_secrets.is_in(content) or any(secret.encode() in content for secret in others)

    def redis(self) -> "redis.Redis":
        return redis.Redis.from_url(self.valkey.url, socket_timeout=2)


def account_id(number: int) -> str:
    return f"account-{number:04}"


class JobIsOver(Exception):
    """The job ended before the fault could strike."""


def busy_process(deployment: Deployment) -> tuple[psutil.Process, frozenset[str]]:
    """A process of the worker that calls Cyclr just now, and the accounts for which it did in the last second.

    Raises: JobIsOver.
    """

    def find() -> tuple[psutil.Process, frozenset[str]] | None:
        if deployment.is_over():
            raise JobIsOver
        ports = {process: deployment.ports_to_cyclr(process) for process in deployment.processes_of_worker()}
        recent = [call for call in deployment.cyclr.installs() if call.received_at > time.time() - 1.0]
        for process, own in ports.items():
            mine = [call for call in recent if call.caller_port in own]
            if any(call.ended_at is None for call in mine):
                return process, frozenset(str(call.account_id) for call in mine)
        return None

    return deployment.wait_until(find, "a process of the worker calls Cyclr", every_s=0.02)


@contextmanager
def open_deployment(
    folder: Path, postgres: PostgresServer, template: str, *, calls_per_second: int, seed: int
) -> Iterator[Deployment]:
    """With all its servers, and a database like the one at the URL `template`; no process of the Procfile yet."""
    url = postgres.databases().new(template)
    with ExitStack() as stack:
        stack.callback(postgres.databases().drop, url)
        cyclr = stack.enter_context(stand_in(seed))
        valkey = stack.enter_context(valkey_server())
        # Short: the path of its socket may have 107 bytes at most.
        between = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cut-")))
        cutter = stack.enter_context(commit_cutter(postgres.folder, between))
        deployment = Deployment(
            folder, cyclr, valkey, postgres, cutter, url, calls_per_second=calls_per_second, seed=seed
        )
        stack.callback(deployment.close)
        yield deployment


def released_template(postgres: PostgresServer) -> str:
    """The URL of a database of today's schema, to be copied."""
    url = postgres.new_database()
    engine = open_engine(url)
    upgrade(engine)
    engine.dispose()
    return url
