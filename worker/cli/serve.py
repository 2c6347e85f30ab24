"""`cyclr-bulk serve`: the HTTP API and the dashboard, of a deployment or of the home."""

import errno
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Annotated

import typer

from worker.bootstrap.starting import Starting
from worker.cli.exits import failures_in_words, say, tell
from worker.cli.process import log_doubts, told_in_the_log
from worker.cli.session import Session
from worker.cli.workplace import Deployment, say_doubts
from worker.clock import Clock
from worker.domain.failures import ToldFailure
from worker.domain.states import JobState
from worker.embedded import interrupts
from worker.settings import CyclrSettings, InvalidSettings, load_settings
from worker.store.api_keys import list_keys
from worker.store.jobs import list_unfinished_jobs
from worker.store.readiness import DatabaseAway, lost_database_in_words
from worker.telemetry import get_logger
from worker.web.app import create_app
from worker.web.place import Place
from worker.web.serving import WebServer

LOOPBACK = "127.0.0.1"
ANYWHERE = "0.0.0.0"  # noqa: S104 - a deployment's process is reached from its proxy
TEND_EVERY_S = 0.2
LOOK_EVERY_S = 1.0
LISTENS_ON = "Serving on "
PROCESS = "web process"
ENDED = "web_ended"
NO_KEY = "There is no API key yet. Make one with `cyclr-bulk api-keys create NAME --scope write`."

SERVE_EXAMPLES = """\b
Examples:
  cyclr-bulk serve
  cyclr-bulk serve --port 9000"""

app = typer.Typer(rich_markup_mode=None)
log = get_logger()


@app.command("serve", epilog=SERVE_EXAMPLES)
def serve_command(
    host: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Where it listens. Default: this machine only; in a deployment every address.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, metavar="P", envvar="PORT", help="0: any free one.")
    ] = 8080,
) -> None:
    """Serve the HTTP API and the dashboard until it is stopped.

    Of the deployment that DATABASE_URL names; else of the home, with its Valkey and its workers beside it.
    """
    try:
        settings = load_settings(needs_cyclr=True, needs_deployment=None)
    except InvalidSettings as invalid:
        with told_in_the_log(PROCESS, ENDED) if invalid.is_deployed else _in_words():
            if not invalid.is_deployed:
                say_doubts(invalid.doubts)
            raise
    if settings.is_deployed:
        with told_in_the_log(PROCESS, ENDED):
            log_doubts(settings.doubts)
            _serve_deployment(settings, host or ANYWHERE, port)
    else:
        with _in_words(), ExitStack() as stack:
            say_doubts(settings.doubts)
            place, tend = _open_home(stack, settings)
            _serve(place, host or LOOPBACK, port, _begin_in_words, tend)


def _in_words() -> AbstractContextManager[None]:
    return failures_in_words(nothing_done="Nothing is served.")


class AddressInUse(ToldFailure):
    """Nobody can listen there."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        reason = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror
        super().__init__(
            f"{host}, port {port}, cannot be used: {reason}. Name another with --port; 0 takes any free one."
        )


class NoHost(ToldFailure):
    """What was given is no name of a host."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} cannot be used: expected an address or the name of a host.")


def _serve(
    place: Place, host: str, port: int, begin: Callable[[Place, str], None], tend: Callable[[], None]
) -> None:
    """Until a signal asks it to end. `begin`: called once with the address. Raises: AddressInUse, NoHost, what `tend` raises."""
    try:
        server = WebServer(create_app(place), host, port)
    except OSError as error:
        raise AddressInUse(host, port, error) from None
    except UnicodeError:  # of the rules for names of hosts, before anybody is asked for it
        raise NoHost(host) from None
    with interrupts() as asked, server:
        shown = f"[{host}]" if ":" in host else host
        begin(place, f"http://{shown}:{server.port}")
        while not asked.wait(TEND_EVERY_S) and server.is_alive:
            tend()
    if not asked.is_set:
        raise EndedByItself


class EndedByItself(ToldFailure):
    """The server's thread has gone."""

    def __init__(self) -> None:
        super().__init__("The server has ended by itself; its log says why.")


def _begin_in_words(place: Place, address: str) -> None:
    tell(f"{LISTENS_ON}{address}")
    if not _has_key(place):
        say(NO_KEY)


def _has_key(place: Place) -> bool:
    return any(key.is_valid(place.clock.now()) for key in list_keys(place.database.engine))


def _serve_deployment(settings: CyclrSettings, host: str, port: int) -> None:
    """It listens at once, so that whoever restarts or sends requests can ask it; what it needs it waits for beside that."""
    deployment = Deployment(settings)
    starting = Starting(deployment.database.engine, deployment.redis_url)
    is_told = False

    def begin(_place: Place, address: str) -> None:
        if sys.stdout.isatty():
            tell(f"{LISTENS_ON}{address}")
        else:
            log.info("web_started", address=address)
        starting.wait_beside()

    def tend() -> None:
        nonlocal is_told
        if starting.error is not None:
            raise starting.error
        if starting.is_done and not is_told:
            is_told = True
            threading.Thread(target=_warn_without_key, args=(place,), daemon=True).start()

    place = _place_of(deployment)
    try:
        _serve(place, host, port, begin, tend)
    finally:
        deployment.database.engine.dispose()
    log.info(ENDED)


def _warn_without_key(place: Place) -> None:
    with suppress(DatabaseAway), lost_database_in_words(place.database.engine):
        if not _has_key(place):
            log.warning("no_api_key", hint=NO_KEY)


def _place_of(deployment: Deployment) -> Place:
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
