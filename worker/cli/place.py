"""How a command finds its place, a deployment or a home, and asks Cyclr there."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from worker.bootstrap.place import Place, deployment, home_beside_its_owner
from worker.cli.exits import say
from worker.cli.refusals import UnknownJob, UnknownReason
from worker.cyclr.errors import (
    CyclrError,
)
from worker.domain.failures import ToldFailure
from worker.domain.server_faults import Server
from worker.settings import CyclrSettings, InvalidSettings, load_settings
from worker.store.jobs import JobStatus
from worker.store.listing import find_job
from worker.store.readiness import (
    TakesNoWrites,
    lost_database_in_words,
    open_for_showing,
    require_ready,
)
from worker.store.schema import upgrade
from worker.store.tallies import find_failure
from worker.telemetry import ALARMS, configure_logging

if TYPE_CHECKING:
    from worker.cyclr.client import CyclrClient
    from worker.cyclr.limiter import Limiter


TELL_AFTER_S = 3.0

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
