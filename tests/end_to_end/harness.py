"""A whole bulk install in one process: a real CSV, a SQLite file, the install loop and the sweep, against the simulator."""

import asyncio
import base64
import csv
import io
import logging
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import func, select, update

from tests.integration.store.databases import path_of, url_of
from worker.bootstrap.installer import open_cyclr
from worker.bootstrap.place import open_database
from worker.clock import Clock, Moment
from worker.cyclr.client import CyclrClient
from worker.cyclr.limiter import Limiter
from worker.cyclr.limiter_rule import Rule
from worker.domain.options import RunOptions
from worker.domain.rows import NOT_EXPORTED, SECRET_COLUMNS
from worker.installing import InstallRun, Rules
from worker.intake import open_source
from worker.intake.findings import Rejected
from worker.jobs.checking import Checked, check_file
from worker.jobs.loading import load_job
from worker.jobs.results import write_result_file
from worker.settings import CyclrSettings, load_settings
from worker.simulator.catalogue import Parameter, method
from worker.simulator.faults import Fault
from worker.simulator.ledger import Call
from worker.simulator.server import SimulatorThread
from worker.simulator.world import World
from worker.store.jobs import JobStatus, get_job
from worker.store.loading import new_job_id
from worker.store.memory import DatabaseMemory
from worker.store.session import Engine, reading
from worker.store.tables import attempts, items, jobs
from worker.sweeping import SweepRules, sweep
from worker.telemetry import configure_logging

T = TypeVar("T")

DEADLINE_S = 90.0  # for anything: generous, since the machine may be busy with other things
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.005, 0.04  # between two runs of the loop
CLIENT_ID, CLIENT_SECRET = "partner-1", "partner-secret-8d21f0"
MAIL, CRM = "Northwind Mail", "Harbour CRM"
API_KEY = method("ApiKey", seed="tests")
OAUTH = method("OAuth2", seed="tests", oauth2_type="AuthorisationCode")
MAIL_PARAMETERS = (
    Parameter(1, "Region", "Data region", choices=("EU", "US")),
    Parameter(2, "WebhookSecret", "Signing secret", is_sensitive=True),
)


def small_world(*accounts: str) -> World:
    """These accounts, and two connectors."""
    world = World(credentials={CLIENT_ID: CLIENT_SECRET})
    for account_id in accounts:
        world.add_account(account_id)
    world.add_connector(MAIL, "3.0", methods=[API_KEY], parameters=MAIL_PARAMETERS)
    world.add_connector(CRM, "v1", methods=[OAUTH])
    return world


def row(account_id: str, **cells: str) -> dict[str, str]:
    """A line of the file: the mail connector with a credential and a secret property."""
    return {
        "account_id": account_id,
        "connector": MAIL,
        "api_key": f"key-of-{account_id}-5f1c",
        "property.Region": "EU",
        "property.WebhookSecret": f"whsec-of-{account_id}-77ab",
        **{name.replace("property_", "property."): value for name, value in cells.items()},
    }


