"""How a command finds its place, a deployment or a home, and its job there; what it asks Cyclr, and why it cannot be done."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from worker.bootstrap.place import Place, deployment, home_beside_its_owner
from worker.cli.terminal import say
from worker.cyclr.errors import (
    CyclrError,
)
from worker.domain.failures import ToldFailure
from worker.domain.server_faults import Server
from worker.domain.states import JobState
from worker.settings import CyclrSettings, InvalidSettings, load_settings
from worker.store.faults import TakesNoWrites, lost_database_in_words
from worker.store.jobs import JobStatus
from worker.store.listing import find_job
from worker.store.readiness import open_for_showing, require_ready, upgrade
from worker.store.tallies import find_failure
from worker.telemetry import ALARMS, configure_logging

if TYPE_CHECKING:
    from worker.cyclr.client import CyclrClient
    from worker.cyclr.limiter import Limiter

TELL_AFTER_S = 3.0
WHAT_THEN = {
    JobState.LOADING: "Its rows are still being written: wait a moment.",
    JobState.RUNNING: "See how it goes with `cyclr-bulk watch {id}`, or stop it with `cyclr-bulk pause {id}`.",
    JobState.PAUSED: "It goes on with `cyclr-bulk resume {id}`, and ends with `cyclr-bulk cancel {id}`.",
    JobState.COMPLETED: "Nothing is left to do; `cyclr-bulk retry {id}` tries its failed rows again.",
    JobState.CANCELLED: "`cyclr-bulk retry {id}` tries its failed and cancelled rows again.",
}
STILL_ENDING = "`cyclr-bulk watch {id}` tells when it has ended."

T = TypeVar("T")


async def _tell_what_is_away() -> None:
    """Once, where a person has waited for a while: what is asked is asked again for half a minute before it is given up."""
    while True:
        await asyncio.sleep(TELL_AFTER_S)
        for server in (Server.REDIS, Server.CYCLR):
            if (fault := ALARMS.find(server)) is not None:
                say(f"{fault}. Trying again for a while.")
                return


@contextmanager
def opened_place(settings: CyclrSettings | None = None, *, only_shows: bool = False) -> Iterator[Place]:
    """The deployment that DATABASE_URL names, else the home, as long as the context lasts.

    `settings`: where they were read before. `only_shows`: nothing is changed, so that a database that takes no writes will
    do, which is said. Raises: InvalidSettings, DatabaseAway, OldSchema.
    """
    settings = settings or read_settings(needs_deployment=None)
    configure_logging(level=logging.ERROR)  # what matters to a person is said in words
    place = (deployment if settings.is_deployed else home_beside_its_owner)(settings)
    with ExitStack() as stack:
        stack.callback(place.database.engine.dispose)
        stack.enter_context(lost_database_in_words(place.database.engine))
        if place.home is not None:
            upgrade(place.database.engine)
        else:
            _require_ready(stack, place, only_shows=only_shows)
        yield place


def _require_ready(stack: ExitStack, place: Place, *, only_shows: bool) -> None:
    """Raises: DatabaseAway, OldSchema."""
    try:
        require_ready(place.database.engine)
    except TakesNoWrites as refusal:
        if not only_shows:
            raise
        engine = open_for_showing(place.database.engine)
        stack.callback(engine.dispose)
        require_ready(engine, must_write=False)
        place.database = replace(place.database, engine=engine)
        say(f"{refusal} Until then nothing is claimed or settled, and what is shown may be old.")


def require_job(place: Place, job_id: str) -> JobStatus:
    """Raises: UnknownJob."""
    job = find_job(place.database.engine, job_id)
    if job is None:
        raise UnknownJob(job_id)
    return job


def require_reason(place: Place, job_id: str, reason: str | None) -> None:
    """Raises: UnknownReason, where rows of one reason are asked for and none failed for it."""
    if reason is not None and find_failure(place.database.engine, job_id, reason) is None:
        raise UnknownReason(job_id, reason)


class NotAnswered(ToldFailure):
    """Cyclr was asked and did not answer as it should. `host`: who was asked."""

    def __init__(self, host: str, error: CyclrError) -> None:
        self.host = host
        self.error = error
        super().__init__(f"{host}: {error}. {error.advice}")


def ask(place: Place, question: "Callable[[CyclrClient, Limiter], Awaitable[T]]") -> T:
    """The answer. Raises: NotAnswered."""

    async def telling(client: "CyclrClient", limiter: "Limiter") -> T:
        told = asyncio.create_task(_tell_what_is_away())
        try:
            return await question(client, limiter)
        finally:
            told.cancel()

    try:
        return place.ask(telling if place.home is None else question)
    except CyclrError as error:
        raise NotAnswered(place.settings.api_host, error) from None


def read_settings(**needs: Any) -> CyclrSettings:
    """As `load_settings`. Raises: InvalidSettings."""
    try:
        settings = load_settings(**needs)
    except InvalidSettings as error:
        say_doubts(error.doubts)
        raise
    say_doubts(settings.doubts)
    return settings


def say_doubts(doubts: tuple[str, ...]) -> None:
    """To a person."""
    for doubt in doubts:
        say(f"warning: {doubt}")


class JobRefusal(ToldFailure):
    """A command about a job cannot be carried out; nothing was changed."""


class UnknownJob(JobRefusal):
    """There is no job of this id in the database that the command works on."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id} here. `cyclr-bulk jobs` lists those that are.")
        self.job_id = job_id


class UnknownReason(JobRefusal):
    """No row of the job failed for a reason with this key."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(
            f"No row of job {job_id} failed for a reason with the key {reason}."
            f" `cyclr-bulk failures {job_id}` lists those that are."
        )
        self.job_id = job_id
        self.reason = reason


class NotInThisState(JobRefusal):
    """The job is in a state in which this cannot be done. `deed`: as in "it cannot be paused"."""

    def __init__(self, job: JobStatus, deed: str) -> None:
        super().__init__(f"{job.cannot_be(deed)} {_hint(job)}")
        self.job = job


class OtherInstance(JobRefusal):
    """The job is of another Cyclr than the one of the settings, so no worker started with these would take it."""

    def __init__(self, job: JobStatus) -> None:
        super().__init__(
            f"Job {job.id} is of {job.api_host}, with the client id that it was begun with:"
            " set CYCLR_API_URL and CYCLR_CLIENT_ID to those."
        )
        self.job = job


def _hint(job: JobStatus) -> str:
    hint = STILL_ENDING if job.is_ending else WHAT_THEN[job.state]
    return hint.format(id=job.id)
