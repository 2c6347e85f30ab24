"""What the clock does: rescue, finish, wipe, and ring when something is due."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from worker.settings import CyclrSettings
from worker.store.abandoned import delete_abandoned_loads
from worker.store.claiming import count_due
from worker.store.idempotency import delete_old_requests
from worker.store.session import Engine
from worker.store.upkeep import cancel_queued, finish_jobs, name_reasons, rescue, wipe_old_secrets
from worker.store.uploads import delete_expired_uploads
from worker.telemetry import get_logger

SWEEP_EVERY_S = 2.0
SWEEPING = "sweeping"
LOADER_GONE_AFTER_S = 120.0
MOST_PIECES = 20  # of one kind in one sweep, so that a long cancel does not keep the others waiting

log = get_logger()


@dataclass(frozen=True, slots=True)
class SweepRules:
    """`rescue_due_in_s`: how long a call of a lost worker, and Cyclr's work on it, may go on."""

    rescue_due_in_s: float
    secret_retention_h: float
    pause_above_percent: float

    @classmethod
    def of(cls, settings: CyclrSettings) -> Self:
        return cls(
            rescue_due_in_s=settings.cyclr_timeout_s + settings.cyclr_settle_s,
            secret_retention_h=settings.cyclr_secret_retention_h,
            pause_above_percent=settings.cyclr_pause_above_percent,
        )


def sweep(engine: Engine, instance_id: str, rules: SweepRules, ring: Callable[[], None]) -> None:
    """One sweep. Safe to repeat, and to run twice at once. `ring` sends a ticket unless one is waiting."""
    rescued = _in_pieces(lambda: rescue(engine, due_in_s=rules.rescue_due_in_s))
    if rescued:
        log.warning("items_rescued", items=rescued)
    _in_pieces(lambda: cancel_queued(engine))
    _in_pieces(lambda: name_reasons(engine))
    wipe_old_secrets(engine, retention_h=rules.secret_retention_h)
    if deleted := delete_abandoned_loads(engine, older_than_s=LOADER_GONE_AFTER_S):
        log.warning("abandoned_loads_deleted", jobs=deleted)
    delete_expired_uploads(engine)
    delete_old_requests(engine)
    finish_jobs(engine, pause_above_percent=rules.pause_above_percent)
    if count_due(engine, instance_id, limit=1):
        ring()


def _in_pieces(work: Callable[[], int]) -> int:
    """How many items it came to, over as many pieces as one sweep may take."""
    total = 0
    for _ in range(MOST_PIECES):
        done = work()
        total += done
        if not done:
            break
    return total
