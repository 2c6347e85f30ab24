"""Logging: fixed snake_case events with fields, one JSON line each, to stderr or a file; what libraries log too.

Alarms: one line for each fault of a server and minute, and one when it is over. `database_away`, `redis_away`, `cyclr_away`,
then `database_back` and so on; this is the only place that logs them.
"""

import json
import logging
import os
import sys
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from traceback import extract_tb
from types import TracebackType
from typing import Any, TextIO, cast

import structlog

from worker.clock import Clock, Moment
from worker.domain.server_faults import Server, ServerFault, sentence

SILENCED = ("httpx", "httpcore", "aiohttp", "asyncio", "celery.utils.functional", "kombu")
SAID_EVERY_S = 60.0
# Of what a process says before and after its work.
CANNOT_START = "cannot_start"
CRASHED = "crashed"
LIBRARY_SAID = "library_said"


def configure_logging(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send structlog's events to `stream` (stderr when None), and what libraries log. Safe to call twice.

    The libraries are held at WARNING: at INFO httpx names every URL, and account ids are in URLs.
    """
    out = cast(TextIO, _LogStream(stream or sys.stderr))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    # They tell of bytes of a body, which may be a secret's; what is wrong with a form is told to whoever sent it.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    # A line for each request that is none would let anybody fill a disk.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    for name in SILENCED:
        logging.getLogger(name).setLevel(logging.WARNING)
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, LibraryLines)]:
        root.removeHandler(handler)
    root.addHandler(LibraryLines())


def take_over_process() -> None:
    """For a process of a deployment: warnings and errors that nobody catches are lines of the log too.

    An error is told by its class and its place, since its text may hold anything.
    """
    logging.captureWarnings(True)
    # Of loggers that hand nothing on to the root.
    logging.lastResort = LibraryLines()
    sys.excepthook = _crashed
    threading.excepthook = lambda caught: _crashed(caught.exc_type, caught.exc_value, caught.exc_traceback)
    sys.unraisablehook = lambda caught: _crashed(caught.exc_type, caught.exc_value, caught.exc_traceback)


def say_cannot_start(process: str, reason: str) -> None:
    """In words to a person at a terminal, else as a line of the log."""
    if sys.stderr.isatty():
        sys.stderr.write(f"The {process} does not start. {reason}\n")
    else:
        get_logger().error(CANNOT_START, process=process, reason=reason)


def write_at_once(event: str, **fields: object) -> None:
    """An event past all buffers and locks, for where a signal is handled. Only to stderr."""
    line = {"event": event, **fields, "level": "info", "timestamp": datetime.now(UTC).isoformat()}
    with suppress(OSError):
        os.write(2, f"{json.dumps(line)}\n".encode())


def where_it_was(trace: TracebackType | None) -> list[str]:
    """The last places of an error's way up, the innermost last."""
    return [f"{Path(frame.filename).name}:{frame.lineno}" for frame in extract_tb(trace)][-5:]


class OnceAMinute:
    """Which lines are due: one of a kind a minute. Not for several threads at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said: dict[tuple[str, ...], tuple[Moment, int]] = {}

    def left_out(self, key: tuple[str, ...]) -> int | None:
        """How many of this kind were left out before the one that is due now; None where none is."""
        at, left_out = self._said.get(key, (None, 0))
        if at is not None and self._clock.since(at) < SAID_EVERY_S:
            self._said[key] = at, left_out + 1
            return None
        self._said[key] = self._clock.moment(), 0
        return left_out


class LibraryLines(logging.Handler):
    """What a library logs, as an event: its first line, once a minute. Beside an error the text is left out."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(logging.WARNING)
        self._due = OnceAMinute(clock or Clock())

    def emit(self, record: logging.LogRecord) -> None:
        left_out = self._due.left_out((record.name, str(record.msg)))
        if left_out is None:
            return
        fields: dict[str, Any] = {"logger": record.name, "message": _message(record), "left_out": left_out}
        kind, _, trace = record.exc_info or (None, None, None)
        if kind is not None:
            fields |= {"error": kind.__name__, "where": where_it_was(trace)}
        get_logger().log(min(record.levelno, logging.CRITICAL), LIBRARY_SAID, **fields)


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


def _message(record: logging.LogRecord) -> str:
    """Errors among what it is about are told by their class."""
    if record.exc_info:
        return sentence(str(record.msg))
    if isinstance(record.args, tuple):
        given = tuple(
            type(each).__name__ if isinstance(each, BaseException) else each for each in record.args
        )
        with suppress(TypeError, ValueError):
            return sentence(str(record.msg) % given if given else str(record.msg))
    with suppress(TypeError, ValueError):
        return sentence(record.getMessage())
    return sentence(str(record.msg))


def _crashed(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt | SystemExit):
        get_logger().critical(CRASHED, error=kind.__name__, where=where_it_was(trace))


# What is not tried again for so long is taken for done when something else of its server goes well.
FORGOTTEN_AFTER_S = 120.0

AWAY = {
    Server.DATABASE: "database_away",
    Server.REDIS: "redis_away",
    Server.CYCLR: "cyclr_away",
}
BACK = {
    Server.DATABASE: "database_back",
    Server.REDIS: "redis_back",
    Server.CYCLR: "cyclr_back",
}

log = get_logger()


@dataclass(slots=True)
class _Episode:
    """From the first failure to the moment when all that failed has gone well again."""

    fault: ServerFault
    began: Moment
    failing: dict[str, Moment] = field(default_factory=dict)  # deed -> when it failed last
    times: int = 0
    is_said: bool = False


class Alarms:
    """What this process sees of its servers. From any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.forget()

    def forget(self) -> None:
        """As if nothing had been seen: a process that was forked has seen nothing itself."""
        self._lock = threading.Lock()
        self._due = OnceAMinute(self._clock)
        self._episodes: dict[Server, _Episode] = {}
        self._counts: Counter[tuple[Server, str]] = Counter()

    def failed(self, fault: ServerFault, doing: str, *, after: int = 1) -> None:
        """`doing`: what was tried, in a word or two. `after`: so many in a row, or nothing is said of them."""
        with self._lock:
            self._counts[fault.server, fault.label] += 1
            now = self._clock.moment()
            episode = self._episodes.setdefault(fault.server, _Episode(fault, now))
            episode.fault = fault
            episode.failing[doing] = now
            episode.times += 1
            if episode.times < after:
                return
            left_out = self._due.left_out((fault.server, fault.kind))
            if left_out is None:
                return
            episode.is_said = True
            since_s = round(self._clock.since(episode.began))
            fields = {"class": fault.kind, "said": fault.said, "pid": os.getpid(), "doing": doing}
            fields |= {"since_s": since_s, "left_out": left_out}
            log.warning(AWAY[fault.server], **fields)

    def went_well(self, server: Server, doing: str) -> None:
        """What was tried has been done. Cheap where nothing had failed."""
        if server not in self._episodes:
            return
        with self._lock:
            episode = self._episodes.get(server)
            if episode is None:
                return
            since = self._clock.since
            episode.failing.pop(doing, None)
            episode.failing = {
                deed: at for deed, at in episode.failing.items() if since(at) < FORGOTTEN_AFTER_S
            }
            if episode.failing:
                return
            del self._episodes[server]
            if episode.is_said:
                fault, after_s = episode.fault, round(since(episode.began))
                told = {
                    "class": fault.kind,
                    "after_s": after_s,
                    "times": episode.times,
                    "pid": os.getpid(),
                }
                log.info(BACK[server], **told)

    def crashed(self, event: str, error: BaseException, **fields: object) -> None:
        """An error of ours, by its class and its place alone, since its text may hold anything; once a minute too."""
        with self._lock:
            left_out = self._due.left_out((event, type(error).__name__))
            if left_out is not None:
                where = where_it_was(error.__traceback__)
                log.error(event, error=type(error).__name__, where=where, left_out=left_out, **fields)

    def find(self, server: Server) -> ServerFault | None:
        """What ails this server now, as far as this process knows."""
        episode = self._episodes.get(server)
        return None if episode is None else episode.fault

    def counts(self) -> dict[tuple[Server, str], int]:
        """(server, label of the class) -> how often since the process began."""
        with self._lock:
            return dict(self._counts)


ALARMS = Alarms(Clock())  # of this process, as its log is
