"""The life of Celery's processes: what is checked before there are any, made in each, and told to them at the end."""

import asyncio
import gc
import os
import signal
import sys
import time
from contextlib import suppress

from billiard.process import active_children, current_process

from worker.alarms import ALARMS
from worker.bootstrap.database import open_database
from worker.bootstrap.installer import RUN_S, Installer
from worker.bootstrap.starting import Starting
from worker.clock import Clock
from worker.domain.failures import ToldFailure
from worker.installing import InstallRun
from worker.lifeline import die_with_parent
from worker.memory import write_no_core_files
from worker.settings import load_settings
from worker.store.faults import note_database_failure, note_database_success
from worker.store.readiness import OldSchema
from worker.store.session import Engine
from worker.telemetry import configure_logging, get_logger, say_cannot_start, take_over_process

HOME_IS_READY_WITHIN_S = 30.0
POLL_S = 0.02
RUNNING = "beginning to install"

log = get_logger()

# One worker process is one of these: made after the fork, since neither loops nor connections survive one.
_installer: Installer | None = None


def require_worker_can_start() -> None:
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


def set_up_worker_process() -> None:
    """Called in each of Celery's prefork processes as it starts."""
    global _installer  # a prefork process has no other place to keep it between two tickets
    die_with_parent(current_process()._parent_pid)
    configure_logging()
    take_over_process()
    ALARMS.forget()
    settings = load_settings()
    assert settings.redis_url is not None, "Celery has started this process"
    _installer = Installer(settings, open_database(settings), broker=settings.redis_url.get_secret_value())
    gc.freeze()


def tear_down_worker_process() -> None:
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


def stop_worker_processes() -> None:
    """Called in Celery's main process: its prefork processes hear nothing of a warm shutdown by themselves."""
    for process in active_children():
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
