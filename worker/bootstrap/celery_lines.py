"""What Celery says by itself, in the words and at the pace of all else in the log: one place for its loggers and prints."""

import logging
from typing import Any

from celery.apps import worker as celery_worker

from worker.alarms import ALARMS
from worker.domain.server_faults import Server
from worker.redis_faults import redis_server_fault
from worker.telemetry import write_at_once

RECEIVING = "waiting for a ticket"
_CONSUMER = "celery.worker.consumer.consumer"
_CONNECTION = "celery.worker.consumer.connection"


def take_over_celery(instance: Any) -> None:
    """`instance`: Celery's worker before it starts. Its banner and its farewell are no lines of a log."""
    instance.quiet = True
    celery_worker.safe_say = _say_farewell
    for name, filter_ in ((_CONSUMER, _Lost()), (_CONNECTION, _Connected())):
        logger = logging.getLogger(name)
        if not any(isinstance(each, type(filter_)) for each in logger.filters):
            logger.addFilter(filter_)
    logging.getLogger(_CONNECTION).setLevel(logging.INFO)


class _Lost(logging.Filter):
    """A broker that was lost, or that is not reached: tried again for ever, said once a minute."""

    def filter(self, record: logging.LogRecord) -> bool:
        given = record.args if isinstance(record.args, tuple) else ()
        error = next((each for each in given if isinstance(each, Exception)), None)
        if error is None:
            return True
        ALARMS.failed(redis_server_fault(error), RECEIVING)
        return False


class _Connected(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith("Connected to"):
            ALARMS.went_well(Server.REDIS, RECEIVING)
        return record.levelno >= logging.WARNING


def _say_farewell(text: str, *_: object) -> None:
    write_at_once("worker_ending", message=text.strip())
