"""A waiting upload becomes a job: it is checked, then loaded, in the background; whoever asks can see how far it is."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Request

from worker.bootstrap.cyclr import open_cyclr
from worker.domain.wording import counted
from worker.intake import Accounts, Options, Source, read_source
from worker.intake.findings import Rejected
from worker.jobs.checking import Checked, DatabaseMemory, check_file
from worker.jobs.loading import load_job
from worker.jobs.options import RunOptions, Unfinished, find_unfinished
from worker.store.jobs import JobStatus, get_job
from worker.store.loading import new_job_id
from worker.store.meeting import OtherLoad
from worker.store.uploads import Upload
from worker.web.place import Place
from worker.web.waiting import UploadGone

AT_ONCE = 4  # checks and loads of one process: each has a thread, and a connection to the database
MOST_WAITING = 100
CHECKS_KEPT = 20
MOST_ROWS = 1_000_000
STOPS_WITHIN_S = 5.0
WAITS_FOR_LOAD_S = 10.0  # a client waits for its answer meanwhile

T = TypeVar("T")
CheckKey = tuple[str, str | None, bool, frozenset[str]]


class Deed(Generic[T]):
    """Work in the background. `progress`: how far it is, in words for people."""

    def __init__(self) -> None:
        self.progress = "waiting for its turn"
        self.future: Future[T] = Future()

    @property
    def is_done(self) -> bool:
        return self.future.done()

    def result(self) -> T:
        """Of a deed that is done. Raises: what it raised."""
        return self.future.result(timeout=0)

    async def wait(self) -> T:
        """Its result. Whoever stops waiting does not stop the deed. Raises: what it raised."""
        return await asyncio.shield(asyncio.wrap_future(self.future))


class TooBusy(Exception):
    """More checks and loads wait for their turn than this process lets wait."""


class TooManyRows(Exception):
    """The file has more rows than one job takes."""

    def __init__(self, rows: int) -> None:
        super().__init__(f"expected at most {MOST_ROWS:,} rows in one file, got {rows:,}: divide it")


class NothingToInstall(Exception):
    """Every row of the file is installed already, or none can be."""

    def __init__(self, checked: Checked) -> None:
        why = "is installed already" if not checked.refused else "is installed already or has a problem"
        super().__init__(f"there is nothing to install: every row {why}")


def require_installable(checked: Checked, options: RunOptions) -> None:
    """Raises: Rejected, NothingToInstall."""
    if checked.survey.problems or (checked.problem_count and not options.skip_invalid):
        raise Rejected(checked.problems, checked.problem_count)
    if not checked.planned:
        raise NothingToInstall(checked)


class BegunOtherwise(Exception):
    """An unfinished job has the same content, and was begun with other options."""

    def __init__(self, job: JobStatus) -> None:
        super().__init__(
            f"this file was handed in before with other options, as job {job.id}, which is {job.state}:"
            " let that job end, or cancel it"
        )
        self.job = job


class Stopping(Exception):
    """The process is about to end: nothing of the job is left."""

    def __init__(self) -> None:
        super().__init__("the server is about to end: hand the file in again in a moment")


class LoadInTheWay(Exception):
    """Another load has rows of the file, and did not end while this one could be waited for: nothing of the job is left."""

    def __init__(self, other: OtherLoad) -> None:
        super().__init__(
            f"{'what this file waits for is' if other.is_writing else 'rows of this file are in'} {other}:"
            " hand it in again in a moment, when that has ended or was given up"
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What the check of a new job left out of it."""

    comments: int
    empty: int


@dataclass(frozen=True, slots=True)
class Started:
    """`found`: where the job was made now; None: the same content was handed in before and is unfinished."""

    job: JobStatus
    found: Found | None

    @property
    def is_new(self) -> bool:
        return self.found is not None