class SteppingClock(Clock):
    """The machine's clock, and as far ahead of it as a test says: what a process sees after it was frozen."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def since(self, earlier: Moment) -> float:
        return super().since(earlier) + self.ahead_s


class UnhurriedClock(Clock):
    """For the limiter: its slots may be ten times as late. On a busy machine a missed slot gives the item back, which
    is right, and repeats a look, which no test of the order of calls can foresee.
    """

    def since(self, earlier: Moment) -> float:
        return super().since(earlier) / 10


class Rig:
    """One instance, its database, and one process that installs. `run` drives a job as the product does."""

    def __init__(self, folder: Path, engine: Engine, simulator: SimulatorThread, **settings: Any) -> None:
        """`engine`: of a new database. It is the caller's, to be used for others: most of its first questions is
        compiling them."""
        self.simulator = simulator
        self.folder = folder
        self.secrets = {CLIENT_SECRET}
        self.settings = _settings(url_of(engine), simulator.base_url, settings)
        self.engine = engine
        self.database = replace(open_database(self.settings), engine=engine)
        self.job_ids: list[str] = []
        self.log = io.StringIO()
        configure_logging(self.log)
        self._handler = logging.StreamHandler(self.log)
        logging.getLogger().addHandler(self._handler)
        self._runner = asyncio.Runner()
        self.open()

    def open(self, api_url: str | None = None) -> None:
        """The client and limiter of this process. `api_url`: where the calls go instead of the simulator."""
        settings = self.settings.model_copy(update={"cyclr_api_url": api_url or self.settings.cyclr_api_url})
        self._opened = open_cyclr(settings, self.engine, clock=UnhurriedClock(), broker=Rule(), is_idle=True)
        self.client: CyclrClient
        self.limiter: Limiter
        self.client, self.limiter = self.play(self._opened.__aenter__())

    def close(self) -> None:
        self.play(self._opened.__aexit__(None, None, None))

    def reopen(self, api_url: str | None = None) -> None:
        self.close()
        self.open(api_url)

    def end(self) -> None:
        self.close()
        self._runner.close()
        logging.getLogger().removeHandler(self._handler)
        structlog.reset_defaults()
        self.assert_honest()

    def play(self, scene: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(scene)

    # The file becomes a job.

    def check(self, rows: Sequence[Mapping[str, str]] | Path, options: RunOptions) -> Checked:
        path = rows if isinstance(rows, Path) else self._write_csv(rows)
        asked = check_file(
            open_source(path),
            options,
            instance_id=self.settings.instance_id,
            client=self.client,
            limiter=self.limiter,
            memory=DatabaseMemory(self.engine, self.database.sealer),
            on_progress=lambda _: None,
        )
        return self.play(asked)

    def load(self, *rows: Mapping[str, str], file: Path | None = None, **options: Any) -> str:
        """The id of a running job of these rows, which looks into no account first unless `no_look` is False. Raises: Rejected."""
        wanted = RunOptions(**{"no_look": True} | options)
        checked = self.check(file or rows, wanted)
        if checked.problem_count and not wanted.skip_invalid:
            raise Rejected(checked.problems)
        return self.hand_in(checked, wanted)

    def hand_in(self, checked: Checked, wanted: RunOptions) -> str:
        """The id of a running job of what was checked. May be called in a thread, beside a run."""
        job_id = new_job_id(Clock().now())
        load_job(
            checked,
            wanted,
            engine=self.engine,
            sealer=self.database.sealer,
            instance_id=self.database.instance_id,
            job_id=job_id,
            on_rows=lambda _: None,
        )
        self.job_ids.append(job_id)
        self.loaded_at_call = len(self.ledger.calls)
        return job_id

    def result_file(self, job_id: str) -> Path:
        path = self.folder / f"{job_id}-results.csv"
        write_result_file(self.engine, job_id, path)
        return path

    def _write_csv(self, rows: Sequence[Mapping[str, str]]) -> Path:
        for line in rows:
            self.secrets.update(
                value
                for name, value in line.items()
                if value not in ("", NOT_EXPORTED)
                and (name in SECRET_COLUMNS or name == "property.WebhookSecret")
            )
        columns = list(dict.fromkeys(name for line in rows for name in line))
        path = self.folder / f"rows-{len(self.job_ids)}.csv"
        with path.open("w", newline="", encoding="utf-8") as out:
            lines = csv.DictWriter(out, columns, restval="")
            lines.writeheader()
            lines.writerows(rows)
        return path

    # The job runs.

    def run(self, job_id: str, *, until: Callable[[JobStatus], bool] | None = None) -> JobStatus:
        """Runs of the loop and sweeps, until the job is done or paused (or `until` says so)."""
        self.play(self._drive(job_id, until or is_over))
        return self.job(job_id)

    async def _drive(self, job_id: str, until: Callable[[JobStatus], bool]) -> None:
        pause_s = SHORTEST_PAUSE_S
        async with asyncio.timeout(DEADLINE_S):
            while not until(self.job(job_id)):
                seen = len(self.ledger.calls)
                await self.new_run().run(for_s=5)
                await asyncio.to_thread(self.sweep)
                await asyncio.sleep(pause_s)
                # Where nothing happens, something is waited for: the questions would cost more than all else.
                is_quiet = len(self.ledger.calls) == seen
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S) if is_quiet else SHORTEST_PAUSE_S

    async def drive_on(self) -> None:
        """Runs of the loop until cancelled: what is in hand then is given back or settled."""
        while True:
            await self.new_run().run(for_s=5)

    def new_run(self, *, clock: Clock | None = None, **changes: Any) -> InstallRun:
        settings = self.settings
        parts: dict[str, Any] = {
            "engine": self.engine,
            "sealer": self.database.sealer,
            "instance_id": self.database.instance_id,
            "client": self.client,
            "limiter": self.limiter,
            "rules": Rules.of(settings),
            "ring": lambda: None,
            "clock": clock or Clock(),
            "rng": random.Random(1),
        }
        return InstallRun(**(parts | changes))

    def sweep(self) -> None:
        sweep(self.engine, self.database.instance_id, SweepRules.of(self.settings), lambda: None)

    # What came of it.

    def job(self, job_id: str) -> JobStatus:
        return get_job(self.engine, job_id)

    def item(self, account_id: str, job_id: str | None = None) -> Any:
        """The item of the (last) job for this account."""
        wanted = (items.c.job_id == (job_id or self.job_ids[-1])) & (items.c.account_id == account_id)
        with reading(self.engine) as connection:
            return connection.execute(select(items).where(wanted)).one()

    def verdicts(self, account_id: str) -> list[tuple[str, str | None, int | None]]:
        """(verdict, code, HTTP status) of the item's attempts, in order."""
        mine = select(attempts).where(attempts.c.item_id == self.item(account_id).id).order_by(attempts.c.id)
        with reading(self.engine) as connection:
            return [(row.verdict, row.code, row.http_status) for row in connection.execute(mine)]

    @property
    def ledger(self) -> Any:
        return self.simulator.ledger

    def calls(self, account_id: str | None = None) -> list[Call]:
        """What reached Cyclr since the job was loaded."""
        new = self.ledger.calls[self.loaded_at_call :]
        return [call for call in new if account_id in (None, call.account_id)]

    def kinds(self, account_id: str | None = None) -> list[str]:
        return [call.kind for call in self.calls(account_id)]

    def installs(self, account_id: str) -> int:
        """How many account connectors Cyclr made in this account."""
        return len(self.ledger.effects_of("installed", account_id))

    def fault(self, fault: Fault, **rule: Any) -> None:
        self.simulator.call(lambda world: world.faults.add(fault, **rule))

    def heal(self) -> None:
        self.simulator.call(lambda world: world.faults.clear())

    def switch(self, name: str, value: Any) -> None:
        self.simulator.call(lambda world: setattr(world.switches, name, value))

    # What holds at the end of every test.

    def assert_honest(self) -> None:
        self._assert_counters_are_true()
        self._assert_nothing_twice()
        self._assert_no_secret_left()

    def _assert_counters_are_true(self) -> None:
        for job_id in self.job_ids:
            with reading(self.engine) as connection:
                grouped = select(items.c.state, func.count()).where(items.c.job_id == job_id)
                states = dict(connection.execute(grouped.group_by(items.c.state)).all())
                tried = select(func.count()).where(items.c.job_id == job_id, items.c.tried)
                tried_count = connection.execute(tried).scalar_one()
            job = self.job(job_id)
            counted = {"installed": job.installed, "failed": job.failed, "cancelled": job.cancelled}
            assert counted == {name: states.get(name, 0) for name in counted}
            assert job.total == sum(states.values())
            assert job.tried == tried_count

    def _assert_nothing_twice(self) -> None:
        made = Counter((e.account_id, (e.name or "").lower()) for e in self.ledger.effects_of("installed"))
        assert [target for target, count in made.items() if count > 1] == []
        assert self.simulator.call(lambda world: world.count_doubles()) == 0
        by_target: dict[Any, list[Call]] = {}
        for call in self.ledger.calls_of("install"):
            by_target.setdefault(call.target, []).append(call)
        for calls in by_target.values():
            for earlier, later in pairwise(calls):
                # We leave at the deadline, the simulator may go on.
                left_at = earlier.received_at + self.settings.cyclr_timeout_s
                assert later.received_at >= min(earlier.ended_at or left_at, left_at)

    def _assert_no_secret_left(self) -> None:
        with reading(self.engine) as connection:
            kept = select(func.count()).where(items.c.state == "installed", items.c.sealed.is_not(None))
            assert connection.execute(kept).scalar_one() == 0
        tokens = self.simulator.call(lambda world: set(world.tokens.bearers))
        places = {"log": self.log.getvalue().encode()}
        places |= {path.name: path.read_bytes() for path in path_of(self.engine).parent.iterdir()}
        places |= {job_id: self.result_file(job_id).read_bytes() for job_id in self.job_ids}
        for secret in self.secrets | tokens:
            for place, content in places.items():
                assert secret.encode() not in content, f"a secret stands in {place}"


def make_older(rig: Rig, *, look_first: bool, if_present: str = "install") -> None:
    """All jobs become those of the version before, which asked for this."""
    options = {"skip_invalid": False, "look_first": look_first, "if_present": if_present}
    with rig.engine.begin() as connection:
        connection.execute(update(jobs).values(options=options))


def is_over(job: JobStatus) -> bool:
    return job.finished_at is not None or job.state == "paused"


async def until(holds: Callable[[], bool]) -> None:
    """Returns once `holds()` is true; fails after the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.002)


def _settings(database_url: str, api_url: str, given: Mapping[str, Any]) -> CyclrSettings:
    values: dict[str, Any] = {
        "cyclr_api_url": api_url,
        "cyclr_client_id": CLIENT_ID,
        "cyclr_client_secret": CLIENT_SECRET,
        "cyclr_calls_per_second": 500,
        "cyclr_burst": 100,
        "cyclr_timeout_s": 2.5,
        "cyclr_settle_s": 0.2,
        "cyclr_retry_base_s": 0.02,
        "database_url": database_url,
        "cyclr_bulk_sealing_keys": "k1:" + base64.b64encode(bytes(range(32))).decode(),
    }
    return load_settings(env_file=None, **(values | dict(given)))
