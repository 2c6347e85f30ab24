"""Where a command about jobs works: the database and Redis of a deployment, or the home of the embedded mode.

What calls Cyclr or rings is imported where it is done: most commands only read, and start in half of the time so.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from worker.bootstrap.database import Database, open_database
from worker.cli.exits import say
from worker.cli.refusals import UnknownJob, UnknownReason
from worker.clock import Clock
from worker.cyclr.errors import (
    Busy,
    CredentialsRefused,
    CyclrError,
    NeverSent,
    NotFound,
    OutcomeUnknown,
    Redirected,
    Refused,
    Throttled,
    Unauthorised,
)
from worker.domain.failures import ToldFailure
from worker.domain.server_faults import Server
from worker.embedded import Home
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
    from worker.tickets import Doorbell


TELL_AFTER_S = 3.0

T = TypeVar("T")


class Workplace(Protocol):
    """What a command that checks and loads a file needs to know of the place."""

    settings: CyclrSettings
    database: Database

    def ask(self, question: "Callable[[CyclrClient, Limiter], Awaitable[T]]") -> T: ...

    def watch(self, job_id: str) -> AbstractContextManager[None]: ...

    def now(self) -> datetime: ...

    def ring(self) -> None: ...


class Deployment:
    """A database and a Redis, and workers that belong to nobody's command."""

    def __init__(self, settings: CyclrSettings) -> None:
        settings.require_deployment()
        assert settings.redis_url is not None
        self._clock = Clock()
        self._redis_url = settings.redis_url.get_secret_value()
        self._doorbell: Doorbell | None = None
        self.settings = settings
        self.database = open_database(settings)
        self.has_workers = True

    def ask(self, question: "Callable[[CyclrClient, Limiter], Awaitable[T]]") -> T:
        """Calls of Cyclr by the command itself, under the limit that all of the deployment's processes share."""

        from worker.bootstrap.cyclr import open_cyclr

        async def work() -> T:
            opened = open_cyclr(
                self.settings, self.database.engine, clock=self._clock, broker=self._redis_url
            )
            async with opened as (client, limiter):
                telling = asyncio.create_task(_tell_what_is_away())
                try:
                    return await question(client, limiter)
                finally:
                    telling.cancel()

        return asyncio.run(work())

    def limiter(self, instance_id: str) -> "Limiter | None":
        """A limiter of one's own to look at the shared one of this instance."""
        from worker.bootstrap.cyclr import make_limiter

        return make_limiter(
            self.settings,
            self.database.engine,
            clock=self._clock,
            broker=self._redis_url,
            instance_id=instance_id,
        )

    @property
    def redis_url(self) -> str:
        return self._redis_url

    def find_workers_began_ago_s(self) -> float | None:
        """Not known: they belong to nobody's command."""
        return None

    def watch(self, _job_id: str) -> AbstractContextManager[None]:
        """The workers see to it, whether a command watches or not."""
        return nullcontext()

    def now(self) -> datetime:
        return self._clock.now()

    def ring(self) -> None:
        if self._doorbell is None:
            from worker.tickets import Doorbell

            self._doorbell = Doorbell(self._redis_url)
        self._doorbell.ring()


class HomePlace:
    """A home's database, beside whatever command owns the home. Nothing is started, and Cyclr is not asked."""

    def __init__(self, settings: CyclrSettings) -> None:
        home = Home(settings.cyclr_bulk_home, Clock())
        self.find_workers_began_ago_s = home.find_workers_began_ago_s
        self.has_workers = home.is_in_use
        self._runtime = home.find_runtime() if self.has_workers else None
        self.settings = home.settings(settings)
        self.database = open_database(self.settings)

    def limiter(self, instance_id: str) -> "Limiter | None":
        """None where no command runs a Valkey here."""
        if self._runtime is None or not self._runtime.redis_url:
            return None
        from worker.bootstrap.cyclr import make_limiter

        return make_limiter(
            self.settings,
            self.database.engine,
            clock=Clock(),
            broker=self._runtime.redis_url,
            instance_id=instance_id,
        )


