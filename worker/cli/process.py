"""The processes of a deployment, which nobody may be looking at: the sweep, and what each says in its log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from worker.bootstrap.place import deployment
from worker.bootstrap.starting import Starting
from worker.cli.terminal import (
    NOTHING_DONE,
    as_interrupts,
    end_loading,
)
from worker.clock import Clock
from worker.domain.failures import ToldFailure
from worker.settings import load_settings
from worker.sweeping import SWEEP_EVERY_S
from worker.telemetry import configure_logging, get_logger, say_cannot_start, take_over_process

SWEEP_EXAMPLES = """\b
Example:
  cyclr-bulk sweep"""

app = typer.Typer(rich_markup_mode=None)
log = get_logger()


@contextmanager
def told_in_the_log(name: str, ended: str) -> Iterator[None]:
    """`name`: of the process. Why it cannot start is one line, in words at a terminal; a signal ends it with the event `ended`."""
    end_loading()
    configure_logging()
    take_over_process()
    try:
        with as_interrupts():
            yield
    except KeyboardInterrupt:
        log.info(ended)
    except ToldFailure as failure:
        log_doubts(getattr(failure, "doubts", ()))
        say_cannot_start(name, str(failure))
        raise typer.Exit(NOTHING_DONE) from None


def log_doubts(doubts: tuple[str, ...]) -> None:
    """What is doubtful about the settings."""
    for doubt in doubts:
        log.warning("settings_doubted", doubt=doubt)


@app.command("sweep", epilog=SWEEP_EXAMPLES)
def sweep_command() -> None:
    """Every two seconds: take back what lost workers held, ring for what is due, finish jobs. Two may run at once."""
    # A signal ends it at once, since every step of a sweep is a transaction of its own.
    with told_in_the_log("sweep", "sweep_ended"):
        settings = load_settings(needs_cyclr=True, needs_deployment=True)
        log_doubts(settings.doubts)
        place, clock = deployment(settings), Clock()
        starting = Starting(place.database.engine, place.redis_url)
        try:
            log.info("sweep_started", every_s=SWEEP_EVERY_S, api_host=settings.api_host)
            while True:
                if not starting.is_done:
                    starting.look()
                began = clock.moment()
                if starting.has_database:
                    place.sweep()
                time.sleep(max(0.0, SWEEP_EVERY_S - clock.since(began)))
        finally:
            place.database.engine.dispose()
