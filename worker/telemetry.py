"""Logging: fixed snake_case events with fields, one JSON line each, to stderr or a file."""

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog

SILENCED = ("httpx", "httpcore", "aiohttp", "asyncio", "celery.utils.functional", "kombu")


def configure_logging(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send structlog's events to `stream` (stderr when None). Safe to call twice.

    The libraries are held at WARNING: at INFO httpx names every URL, and account ids are in URLs.
    """
    out = stream or sys.stderr
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _LogStream(out))),
        cache_logger_on_first_use=False,
    )
    # They tell of bytes of a body, which may be a secret's; what is wrong with a form is told to whoever sent it.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    # A line for each request that is none would let anybody fill a disk.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    for name in SILENCED:
        logging.getLogger(name).setLevel(logging.WARNING)


class _LogStream:
    """Where events are written; one that cannot be, on a full disk, is dropped: what it tells of goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def get_logger() -> structlog.typing.FilteringBoundLogger:
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
