"""`cyclr-bulk serve`: the HTTP API and the dashboard, of a deployment or of the home."""

import errno
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import typer

from worker.cli.exits import NOTHING_DONE, failures_in_words, say, tell
from worker.cli.given_settings import read_settings
from worker.cli.session import Session
from worker.cli.workplace import open_deployment
from worker.clock import Clock
from worker.domain.states import JobState
from worker.embedded import interrupts
from worker.settings import CyclrSettings
from worker.store.api_keys import list_keys
from worker.store.jobs import list_unfinished_jobs
from worker.telemetry import configure_logging
from worker.web.app import create_app
from worker.web.place import Place
from worker.web.serving import WebServer

LOOPBACK = "127.0.0.1"
ANYWHERE = "0.0.0.0"  # noqa: S104 - a deployment's process is reached from its proxy
TEND_EVERY_S = 0.2
LOOK_EVERY_S = 1.0
LISTENS_ON = "Serving on "


def serve_command(host: str | None, port: int) -> None:
    with failures_in_words(nothing_done="Nothing is served."), ExitStack() as stack:
        settings = read_settings(needs_cyclr=True, needs_deployment=None)
        if settings.is_deployed:
            place, tend = _open_deployment(stack, settings), _nothing
        else:
            place, tend = _open_home(stack, settings)
        _serve(place, host or (ANYWHERE if settings.is_deployed else LOOPBACK), port, tend)


def _serve(place: Place, host: str, port: int, tend: Callable[[], None]) -> None:
    """Until a signal asks it to end."""
    try:
        server = WebServer(create_app(place), host, port)
    except OSError as error:
        reason = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror
        say(f"{host}, port {port}, cannot be used: {reason}. Name another with --port; 0 takes any free one.")
        raise typer.Exit(NOTHING_DONE) from None
    except UnicodeError:  # of the rules for names of hosts, before anybody is asked for it
        say(f"{host} cannot be used: expected an address or the name of a host.")
        raise typer.Exit(NOTHING_DONE) from None
    with interrupts() as asked, server:
        shown = f"[{host}]" if ":" in host else host
        tell(f"{LISTENS_ON}http://{shown}:{server.port}")
        if not any(key.is_valid(place.clock.now()) for key in list_keys(place.database.engine)):
            say("There is no API key yet. Make one with `cyclr-bulk api-keys create NAME --scope write`.")
        while not asked.wait(TEND_EVERY_S) and server.is_alive:
            tend()
    if not asked.is_set:
        say("The server has ended by itself; its log says why.")
        raise typer.Exit(NOTHING_DONE)


def _open_deployment(stack: ExitStack, settings: CyclrSettings) -> Place:
    deployment = open_deployment(stack, settings)
    configure_logging(level=logging.INFO)
    return Place(
        deployment.settings,
        deployment.database,
        Clock(),
        broker=lambda: deployment.redis_url,
        ring=deployment.ring,
        keep=lambda _job_id: nullcontext(),  # the workers see to every job
        uploads=None,
    )


def _open_home(stack: ExitStack, settings: CyclrSettings) -> tuple[Place, Callable[[], None]]:
    session = stack.enter_context(Session(settings, needs_workers=True, keeps_jobs=True))
    kept = stack.enter_context(KeptJobs(session))
    uploads = session.settings.cyclr_bulk_home.expanduser().absolute() / "uploads"
    place = Place(
        session.settings,
        session.database,
        Clock(),
        broker=lambda: session.broker,
        ring=session.ring,
        keep=kept.keep,
        uploads=uploads,
        find_workers_began_ago_s=session.find_workers_began_ago_s,
    )

    def tend() -> None:
        session.tend()
        kept.follow()

    return place, tend


class KeptJobs:
    """The running jobs of a home, watched for as long as the command serves: no other command takes them for abandoned."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._clock = Clock()
        self._looked_at = self._clock.moment()
        self._watches: dict[str, AbstractContextManager[None]] = {}
        self._loading: set[str] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> "KeptJobs":
        self._follow()
        return self

    def __exit__(self, *_: object) -> None:
        for job_id in list(self._watches):
            self._let_go(job_id)

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
        if self._clock.since(self._looked_at) >= LOOK_EVERY_S:
            self._looked_at = self._clock.moment()
            self._follow()

    def _follow(self) -> None:
        kept = (
            set(self._watches) - self._loading
        )  # before the look: what is loaded meanwhile is unknown to it
        engine, instance_id = self._session.database.engine, self._session.database.instance_id
        unfinished = {job.id: job.state for job in list_unfinished_jobs(engine, instance_id)}
        for job_id in kept - unfinished.keys():
            self._let_go(job_id)
        for job_id, state in unfinished.items():
            if state is JobState.RUNNING:
                self._watch(job_id)

    def _watch(self, job_id: str) -> None:
        with self._lock:
            if job_id not in self._watches:
                watch = self._session.watch(job_id)
                watch.__enter__()
                self._watches[job_id] = watch

    def _let_go(self, job_id: str) -> None:
        self._watches.pop(job_id).__exit__(None, None, None)


def _nothing() -> None:
    """A deployment has its workers and its sweep."""
