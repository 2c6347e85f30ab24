"""What Celery says by itself, in the words and at the pace of all else in the log: one place for its loggers and prints."""

import logging
from typing import Any

from celery.apps import worker as celery_worker

from worker.alarms import ALARMS
from worker.redis_faults import redis_server_fault
from worker.telemetry import write_at_once
from worker.tickets import RECEIVING

_CONSUMER = "celery.worker.consumer.consumer"


def take_over_celery(instance: Any) -> None:
    """`instance`: Celery's worker before it starts. Its banner and its farewell are no lines of a log."""
    instance.quiet = True
    celery_worker.safe_say = _say_farewell
    logger = logging.getLogger(_CONSUMER)
    if not any(isinstance(each, _Lost) for each in logger.filters):
        logger.addFilter(_Lost())


class _Lost(logging.Filter):
    """A broker that was lost, or that is not reached: tried again for ever, said once a minute."""

    def filter(self, record: logging.LogRecord) -> bool:
        given = record.args if isinstance(record.args, tuple) else ()
        error = next((each for each in given if isinstance(each, Exception)), None)
        if error is None:
            return True
        ALARMS.failed(redis_server_fault(error), RECEIVING)
        return False


def _say_farewell(text: str, *_: object) -> None:
    write_at_once("worker_ending", message=text.strip())
