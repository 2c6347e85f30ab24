"""The life of Celery's processes: what is checked before there are any, made in each, and told to them at the end.

What Celery says by itself is said in the words and at the pace of all else in the log. Its consumer, for a Redis that answers
with errors, waits and begins anew, as for one that is away; Celery loads it by its name (`worker_consumer` in `tickets.py`).
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any

from billiard.process import active_children, current_process
from celery.apps import worker as celery_worker
from celery.worker.consumer import Consumer

from worker.bootstrap.installer import RUN_S, Installer
from worker.bootstrap.place import deployment, open_database
from worker.bootstrap.starting import Starting
from worker.clock import Clock
from worker.domain.failures import ToldFailure
from worker.installing import InstallRun
from worker.lifeline import die_with_parent, write_no_core_files
from worker.redis_faults import is_error_reply, redis_server_fault
from worker.settings import load_settings
from worker.store.faults import note_database_failure, note_database_success
from worker.store.readiness import OldSchema
from worker.store.session import Engine
from worker.telemetry import (
    ALARMS,
    configure_logging,
    get_logger,
    say_cannot_start,
    take_over_process,
    write_at_once,
)
from worker.tickets import RECEIVING

HOME_IS_READY_WITHIN_S = 30.0
POLL_S = 0.02
ERROR_REPLY_PAUSE_S = 1.0
RUNNING = "beginning to install"

log = get_logger()

# One worker process is one of these: made after the fork, since neither loops nor connections survive one.
_installer: Installer | None = None


def take_over_celery(instance: Any, **_: Any) -> None:
    """`instance`: Celery's worker before it starts. Its banner and its farewell are no lines of a log."""
    instance.quiet = True
    celery_worker.safe_say = _say_farewell
    logger = logging.getLogger("celery.worker.consumer.consumer")
    if not any(isinstance(each, _Lost) for each in logger.filters):
        logger.addFilter(_Lost())


def leave_logging_alone(**_: Any) -> None:
    """Somebody listens, so Celery sets up nothing by itself: all goes the way of our own lines."""


def require_worker_can_start(**_: Any) -> None:
    """Called in Celery's main process before it forks: what no process could work with ends it, with one message.

    A database or a Redis that is away is waited for. Raises: SystemExit.
    """
    write_no_core_files()
    configure_logging()
    take_over_process()
    try:
        settings = load_settings(needs_cyclr=True, needs_deployment=True)
        for doubt in settings.doubts:
            log.warning("settings_doubted", doubt=doubt)
        assert settings.redis_url is not None
        engine = open_database(settings).engine
        try:
            _wait_until_ready(engine, settings.redis_url.get_secret_value())
        finally:
            engine.dispose()  # no connection may be shared with the processes to come
    except ToldFailure as failure:
        say_cannot_start("worker", str(failure))
        sys.exit(1)
    # What was imported stays for good: no process to come need walk it again and again.
    gc.freeze()
    gc.enable()


def _wait_until_ready(engine: Engine, broker_url: str) -> None:
    """Raises: as `Starting.look`; OldSchema only after a while for a home, whose command makes the tables meanwhile."""
    is_home = engine.dialect.name == "sqlite"
    # The Valkey of a home is seen to by its command.
    starting = Starting(engine, None if is_home else broker_url)
    began = Clock().moment()
    while True:
        try:
            return starting.wait()
        except OldSchema:
            if not is_home or Clock().since(began) > HOME_IS_READY_WITHIN_S:
                raise
        time.sleep(POLL_S)


def set_up_worker_process(**_: Any) -> None:
    """Called in each of Celery's prefork processes as it starts."""
    global _installer  # a prefork process has no other place to keep it between two tickets
    die_with_parent(current_process()._parent_pid)
    configure_logging()
    take_over_process()
    ALARMS.forget()
    _installer = Installer(deployment(load_settings()))
    gc.freeze()


def tear_down_worker_process(**_: Any) -> None:
    if _installer is not None:
        _installer.close()


def run_installs() -> None:
    """One ticket's work. SIGTERM ends it early: what was not sent is given back, what is in flight is settled."""
    assert _installer is not None, "set up by worker_process_init"

    def stop_on_sigterm(loop: asyncio.AbstractEventLoop, run: InstallRun) -> None:
        loop.add_signal_handler(signal.SIGTERM, run.stop)

    try:
        _installer.run(for_s=RUN_S, on_start=stop_on_sigterm)
    except Exception as error:  # noqa: BLE001 - the database may be away as a process begins; the next ticket tries again
        note_database_failure(error, RUNNING)
    else:
        note_database_success(RUNNING)


def stop_worker_processes(**_: Any) -> None:
    """Called in Celery's main process: its prefork processes hear nothing of a warm shutdown by themselves."""
    for process in active_children():
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)


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
