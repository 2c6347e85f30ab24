"""`cyclr-bulk sweep`: the process of a deployment that does what the clock asks for, every two seconds."""

import time
from contextlib import ExitStack

from worker.bootstrap.redis_server import require_usable_redis
from worker.cli.exits import failures_in_words
from worker.cli.given_settings import read_settings
from worker.cli.workplace import Deployment, open_deployment
from worker.clock import Clock
from worker.sweeping import SWEEP_EVERY_S, SweepRules, sweep
from worker.telemetry import configure_logging, get_logger

log = get_logger()


def sweep_command() -> None:
    """Until a signal asks it to end: at once, since every step of a sweep is a transaction of its own."""
    with failures_in_words(nothing_done="Nothing is swept."), ExitStack() as stack:
        settings = read_settings(needs_cyclr=True, needs_deployment=True)
        deployment = open_deployment(stack, settings)
        configure_logging()
        require_usable_redis(deployment.redis_url)
        try:
            log.info("sweep_started", every_s=SWEEP_EVERY_S, api_host=settings.api_host)
            while True:
                _sweep_once(deployment)
        except KeyboardInterrupt:
            log.info("sweep_ended")


def _sweep_once(deployment: Deployment) -> None:
    """One sweep, and the rest of its two seconds."""
    clock = Clock()
    began = clock.moment()
    try:
        sweep(
            deployment.database.engine,
            deployment.database.instance_id,
            SweepRules.of(deployment.settings),
            deployment.ring,
        )
    except Exception as error:  # noqa: BLE001 - a sweep that failed is done again in two seconds
        log.warning("sweep_failed", error=type(error).__name__)
    time.sleep(max(0.0, SWEEP_EVERY_S - clock.since(began)))
