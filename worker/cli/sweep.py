"""`cyclr-bulk sweep`: the process of a deployment that does what the clock asks for, every two seconds."""

import time

from worker.bootstrap.starting import Starting
from worker.cli.process import read_process_settings, told_in_the_log
from worker.cli.workplace import Deployment
from worker.clock import Clock
from worker.store.faults import note_database_failure, note_database_success
from worker.sweeping import SWEEP_EVERY_S, SWEEPING, SweepRules, sweep
from worker.telemetry import get_logger

log = get_logger()


def sweep_command() -> None:
    """Until a signal asks it to end: at once, since every step of a sweep is a transaction of its own."""
    with told_in_the_log("sweep", "sweep_ended"):
        settings = read_process_settings()
        deployment = Deployment(settings)
        starting = Starting(deployment.database.engine, deployment.redis_url)
        try:
            log.info("sweep_started", every_s=SWEEP_EVERY_S, api_host=settings.api_host)
            while True:
                if not starting.is_done:
                    starting.look()
                _sweep_once(deployment, is_possible=starting.has_database)
        finally:
            deployment.database.engine.dispose()


def _sweep_once(deployment: Deployment, *, is_possible: bool) -> None:
    """One sweep, and the rest of its two seconds."""
    clock = Clock()
    began = clock.moment()
    try:
        if is_possible:
            sweep(
                deployment.database.engine,
                deployment.database.instance_id,
                SweepRules.of(deployment.settings),
                deployment.ring,
            )
            note_database_success(SWEEPING)
    except Exception as error:  # noqa: BLE001 - a sweep that failed is done again in two seconds
        note_database_failure(error, SWEEPING)
    time.sleep(max(0.0, SWEEP_EVERY_S - clock.since(began)))
