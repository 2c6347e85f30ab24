"""What the clock does: rescue, finish, wipe, and ring when something is due."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from worker.settings import CyclrSettings
from worker.store.api_keys import delete_old_sessions
from worker.store.claiming import count_due
from worker.store.job_states import log_ended
from worker.store.session import Engine
from worker.store.steering import forget_old_jobs
from worker.store.submissions import delete_expired_uploads, delete_old_requests
from worker.store.upkeep import (
    cancel_queued,
    delete_abandoned_loads,
    delete_forgotten,
    finish_jobs,
    name_reasons,
    rescue,
    wipe_old_secrets,
)
from worker.telemetry import get_logger

SWEEP_EVERY_S = 2.0
TIDY_EVERY_S = 60.0
SWEEPING = "sweeping"
LOADER_GONE_AFTER_S = 120.0
MOST_PIECES = 20  # of one kind in one sweep, so that a long cancel does not keep the others waiting
FORGET_PIECES = 5  # a thousand rows each, with all that hangs on them: a second on a busy server, and rescues wait meanwhile

log = get_logger()


@dataclass(frozen=True, slots=True)
class SweepRules:
    """`rescue_due_in_s`: how long a call of a lost worker, and Cyclr's work on it, may go on.

    `keep_jobs_d`: jobs that ended so many days ago are deleted; None: none is.
    """

    rescue_due_in_s: float
    secret_retention_h: float
    pause_above_percent: float
    keep_jobs_d: float | None = None

    @classmethod
    def of(cls, settings: CyclrSettings) -> Self:
        return cls(
            rescue_due_in_s=settings.cyclr_timeout_s + settings.cyclr_settle_s,
            secret_retention_h=settings.cyclr_secret_retention_h,
            pause_above_percent=settings.cyclr_pause_above_percent,
            keep_jobs_d=settings.cyclr_bulk_keep_jobs_d,
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
    _forget(engine, rules.keep_jobs_d)
    log_ended(finish_jobs(engine, pause_above_percent=rules.pause_above_percent))
    if count_due(engine, instance_id, limit=1):
        ring()


def tidy(engine: Engine) -> None:
    """What is of no use to anybody any more goes: uploads, requests that were known by their key, sessions. Nobody waits for
    that, so it is no part of a sweep. Safe to repeat."""
    delete_expired_uploads(engine)
    delete_old_requests(engine)
    delete_old_sessions(engine)


def _forget(engine: Engine, keep_jobs_d: float | None) -> None:
    old = [] if keep_jobs_d is None else forget_old_jobs(engine, keep_d=keep_jobs_d)
    if old:
        log.info("old_jobs_forgotten", jobs=len(old), job_ids=old)
    # Those of a `forget` that was cut off too.
    deleted = delete_forgotten(engine, most_pieces=FORGET_PIECES)
    if deleted.jobs or deleted.rows:
        log.info("forgotten_jobs_deleted", jobs=deleted.jobs, rows=deleted.rows)


def _in_pieces(work: Callable[[], int]) -> int:
    """How many items it came to, over as many pieces as one sweep may take."""
    total = 0
    for _ in range(MOST_PIECES):
        done = work()
        total += done
        if not done:
            break
    return total
