"""One command's share in a home: it owns the home's Valkey and workers, or works beside the command that does."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Self, TypeVar

from worker.bootstrap.cyclr import make_limiter, open_cyclr
from worker.bootstrap.database import open_database
from worker.cli.announcing import Announcing
from worker.cli.exits import say
from worker.clock import Clock
from worker.cyclr.client import CyclrClient
from worker.cyclr.errors import LimiterAway
from worker.cyclr.limiter import Limiter
from worker.cyclr.limiter_rule import Rule
from worker.domain.states import JobState, PauseReason
from worker.embedded import EmbeddedModeError, Home, Services, find_valkey_binary
from worker.embedded.processes import limit_log, open_log
from worker.embedded.services import LOG_LIMIT_BYTES, start_services
from worker.settings import CyclrSettings
from worker.store.abandoned import delete_load
from worker.store.faults import note_database_failure, note_database_success
from worker.store.jobs import list_unfinished_jobs, pause_job
from worker.store.schema import upgrade
from worker.sweeping import SWEEP_EVERY_S, SWEEPING, SweepRules, sweep
from worker.telemetry import configure_logging, get_logger
from worker.tickets import Doorbell

if TYPE_CHECKING:
    from worker.bootstrap.installer import InProcessWorker

CHECK_EVERY_S = 1.0
OWNER_STARTS_WITHIN_S = 20.0
OWNER_FOLLOWS_WITHIN_S = 5.0
POLL_S = 0.1
DRAIN_MARGIN_S = 10.0

T = TypeVar("T")
log = get_logger()


class HomeBusy(EmbeddedModeError):
    """Another command owns the home, and there is no way to work beside it."""


class Session:
    """Opened before anything else, closed last. `needs_workers`: whether this command installs. Its limit counts then for
    as long as the session is open, also where the workers of another command make the calls.

    `keeps_jobs`: whether it goes on with the running jobs that it finds, watched or not.
    `home`, `services`: a new home that this process owns, and what it has started there.
    `tend` is called often: it keeps the services alive, sweeps, and takes the home over when its owner has ended.
    All of it from the main thread.
    """

    def __init__(
        self,
        settings: CyclrSettings,
        *,
        needs_workers: bool,
        keeps_jobs: bool = False,
        home: Home | None = None,
        services: Services | None = None,
    ) -> None:
        self._clock = Clock()
        self._home = home or Home(settings.cyclr_bulk_home, self._clock)
        self._needs_workers = needs_workers
        self._keeps_jobs = keeps_jobs
        self._log_path = self._home.logs_path / "command.log"
        configure_logging(os.fdopen(open_log(self._log_path), "w", encoding="utf-8"))
        self._binary = find_valkey_binary()
        self._services = services
        self._in_process: InProcessWorker | None = None
        self._announcing = Announcing(self.limiter)
        self._doorbell: Doorbell | None = None
        self._broker: str | Rule = Rule()  # until there is a Valkey, and where there is none to be had
        self._limiter_is_idle = False
        self._is_killed = False
        self._tended_at = self._swept_at = self._clock.moment()
        self.settings = self._home.settings(settings)
        self.database = open_database(self.settings)

    def __enter__(self) -> Self:
        try:
            if self._home.try_own():
                self._begin_as_owner()
            else:
                self._begin_as_guest()
            self._announce()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_owner(self) -> bool:
        return self._home.is_owned

    @property
    def broker(self) -> str | Rule:
        """The URL of the home's Valkey just now: a new owner of the home has another. Where there is none, this
        process's own rule."""
        return self._broker

    @property
    def logs_path(self) -> str:
        return str(self._home.logs_path)

    def ask(self, question: Callable[[CyclrClient, Limiter], Awaitable[T]]) -> T:
        """Calls of Cyclr by the command itself, under the home's one limiter."""

        async def work() -> T:
            async with self._open_cyclr() as (client, limiter):
                return await self._while_the_owner_lives(question(client, limiter))

        while True:
            try:
                return asyncio.run(work())
            except LimiterAway:
                if self._home.is_owned or not self._waited_for_another_owner():
                    raise

    def limiter(self) -> Limiter:
        """A limiter of one's own to look at the shared one."""
        return make_limiter(self.settings, self.database.engine, clock=self._clock, broker=self._broker)

    def watch(self, job_id: str) -> AbstractContextManager[None]:
        """Be known, while the context lasts, as a command that sees to this job."""
        return self._home.watch(job_id)

    def find_workers_began_ago_s(self) -> float | None:
        """As of the home."""
        return self._home.find_workers_began_ago_s()

    def now(self) -> datetime:
        return self._clock.now()

    def ring(self) -> None:
        """There is work."""
        if self._doorbell is not None:
            self._doorbell.ring()

    def tend(self) -> None:
        """What has to be done now and then; cheap when nothing has."""
        if self._clock.since(self._tended_at) >= CHECK_EVERY_S:
            self._tended_at = self._clock.moment()
            if not self._home.is_owned:
                self._follow_ownership()
            if self._home.is_owned:  # one of all that write it
                limit_log(self._log_path, limit_bytes=LOG_LIMIT_BYTES)
            if self._services is not None:
                for restart in self._services.check():
                    log.warning(
                        "service_restarted",
                        service=restart.name,
                        exit_code=restart.exit_code,
                        is_up=restart.is_up,
                    )
        if self._home.is_owned and self._clock.since(self._swept_at) >= SWEEP_EVERY_S:
            self._swept_at = self._clock.moment()
            self._sweep()

    def close(self) -> None:
        """End what this command started. What the workers hold is settled or given back first."""
        try:
            self._drain()
        except KeyboardInterrupt:
            self.kill()
        self._announcing.end()
        self.database.engine.dispose()
        self._home.release()

    def kill(self) -> None:
        """End everything now; rows that are in flight are looked for by the next run."""
        self._is_killed = True
        self._in_process = None  # its thread ends with this process
        if self._services is not None:
            self._services.kill()
            self._services = None

    def _drain(self) -> None:
        drain_s = self.settings.cyclr_timeout_s + DRAIN_MARGIN_S
        if self._in_process is not None:
            self._in_process.stop(drain_s)
            self._in_process = None
        if self._services is not None:
            self._services.stop(drain_s)
            self._services = None
        elif self._home.is_owned and not self._is_killed:
            self._home.mark_stopped()

    def _begin_as_owner(self) -> None:
        if self._services is None:  # else this process has begun here, and nobody before it
            for name in self._home.end_leftovers():
                log.warning("leftover_ended", service=name)
        self._limiter_is_idle = self._home.was_stopped_cleanly
        upgrade(self.database.engine)
        self._put_abandoned_jobs_aside()
        if self._binary is None:
            self._begin_without_valkey()
            return
        if self._services is None:
            self._services = start_services(
                self._home, self._binary, self.settings, self._clock, needs_workers=self._needs_workers
            )
        self._use_broker(self._services.redis_url)
        self._declare_idle()

    def _begin_as_guest(self) -> None:
        if self._binary is None:
            raise HomeBusy(
                f"another command is using the home {self._home.path}, and without a Valkey only one can run:"
                " wait for it to end"
            )
        started = self._clock.moment()
        while (runtime := self._home.find_runtime()) is None or not runtime.redis_url:
            if self._home.try_own():
                self._begin_as_owner()
                return
            if self._clock.since(started) > OWNER_STARTS_WITHIN_S:
                raise HomeBusy(
                    f"another command owns the home {self._home.path} and does not get ready; wait for it to end"
                )
            time.sleep(POLL_S)
        upgrade(self.database.engine)
        self._use_broker(runtime.redis_url)

    async def _while_the_owner_lives(self, answer: Awaitable[T]) -> T:
        """The answer. Raises: LimiterAway as soon as the command that this one works beside has ended: the limiter went with
        it, and whoever asks would try for half a minute before it said so."""
        asking = asyncio.ensure_future(answer)
        try:
            while not asking.done():
                await asyncio.wait({asking}, timeout=CHECK_EVERY_S)
                if not asking.done() and not self._has_its_owner():
                    raise LimiterAway
            return asking.result()
        finally:
            asking.cancel()
            await asyncio.wait({asking})

    def _has_its_owner(self) -> bool:
        """Whether the Valkey that this command uses is run by it, or by the owner that it knows."""
        if self._home.is_owned:
            return True
        runtime = self._home.find_runtime()
        return runtime is not None and runtime.redis_url == self._broker and self._home.is_in_use

    def _waited_for_another_owner(self) -> bool:
        """Whether, after a short wait, the home has an owner other than the one whose Valkey is gone."""
        began = self._clock.moment()
        while not self._follow_ownership():
            if self._clock.since(began) > OWNER_FOLLOWS_WITHIN_S:
                return False
            time.sleep(POLL_S)
        return True

    def _follow_ownership(self) -> bool:
        """Whether the owner that this command worked beside has ended, and it or a third one follows."""
        if self._home.try_own():
            say("The command that ran the workers has ended: this one goes on.")
            self._begin_as_owner()
            self._announce()
            return True
        runtime = self._home.find_runtime()
        if runtime is None or runtime.redis_url in ("", self._broker):
            return False
        self._use_broker(runtime.redis_url)
        self._announce()
        return True

    def _begin_without_valkey(self) -> None:
        self._declare_idle()
        if self._needs_workers:
            say("No Valkey or Redis is to be had here, so the installs run in this process.")
            from worker.bootstrap.installer import InProcessWorker

            assert isinstance(self._broker, Rule)
            self._in_process = InProcessWorker(self.settings, self.database, self._broker)
            self._in_process.start()

    def _use_broker(self, redis_url: str) -> None:
        self._broker = redis_url
        self._doorbell = Doorbell(redis_url)

    def _announce(self) -> None:
        """After `_declare_idle`, which has to come first. Without a Valkey there is no other process."""
        if self._needs_workers and not isinstance(self._broker, Rule):
            self._announcing.begin()

    def _declare_idle(self) -> None:
        """A home that was stopped cleanly has no call reserved anywhere: nobody need wait for one."""

        async def declare() -> None:
            async with self._open_cyclr() as (_, limiter):
                await limiter.declare_idle()

        if self._limiter_is_idle:
            asyncio.run(declare())
            self._limiter_is_idle = False

    def _open_cyclr(self) -> AbstractAsyncContextManager[tuple[CyclrClient, Limiter]]:
        return open_cyclr(self.settings, self.database.engine, clock=self._clock, broker=self._broker)

    def _put_abandoned_jobs_aside(self) -> None:
        """What a killed command left: half-loaded jobs go, running ones are paused, since the workers take only
        what a living command has asked for."""
        for job in list_unfinished_jobs(self.database.engine):
            if job.state is JobState.PAUSED or self._home.is_watched(job.id):
                continue
            if job.state is JobState.LOADING:
                delete_load(self.database.engine, job.id)
            elif not self._keeps_jobs or job.instance_id != self.database.instance_id:
                pause_job(self.database.engine, job.id, PauseReason.INTERRUPTED)

    def _sweep(self) -> None:
        try:
            sweep(
                self.database.engine,
                self.database.instance_id,
                SweepRules.of(self.settings),
                self.ring,
            )
        except Exception as error:  # noqa: BLE001 - a sweep that failed is done again in two seconds
            note_database_failure(error, SWEEPING)
        else:
            note_database_success(SWEEPING)
