"""`cyclr-bulk serve`: the HTTP API and the dashboard, of a deployment or of the home."""

import errno
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Annotated

import typer

from worker.bootstrap.place import Place, deployment
from worker.bootstrap.starting import Starting
from worker.cli.home import TendedHome
from worker.cli.place import say_doubts
from worker.cli.process import log_doubts, told_in_the_log
from worker.cli.terminal import failures_in_words, say, tell
from worker.domain.failures import ToldFailure
from worker.embedded import interrupts
from worker.settings import CyclrSettings, InvalidSettings, load_settings
from worker.store.api_keys import list_keys
from worker.store.faults import DatabaseAway, lost_database_in_words
from worker.telemetry import get_logger
from worker.web.app import create_app
from worker.web.serving import WebServer

LOOPBACK = "127.0.0.1"
ANYWHERE = "0.0.0.0"  # noqa: S104 - a deployment's process is reached from its proxy
TEND_EVERY_S = 0.2
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
            home = stack.enter_context(TendedHome(settings, needs_workers=True, keeps_jobs=True))
            _serve(home, host or LOOPBACK, port, _begin_in_words, home.tend)


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
    place = deployment(settings)
    starting = Starting(place.database.engine, place.redis_url)
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

    try:
        _serve(place, host, port, begin, tend)
    finally:
        place.database.engine.dispose()
    log.info(ENDED)


def _warn_without_key(place: Place) -> None:
    with suppress(DatabaseAway), lost_database_in_words(place.database.engine):
        if not _has_key(place):
            log.warning("no_api_key", hint=NO_KEY)
