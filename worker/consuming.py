"""Celery's consumer, for a Redis that answers with errors: it waits and begins anew, as for one that is away.

Celery loads it by its name, in the main process of workers only: `worker_consumer` in `tickets.py`.
"""

import logging
import time
import warnings
from typing import Any

from celery.worker.consumer import Consumer

from worker.redis_faults import is_error_reply, redis_fault
from worker.telemetry import get_logger

ERROR_REPLY_PAUSE_S = 1.0

log = get_logger()


class PatientConsumer(Consumer):  # type: ignore[misc] # Celery has no types
    """Whatever Redis answers (full, read-only, loading, no permission any more) ends no worker."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # What it says of a lost broker is said in `broker_away`.
        logging.getLogger("celery.worker.consumer.consumer").setLevel(logging.ERROR)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        self._wait(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        with warnings.catch_warnings():
            # Of a default that changes one day: ours was chosen.
            warnings.simplefilter("ignore")
            super().on_connection_error_after_connected(exc)
        self._wait(exc)

    def _wait(self, error: Exception) -> None:
        log.warning("broker_away", fault=redis_fault(error))
        if is_error_reply(error):
            # Celery waits between two tries to connect, and here the connection stands: it would try as fast as it can.
            time.sleep(ERROR_REPLY_PAUSE_S)