async def _tell_what_is_away() -> None:
    """Once, where a person has waited for a while: what is asked is asked again for half a minute before it is given up."""
    while True:
        await asyncio.sleep(TELL_AFTER_S)
        for server in (Server.REDIS, Server.CYCLR):
            if (fault := ALARMS.find(server)) is not None:
                say(f"{fault}. Trying again for a while.")
                return


Place = Deployment | HomePlace


def open_place(stack: ExitStack, *, needs_cyclr: bool = False, only_shows: bool = False) -> Place:
    """The deployment that DATABASE_URL names, else the home. Raises: InvalidSettings, DatabaseAway, OldSchema.

    `only_shows`: it changes nothing, so that a database that takes no writes will do, which is said.
    """
    settings = read_settings(needs_cyclr=needs_cyclr, needs_deployment=None)
    if settings.is_deployed:
        return open_deployment(stack, settings, only_shows=only_shows)
    return _open_home(stack, settings)


def open_deployment(stack: ExitStack, settings: CyclrSettings, *, only_shows: bool = False) -> Deployment:
    """Raises: DatabaseAway, OldSchema."""
    # What matters to a person is said in words.
    configure_logging(level=logging.ERROR)
    deployment = Deployment(settings)
    stack.callback(deployment.database.engine.dispose)
    stack.enter_context(lost_database_in_words(deployment.database.engine))
    try:
        require_ready(deployment.database.engine)
    except TakesNoWrites as refusal:
        if not only_shows:
            raise
        _show_all_the_same(stack, deployment, refusal)
    return deployment


def _show_all_the_same(stack: ExitStack, deployment: Deployment, refusal: TakesNoWrites) -> None:
    """Raises: DatabaseAway, OldSchema."""
    engine = open_for_showing(deployment.database.engine)
    stack.callback(engine.dispose)
    require_ready(engine, must_write=False)
    deployment.database = replace(deployment.database, engine=engine)
    say(f"{refusal} Until then nothing is claimed or settled, and what is shown may be old.")


def _open_home(stack: ExitStack, settings: CyclrSettings) -> HomePlace:
    configure_logging(level=logging.ERROR)
    place = HomePlace(settings)
    stack.callback(place.database.engine.dispose)
    stack.enter_context(lost_database_in_words(place.database.engine))
    upgrade(place.database.engine)
    return place


@contextmanager
def opened_place(*, needs_cyclr: bool = False, only_shows: bool = False) -> Iterator[Place]:
    """`open_place`, closed at the end."""
    with ExitStack() as stack:
        yield open_place(stack, needs_cyclr=needs_cyclr, only_shows=only_shows)


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


WHAT_TO_DO: dict[type[CyclrError], str] = {
    CredentialsRefused: "Check both in Cyclr's console, and that they belong to the region of CYCLR_API_URL.",
    NeverSent: "Check CYCLR_API_URL and the network.",
    Redirected: "Give the API domain of your instance, such as https://api.cyclr.com, not the console's.",
    Unauthorised: "Check the account and that the client id may act for it.",
    NotFound: "Check the account id.",
    Refused: "Check that the client id may do this, and that Cyclr accepts calls from this network.",
    Throttled: "Try again in a minute, or lower CYCLR_CALLS_PER_SECOND.",
    Busy: "Try again in a minute.",
    OutcomeUnknown: "Check CYCLR_API_URL; if it is right, try again, or look at Cyclr's status page.",
}


class NotAnswered(ToldFailure):
    """Cyclr was asked and did not answer as it should. `host`: who was asked."""

    def __init__(self, host: str, error: CyclrError) -> None:
        self.host = host
        self.error = error
        hint = WHAT_TO_DO.get(type(error), "Try again.")
        super().__init__(f"{host}: {error}. {hint}")


def ask(place: Workplace, question: "Callable[[CyclrClient, Limiter], Awaitable[T]]") -> T:
    """The answer. Raises: NotAnswered."""
    try:
        return place.ask(question)
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
