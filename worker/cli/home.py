"""A home that a command tends: it owns the home's Valkey and workers, or works beside the command that does."""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Self, TypeVar

from worker.bootstrap.place import Place, open_database
from worker.cli.terminal import say
from worker.clock import Clock
from worker.cyclr.client import CyclrClient
from worker.cyclr.errors import LimiterAway
from worker.cyclr.limiter import Limiter
from worker.cyclr.limiter_rule import Rule
from worker.domain.failures import ToldFailure
from worker.domain.states import JobState, PauseReason
from worker.embedded import Home, Services, find_valkey_binary
from worker.embedded.processes import limit_log, open_log
from worker.embedded.services import LOG_LIMIT_BYTES, start_services
from worker.settings import CyclrSettings
from worker.store.job_states import pause_job
from worker.store.jobs import list_unfinished_jobs
from worker.store.readiness import upgrade
from worker.store.upkeep import delete_load
from worker.sweeping import SWEEP_EVERY_S
from worker.telemetry import configure_logging, get_logger

if TYPE_CHECKING:
    from worker.bootstrap.installer import InProcessWorker

CHECK_EVERY_S = 1.0
OWNER_STARTS_WITHIN_S = 20.0
OWNER_FOLLOWS_WITHIN_S = 5.0
POLL_S = 0.1
DRAIN_MARGIN_S = 10.0
# A limiter that has lost its state gives no slot for longer than this: by then it knows the limit again.
ANNOUNCED_EVERY_S = 1.0
TRIED_WITHIN_S = 10.0

T = TypeVar("T")
log = get_logger()


class HomeBusy(ToldFailure):
    """Another command owns the home, and there is no way to work beside it."""