class HandingIn:
    """Checks and loads of one web process. From any thread."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._threads: set[threading.Thread] = set()
        self._checks: OrderedDict[CheckKey, Deed[Checked]] = OrderedDict()
        self._starts: OrderedDict[str, Deed[Started]] = OrderedDict()
        self._is_stopping = False

    def check(self, upload: Upload, options: RunOptions) -> Deed[Checked]:
        """The check of this upload: the one that is known, or one that begins now. It is not repeated unless it failed.

        It raises Unreadable, FileChanged, TooManyRows, CyclrError. Raises: TooBusy.
        """
        key = _check_key(upload, options)
        with self._lock:
            known = self._checks.get(key)
            if known is None or (known.is_done and known.future.exception() is not None):
                known = self._begin(lambda deed: self._check(upload, options, deed))
                self._checks[key] = known
            self._checks.move_to_end(key)
            _keep_last(self._checks)
        return known

    def find_check(self, upload: Upload, options: RunOptions) -> Deed[Checked] | None:
        """The check of this upload, also one that failed; None where this process has made none."""
        with self._lock:
            return self._checks.get(_check_key(upload, options))

    def start(self, upload: Upload, options: RunOptions, *, api_key_id: str) -> Deed[Started]:
        """The job of this upload, loaded and running; the upload is deleted then. A second call gives the same deed.

        It raises what a check raises, and Rejected (rows have problems, and are not to be skipped), NothingToInstall,
        BegunOtherwise, LoadInTheWay, LoadLost, Stopping. Raises: TooBusy.
        """
        with self._lock:
            known = self._starts.get(upload.id)
            if known is None or (known.is_done and known.future.exception() is not None):
                known = self._begin(lambda deed: self._start(upload, options, api_key_id, deed))
                self._starts[upload.id] = known
                _keep_last(self._starts)
        return known

    def find_start(self, upload_id: str) -> Deed[Started] | None:
        """The start of this upload in this process; None where there was none."""
        with self._lock:
            return self._starts.get(upload_id)

    def forget(self, upload_id: str) -> None:
        """Delete the upload and what its checks found. A second call is safe."""
        with self._lock:
            for key in [key for key in self._checks if key[0] == upload_id]:
                del self._checks[key]
        self._place.waiting.delete(upload_id)

    def stop(self) -> None:
        """Have all that is under way come to nothing; wait for it a while."""
        self._is_stopping = True
        for thread in list(self._threads):
            thread.join(STOPS_WITHIN_S)

    def _begin(self, work: Callable[[Deed[T]], T]) -> Deed[T]:
        if len(self._threads) >= MOST_WAITING:
            raise TooBusy
        deed: Deed[T] = Deed()

        def run() -> None:
            try:
                with self._turns:
                    deed.future.set_result(work(deed))
            except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
                deed.future.set_exception(error)
            finally:
                self._threads.discard(thread)

        # A daemon: a process that must end does not wait for a load, which whoever comes next clears away.
        thread = threading.Thread(target=run, name="handing-in", daemon=True)
        self._threads.add(thread)
        thread.start()
        return deed

    def _say(self, deed: Deed[T], text: str) -> None:
        deed.progress = text
        if self._is_stopping:
            raise Stopping

    def _check(
        self, upload: Upload, options: RunOptions, deed: Deed[T], besides: Unfinished | None = None
    ) -> Checked:
        self._say(deed, "reading the file")
        return self._check_source(self._open(upload), options, deed, besides)

    def _check_source(
        self, source: Source, options: RunOptions, deed: Deed[Any], besides: Unfinished | None = None
    ) -> Checked:
        if besides is None:
            besides = self._find_unfinished(source, options)
        checked = asyncio.run(self._ask(source, options, deed, besides))
        if checked.survey.rows > MOST_ROWS:
            raise TooManyRows(checked.survey.rows)
        checked.survey.accounts = Accounts()  # large, and asked about already
        return checked

    async def _ask(
        self, source: Source, options: RunOptions, deed: Deed[T], besides: Unfinished | None
    ) -> Checked:
        place, database = self._place, self._place.database
        opening = open_cyclr(place.settings, database.engine, clock=place.clock, broker=place.broker())
        async with opening as (client, limiter):
            return await check_file(
                source,
                Options(database.instance_id, options.connector, options.as_written, options.is_list),
                client=client,
                limiter=limiter,
                memory=DatabaseMemory(
                    database.engine, database.sealer, besides=besides.job.id if besides else None
                ),
                looks_first=options.looks_first,
                on_progress=lambda text: self._say(deed, text),
            )

    def _start(self, upload: Upload, options: RunOptions, api_key_id: str, deed: Deed[Started]) -> Started:
        self._place.waiting.prolong(upload)
        source = self._open(upload)
        unfinished = self._find_unfinished(source, options)
        if unfinished is None:
            started = self._start_new(upload, source, options, api_key_id, deed)
        elif unfinished.has_options(options):
            started = Started(unfinished.job, found=None)
        else:
            raise BegunOtherwise(unfinished.job)
        self.forget(upload.id)
        return started

    def _start_new(
        self, upload: Upload, source: Source, options: RunOptions, api_key_id: str, deed: Deed[Started]
    ) -> Started:
        checked = self._checked(upload, source, options, deed)
        try:
            require_installable(checked, options)
            return Started(self._load(checked, options, api_key_id, deed), _found(checked))
        except Rejected:
            # The same file may have been handed in twice in one moment: the first has become a job meanwhile.
            unfinished = self._find_unfinished(checked.source, options)
            if unfinished is None or not unfinished.has_options(options):
                raise
            return Started(unfinished.job, found=None)

    def _checked(self, upload: Upload, source: Source, options: RunOptions, deed: Deed[Started]) -> Checked:
        """What a check has found before, if one has; else what one finds now."""
        with self._lock:
            known = self._checks.get(_check_key(upload, options))
        if known is not None and known.is_done and known.future.exception() is None:
            return known.result()
        self._say(deed, "reading the file")
        return self._check_source(source, options, deed)

    def _load(self, checked: Checked, options: RunOptions, api_key_id: str, deed: Deed[Started]) -> JobStatus:
        database = self._place.database
        job_id = new_job_id(self._place.clock.now())
        self._say(deed, "loading")
        with self._place.keep(job_id):
            load_job(
                checked,
                options,
                engine=database.engine,
                sealer=database.sealer,
                instance_id=database.instance_id,
                job_id=job_id,
                on_rows=lambda count: self._say(deed, f"loading: {counted(count, 'row')}"),
                api_key_id=api_key_id,
                on_wait=lambda other, waited_s: self._wait(deed, other, waited_s),
            )
        self._place.ring()
        return get_job(database.engine, job_id)

    def _wait(self, deed: Deed[Started], other: OtherLoad, waited_s: float) -> None:
        """Raises: LoadInTheWay, Stopping."""
        if waited_s >= WAITS_FOR_LOAD_S:
            raise LoadInTheWay(other)
        self._say(deed, f"waiting for {other}")

    def _open(self, upload: Upload) -> Source:
        if self._place.waiting.find(upload.id, api_key_id=upload.api_key_id) is None:
            raise UploadGone
        return read_source(Path(upload.source_name), lambda: self._place.waiting.open(upload))

    def _find_unfinished(self, source: Source, options: RunOptions) -> Unfinished | None:
        database = self._place.database
        return find_unfinished(database.engine, database.instance_id, source.content_hash, options)


def _found(checked: Checked) -> Found:
    """Not the check itself, which may be large: a start is known for a while after the job runs."""
    return Found(checked.survey.comments, checked.survey.empty)


def _check_key(upload: Upload, options: RunOptions) -> CheckKey:
    """All that a check depends on; its first part is the upload."""
    return upload.id, options.connector, options.looks_first, options.as_written


def _keep_last(deeds: OrderedDict[T, Any]) -> None:
    """Those that are done and were not asked for lately are forgotten."""
    done = [key for key, deed in deeds.items() if deed.is_done]
    for key in done[: max(0, len(done) - CHECKS_KEPT)]:
        del deeds[key]


def _handing_in(request: Request) -> HandingIn:
    handing_in: HandingIn = request.app.state.handing_in
    return handing_in


GivenHandingIn = Annotated[HandingIn, Depends(_handing_in)]
