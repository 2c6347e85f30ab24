"""A process of a deployment, which nobody may be looking at: all that it says are lines of its log."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from worker.cli.exits import NOTHING_DONE, as_interrupts
from worker.cli.loading import end_loading
from worker.domain.failures import ToldFailure
from worker.settings import CyclrSettings, load_settings
from worker.telemetry import configure_logging, get_logger, say_cannot_start, take_over_process

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


def read_process_settings() -> CyclrSettings:
    """Of a process that must have all of them. Raises: InvalidSettings, which its doubts hang on."""
    settings = load_settings(needs_cyclr=True, needs_deployment=True)
    log_doubts(settings.doubts)
    return settings


def log_doubts(doubts: tuple[str, ...]) -> None:
    """What is doubtful about the settings."""
    for doubt in doubts:
        log.warning("settings_doubted", doubt=doubt)