class TendedHome(Place):
    """Opened before anything else, closed last. `needs_workers`: whether this command installs. Its limit counts then for
    as long as the home is open, also where the workers of another command make the calls.

    `keeps_jobs`: whether it goes on with the running jobs that it finds, watched or not, and watches them until they end.
    `home`, `services`: a new home that this process owns, and what it has started there.
    `tend` is called often: it keeps the services alive, sweeps, and takes the home over when its owner has ended.
    All of it from the main thread.
    """

    home: Home

    def __init__(
        self,
        settings: CyclrSettings,
        *,
        needs_workers: bool,
        keeps_jobs: bool = False,
        home: Home | None = None,
        services: Services | None = None,
    ) -> None:
        clock = Clock()
        home = home or Home(settings.cyclr_bulk_home, clock)
        self._log_path = home.logs_path / "command.log"
        configure_logging(os.fdopen(open_log(self._log_path), "w", encoding="utf-8"))
        self._binary = find_valkey_binary()
        settings = home.settings(settings)
        super().__init__(settings, open_database(settings), None, home=home, clock=clock)
        self._needs_workers = needs_workers
        self._services = services
        self._in_process: InProcessWorker | None = None
        self._announcing = Announcing(self.limiter)
        self._kept = KeptJobs(self) if keeps_jobs else None
        self._limiter_is_idle = False
        self._is_killed = False
        self._tended_at = self._swept_at = clock.moment()

    def __enter__(self) -> Self:
        try:
            if self.home.try_own():
                self._begin_as_owner()
            else:
                self._begin_as_guest()
            self._announce()
            if self._kept is not None:
                self._kept.follow()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, question: Callable[[CyclrClient, Limiter], Awaitable[T]]) -> T:
        """As of every place; where the owner of the home ends meanwhile, the next one is asked."""
        while True:
            try:
                return super().ask(
                    lambda client, limiter: self._while_the_owner_lives(question(client, limiter))
                )
            except LimiterAway:
                if self.home.is_owned or not self._waited_for_another_owner():
                    raise

    def watch(self, job_id: str) -> AbstractContextManager[None]:
        """As of every home; one that keeps its jobs watches this one until it ends."""
        return super().watch(job_id) if self._kept is None else self._kept.keep(job_id)

    def tend(self) -> None:
        """What has to be done now and then; cheap when nothing has."""
        if self.clock.since(self._tended_at) >= CHECK_EVERY_S:
            self._tended_at = self.clock.moment()
            if not self.home.is_owned:
                self._follow_ownership()
            if self.home.is_owned:  # one of all that write it
                limit_log(self._log_path, limit_bytes=LOG_LIMIT_BYTES)
            if self._services is not None:
                for restart in self._services.check():
                    log.warning(
                        "service_restarted",
                        service=restart.name,
                        exit_code=restart.exit_code,
                        is_up=restart.is_up,
                    )
            if self._kept is not None:
                self._kept.follow()
        if self.home.is_owned and self.clock.since(self._swept_at) >= SWEEP_EVERY_S:
            self._swept_at = self.clock.moment()
            self.sweep()

    def close(self) -> None:
        """End what this command started. What the workers hold is settled or given back first."""
        if self._kept is not None:
            self._kept.let_go()
        try:
            self._drain()
        except KeyboardInterrupt:
            self.kill()
        self._announcing.end()
        self.database.engine.dispose()
        self.home.release()

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
        elif self.home.is_owned and not self._is_killed:
            self.home.mark_stopped()

    def _begin_as_owner(self) -> None:
        if self._services is None:  # else this process has begun here, and nobody before it
            for name in self.home.end_leftovers():
                log.warning("leftover_ended", service=name)
        self._limiter_is_idle = self.home.was_stopped_cleanly
        upgrade(self.database.engine)
        self._put_abandoned_jobs_aside()
        if self._binary is None:
            self._begin_without_valkey()
            return
        if self._services is None:
            self._services = start_services(
                self.home, self._binary, self.settings, self.clock, needs_workers=self._needs_workers
            )
        self.broker = self._services.redis_url
        self._declare_idle()

    def _begin_as_guest(self) -> None:
        if self._binary is None:
            raise HomeBusy(
                f"another command is using the home {self.home.path}, and without a Valkey only one can run:"
                " wait for it to end"
            )
        started = self.clock.moment()
        while (runtime := self.home.find_runtime()) is None or not runtime.redis_url:
            if self.home.try_own():
                self._begin_as_owner()
                return
            if self.clock.since(started) > OWNER_STARTS_WITHIN_S:
                raise HomeBusy(
                    f"another command owns the home {self.home.path} and does not get ready; wait for it to end"
                )
            time.sleep(POLL_S)
        upgrade(self.database.engine)
        self.broker = runtime.redis_url

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
        if self.home.is_owned:
            return True
        runtime = self.home.find_runtime()
        return runtime is not None and runtime.redis_url == self.broker and self.home.is_in_use

    def _waited_for_another_owner(self) -> bool:
        """Whether, after a short wait, the home has an owner other than the one whose Valkey is gone."""
        began = self.clock.moment()
        while not self._follow_ownership():
            if self.clock.since(began) > OWNER_FOLLOWS_WITHIN_S:
                return False
            time.sleep(POLL_S)
        return True

    def _follow_ownership(self) -> bool:
        """Whether the owner that this command worked beside has ended, and it or a third one follows."""
        if self.home.try_own():
            say("The command that ran the workers has ended: this one goes on.")
            self._begin_as_owner()
            self._announce()
            return True
        runtime = self.home.find_runtime()
        if runtime is None or runtime.redis_url in ("", self.broker):
            return False
        self.broker = runtime.redis_url
        self._announce()
        return True

    def _begin_without_valkey(self) -> None:
        self.broker = Rule()
        self._declare_idle()
        if self._needs_workers:
            say("No Valkey or Redis is to be had here, so the installs run in this process.")
            from worker.bootstrap.installer import InProcessWorker

            self._in_process = InProcessWorker(self)
            self._in_process.start()

    def _announce(self) -> None:
        """After `_declare_idle`, which has to come first. Without a Valkey there is no other process."""
        if self._needs_workers and not isinstance(self.broker, Rule):
            self._announcing.begin()

    def _declare_idle(self) -> None:
        """A home that was stopped cleanly has no call reserved anywhere: nobody need wait for one."""

        async def declare() -> None:
            async with self.open_cyclr() as (_, limiter):
                await limiter.declare_idle()

        if self._limiter_is_idle:
            asyncio.run(declare())
            self._limiter_is_idle = False

    def _put_abandoned_jobs_aside(self) -> None:
        """What a killed command left: half-loaded jobs go, running ones are paused, since the workers take only
        what a living command has asked for."""
        for job in list_unfinished_jobs(self.database.engine):
            if job.state is JobState.PAUSED or self.home.is_watched(job.id):
                continue
            if job.state is JobState.LOADING:
                delete_load(self.database.engine, job.id)
            elif self._kept is None or job.instance_id != self.database.instance_id:
                pause_job(self.database.engine, job.id, PauseReason.INTERRUPTED)


