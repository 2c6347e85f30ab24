"""The Valkey and the workers of a home, started by the command that owns it."""

import os
from pathlib import Path

from worker.clock import Clock
from worker.embedded import Home, Services, WorkerPlan
from worker.settings import CyclrSettings

WORKER_PROCESSES = 2
OUR_VARIABLES = ("CYCLR_", "DATABASE_URL", "REDIS_URL")


def start_services(
    home: Home, binary: Path, settings: CyclrSettings, clock: Clock, *, needs_workers: bool
) -> Services:
    """`binary`: of a Valkey. `settings`: with the home's own. Raises: ServiceNotStarted."""
    plan = WorkerPlan(
        processes=WORKER_PROCESSES if needs_workers else 0,
        env=environment_without_ours() | settings.as_environment(),
    )
    services = Services(home, binary, plan, clock)
    services.start()
    return services


def environment_without_ours() -> dict[str, str]:
    """Nothing of `.env` or of the environment may reach a process that we start past the settings that were read here."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OUR_VARIABLES)}
