"""A waiting upload becomes a job: it is checked, then loaded, in the background; whoever asks can see how far it is."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Request

from worker.bootstrap.place import Place
from worker.domain.options import RunOptions
from worker.domain.rows import Ways
from worker.domain.words import counted
from worker.intake import Accounts, Source, read_source
from worker.intake.findings import Rejected
from worker.jobs.checking import Checked, check_file
from worker.jobs.loading import Unfinished, find_unfinished, load_job
from worker.jobs.problem_lists import iter_problem_list
from worker.store.jobs import JobStatus, get_job
from worker.store.loading import new_job_id
from worker.store.memory import DatabaseMemory, OtherLoad
from worker.store.submissions import Upload
from worker.web.http_errors import HttpError
from worker.web.receiving import Bodies
from worker.web.waiting import UploadGone, WaitingUploads

AT_ONCE = 4  # checks and loads of one process: each has a thread, and a connection to the database
MOST_WAITING = 100
CHECKS_KEPT = 20
MOST_ROWS = 1_000_000
STOPS_WITHIN_S = 5.0
WAITS_FOR_LOAD_S = 10.0  # a client waits for its answer meanwhile

T = TypeVar("T")
CheckKey = tuple[str, RunOptions]


class Work(Generic[T]):
    """Work in the background. `progress`: how far it is, in words for people."""

    def __init__(self) -> None:
        self.progress = "waiting for its turn"
        self.future: Future[T] = Future()

    @property
    def is_done(self) -> bool:
        return self.future.done()

    def result(self) -> T:
        """Of work that is done. Raises: what it raised."""
        return self.future.result(timeout=0)

    async def wait(self) -> T:
        """Its result. Whoever stops waiting does not stop the work. Raises: what it raised."""
        return await asyncio.shield(asyncio.wrap_future(self.future))


@dataclass(frozen=True, slots=True)
class Started:
    """`is_new`: the job was made now; else the same content was handed in before and is unfinished. `comments`, `empty`: lines that
    the check of a new job left out."""

    job: JobStatus
    is_new: bool
    comments: int = 0
    empty: int = 0


class HandingIn:
    """Checks and loads of one web process, and the uploads that wait for them. From any thread."""

    def __init__(self, place: Place) -> None:
        self.waiting = WaitingUploads(place.database.engine, place.database.sealer, place.uploads)
        self.bodies = Bodies()
        self._place = place
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._threads: set[threading.Thread] = set()
        self._checks: OrderedDict[CheckKey, Work[Checked]] = OrderedDict()
        self._starts: OrderedDict[str, Work[Started]] = OrderedDict()
        self._is_stopping = False

    def check(self, upload: Upload, options: RunOptions) -> Work[Checked]:
        """The check of this upload: the one that is known, or one that begins now. It is not repeated unless it failed.

        It raises Unreadable, FileChanged, CyclrError, HttpError (413). Raises: HttpError (503).
        """
        key = _check_key(upload, options)
        with self._lock:
            known = self._checks.get(key)
            if known is None or (known.is_done and known.future.exception() is not None):
                known = self._begin(lambda work: self._check(self._open(upload, options), options, work))
                self._checks[key] = known
            self._checks.move_to_end(key)
            _keep_last(self._checks)
        return known

    def find_check(self, upload: Upload, options: RunOptions) -> Work[Checked] | None:
        """The check of this upload, also one that failed; None where this process has made none."""
        with self._lock:
            return self._checks.get(_check_key(upload, options))

    def iter_problems(self, checked: Checked, ways: Ways) -> Iterator[str]:
        """The list of its rows with problems, in pieces. Blocks. Raises: FileChanged, UploadGone."""
        database = self._place.database
        besides = self._find_unfinished(checked.source, checked.options)
        memory = DatabaseMemory(database.engine, database.sealer, besides=besides.job.id if besides else None)
        return iter_problem_list(checked, instance_id=database.instance_id, memory=memory, ways=ways)

    def start(self, upload: Upload, options: RunOptions, *, api_key_id: str) -> Work[Started]:
        """The job of this upload, loaded and running; the upload is deleted then. A second call gives the same work.

        It raises what a check raises, and Rejected (rows have problems, and are not to be skipped), LoadLost,
        HttpError (409: an unfinished job was begun with other options; 422: nothing to install; 503: another load is in the way,
        or the process is about to end). Raises: HttpError (503).
        """
        with self._lock:
            known = self._starts.get(upload.id)
            if known is None or (known.is_done and known.future.exception() is not None):
                known = self._begin(lambda work: self._start(upload, options, api_key_id, work))
                self._starts[upload.id] = known
                _keep_last(self._starts)
        return known

    def find_start(self, upload_id: str) -> Work[Started] | None:
        """The start of this upload in this process; None where there was none."""
        with self._lock:
            return self._starts.get(upload_id)

    def forget(self, upload_id: str) -> None:
        """Delete the upload and what its checks found. A second call is safe."""
        with self._lock:
            for key in [key for key in self._checks if key[0] == upload_id]:
                del self._checks[key]
        self.waiting.delete(upload_id)

    def stop(self) -> None:
        """Have all that is under way come to nothing; wait for it a while."""
        self._is_stopping = True
        for thread in list(self._threads):
            thread.join(STOPS_WITHIN_S)

    def _begin(self, do: Callable[[Work[T]], T]) -> Work[T]:
        if len(self._threads) >= MOST_WAITING:
            detail = "Too many files are being checked just now. Try again in a moment."
            raise _later(detail, code="too_busy", after_s=30)
        work: Work[T] = Work()

        def run() -> None:
            try:
                with self._turns:
                    work.future.set_result(do(work))
            except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
                work.future.set_exception(error)
            finally:
                self._threads.discard(thread)

        # A daemon: a process that must end does not wait for a load, which whoever comes next clears away.
        thread = threading.Thread(target=run, name="handing-in", daemon=True)
        self._threads.add(thread)
        thread.start()
        return work

    def _say(self, work: Work[T], text: str) -> None:
        work.progress = text
        if self._is_stopping:
            raise _later("The server is about to end: hand the file in again in a moment.")

    def _check(self, source: Source, options: RunOptions, work: Work[Any]) -> Checked:
        self._say(work, "reading the file")
        besides = self._find_unfinished(source, options)
        checked = asyncio.run(self._ask(source, options, work, besides))
        if checked.survey.rows > MOST_ROWS:
            rows = checked.survey.rows
            detail = f"Expected at most {MOST_ROWS:,} rows in one file, got {rows:,}: divide it."
            raise HttpError(413, "too_many_rows", detail)
        checked.survey.accounts = Accounts()  # large, and asked about already
        return checked

    async def _ask(
        self, source: Source, options: RunOptions, work: Work[T], besides: Unfinished | None
    ) -> Checked:
        place, database = self._place, self._place.database
        async with place.open_cyclr() as (client, limiter):
            return await check_file(
                source,
                options,
                instance_id=database.instance_id,
                client=client,
                limiter=limiter,
                memory=DatabaseMemory(
                    database.engine, database.sealer, besides=besides.job.id if besides else None
                ),
                on_progress=lambda text: self._say(work, text),
            )

    def _start(self, upload: Upload, options: RunOptions, api_key_id: str, work: Work[Started]) -> Started:
        self.waiting.prolong(upload)
        source = self._open(upload, options)
        unfinished = self._find_unfinished(source, options)
        if unfinished is None:
            started = self._start_new(upload, source, options, api_key_id, work)
        elif unfinished.has_options(options):
            started = Started(unfinished.job, is_new=False)
        else:
            detail = (
                f"This file was handed in before with other options, as job {unfinished.job.id}, which is"
                f" {unfinished.job.state}: let that job end, or cancel it."
            )
            raise HttpError(409, "begun_otherwise", detail)
        self.forget(upload.id)
        return started

    def _start_new(
        self, upload: Upload, source: Source, options: RunOptions, api_key_id: str, work: Work[Started]
    ) -> Started:
        checked = self._checked(upload, source, options, work)
        try:
            require_doable(checked, options)
            job = self._load(checked, options, api_key_id, work)
            # Not the check itself, which may be large: a start is known for a while after the job runs.
            return Started(job, is_new=True, comments=checked.survey.comments, empty=checked.survey.empty)
        except Rejected:
            # The same file may have been handed in twice in one moment: the first has become a job meanwhile.
            unfinished = self._find_unfinished(checked.source, options)
            if unfinished is None or not unfinished.has_options(options):
                raise
            return Started(unfinished.job, is_new=False)

    def _checked(self, upload: Upload, source: Source, options: RunOptions, work: Work[Started]) -> Checked:
        """What a check has found before, if one has; else what one finds now."""
        known = self.find_check(upload, options)
        if known is not None and known.is_done and known.future.exception() is None:
            return known.result()
        return self._check(source, options, work)

    def _load(self, checked: Checked, options: RunOptions, api_key_id: str, work: Work[Started]) -> JobStatus:
        database = self._place.database
        job_id = new_job_id(self._place.clock.now())
        self._say(work, "loading")
        with self._place.watch(job_id):
            load_job(
                checked,
                options,
                engine=database.engine,
                sealer=database.sealer,
                instance_id=database.instance_id,
                job_id=job_id,
                on_rows=lambda count: self._say(work, f"loading: {counted(count, 'row')}"),
                api_key_id=api_key_id,
                on_wait=lambda other, waited_s: self._wait(work, other, waited_s),
            )
        self._place.ring()
        return get_job(database.engine, job_id)

    def _wait(self, work: Work[Started], other: OtherLoad, waited_s: float) -> None:
        """Raises: HttpError (503) where the other load did not end while this one could be waited for."""
        if waited_s >= WAITS_FOR_LOAD_S:
            where = "What this file waits for is" if other.is_writing else "Rows of this file are in"
            raise _later(
                f"{where} {other}: hand it in again in a moment, when that has ended or was given up."
            )
        self._say(work, f"waiting for {other}")

    def _open(self, upload: Upload, options: RunOptions) -> Source:
        if self.waiting.find(upload.id, api_key_id=upload.api_key_id) is None:
            raise UploadGone
        return read_source(
            Path(upload.source_name), lambda: self.waiting.open(upload), options.sheet, options.map
        )

    def _find_unfinished(self, source: Source, options: RunOptions) -> Unfinished | None:
        database = self._place.database
        return find_unfinished(database.engine, database.instance_id, source.content_hash, options)


def require_doable(checked: Checked, options: RunOptions) -> None:
    """Raises: Rejected; HttpError (422) where every row is done already, or none can be."""
    if checked.survey.problems or (checked.problem_count and not options.skip_invalid):
        raise Rejected(checked.problems, checked.problem_count)
    if not checked.planned:
        why = "was done by an earlier job"
        why += " or has a problem" if checked.refused else ""
        raise HttpError(422, "nothing_to_install", f"There is nothing to do: every row {why}.")


def _later(detail: str, *, code: str = "try_again", after_s: int = 5) -> HttpError:
    """Nothing of the job is left."""
    return HttpError(503, code, detail, headers={"Retry-After": str(after_s)})


def _check_key(upload: Upload, options: RunOptions) -> CheckKey:
    """All that a check depends on; its first part is the upload."""
    return upload.id, replace(options, first=None, skip_invalid=False)


def _keep_last(works: OrderedDict[T, Any]) -> None:
    """Those that are done and were not asked for lately are forgotten."""
    done = [key for key, work in works.items() if work.is_done]
    for key in done[: max(0, len(done) - CHECKS_KEPT)]:
        del works[key]


def _handing_in(request: Request) -> HandingIn:
    handing_in: HandingIn = request.app.state.handing_in
    return handing_in


GivenHandingIn = Annotated[HandingIn, Depends(_handing_in)]