class KeptJobs:
    """The running jobs of a home, watched for as long as a command serves it: no other command takes them for abandoned."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._watches: dict[str, AbstractContextManager[None]] = {}
        self._loading: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def keep(self, job_id: str) -> Iterator[None]:
        """Keep this job from now on. While the context lasts its rows are written, and it may be nowhere to be found."""
        self._loading.add(job_id)
        try:
            self._watch(job_id)
            yield
        finally:
            self._loading.discard(job_id)

    def follow(self) -> None:
        """Keep what runs now, let go what has ended. To be called often, from one thread."""
        # Before the look: what is loaded meanwhile is unknown to it.
        kept = set(self._watches) - self._loading
        database = self._place.database
        unfinished = {
            job.id: job.state for job in list_unfinished_jobs(database.engine, database.instance_id)
        }
        for job_id in kept - unfinished.keys():
            self._let_go(job_id)
        for job_id, state in unfinished.items():
            if state is JobState.RUNNING:
                self._watch(job_id)

    def let_go(self) -> None:
        """Of all. A second call is safe."""
        for job_id in list(self._watches):
            self._let_go(job_id)

    def _watch(self, job_id: str) -> None:
        with self._lock:
            if job_id not in self._watches:
                assert self._place.home is not None
                watch = self._place.home.watch(job_id)
                watch.__enter__()
                self._watches[job_id] = watch

    def _let_go(self, job_id: str) -> None:
        self._watches.pop(job_id).__exit__(None, None, None)


class Announcing:
    """In a thread of its own, so that neither a question nor a long load keeps the limit from being known."""

    def __init__(self, open_limiter: Callable[[], Limiter | None]) -> None:
        """`open_limiter`: one of our own, at the broker of just now."""
        self._open_limiter = open_limiter
        self._limiter: Limiter | None = None
        self._has_moved = threading.Event()
        self._was_tried = threading.Event()
        self._has_ended = False
        self._thread = threading.Thread(target=self._go_on, name="announcing", daemon=True)

    def begin(self) -> None:
        """Begin, or begin anew at another broker. Returns when the limit is known there, or nobody can reserve there."""
        self._was_tried.clear()
        self._has_moved.set()
        if not self._thread.is_alive():
            self._thread.start()
        self._was_tried.wait(TRIED_WITHIN_S)

    def end(self) -> None:
        """The limit is forgotten 30 s from now. A second call is safe, and so is one before the beginning."""
        if self._thread.is_alive():
            self._has_ended = True
            self._has_moved.set()
            self._thread.join(TRIED_WITHIN_S)

    def _go_on(self) -> None:
        with asyncio.Runner() as runner:
            while not self._has_ended:
                if self._has_moved.is_set():
                    self._has_moved.clear()
                    runner.run(self._close())
                runner.run(self._announce())
                if not self._has_moved.is_set():
                    self._was_tried.set()
                self._has_moved.wait(ANNOUNCED_EVERY_S)
            runner.run(self._close())

    async def _announce(self) -> None:
        if self._limiter is None:
            self._limiter = self._open_limiter()
        with suppress(LimiterAway):  # nobody calls meanwhile
            if self._limiter is not None:
                await self._limiter.announce()

    async def _close(self) -> None:
        limiter, self._limiter = self._limiter, None
        if limiter is not None:
            with suppress(LimiterAway):
                await limiter.aclose()
