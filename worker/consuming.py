"""Celery's consumer, for a Redis that answers with errors: it waits and begins anew, as for one that is away.

Celery loads it by its name, in the main process of workers only: `worker_consumer` in `tickets.py`.
"""

import time

from celery.worker.consumer import Consumer

from worker.redis_faults import is_error_reply

ERROR_REPLY_PAUSE_S = 1.0


class PatientConsumer(Consumer):  # type: ignore[misc] # Celery has no types
    """Begins anew in its own time: whatever Redis answers (full, read-only, loading, forbidden) is tried again for ever."""

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        super().on_connection_error_before_connected(exc)
        _wait_after(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        super().on_connection_error_after_connected(exc)
        _wait_after(exc)


def _wait_after(error: Exception) -> None:
    """Celery waits between two tries to connect; where a connection stands it would begin anew as fast as it can."""
    if is_error_reply(error):
        time.sleep(ERROR_REPLY_PAUSE_S)
