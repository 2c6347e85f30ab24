"""The life of Celery's processes: what is checked before there are any, made in each, and told to them at the end."""

import asyncio
import gc
import os
import signal
import sys
import time
from contextlib import suppress

from billiard.process import active_children, current_process

from worker.bootstrap.database import open_database
from worker.bootstrap.installer import RUN_S, Installer
from worker.clock import Clock
from worker.installing import InstallRun
from worker.lifeline import die_with_parent
from worker.memory import write_no_core_files
from worker.settings import InvalidSettings, load_settings
from worker.store.postgres import WrongEncoding
from worker.store.readiness import DatabaseAway, OldSchema, require_ready
from worker.store.session import Engine
from worker.telemetry import configure_logging, get_logger

HOME_IS_READY_WITHIN_S = 30.0
POLL_S = 0.02

log = get_logger()

# One worker process is one of these: made after the fork, since neither loops nor connections survive one.
_installer: Installer | None = None


def require_worker_can_start(broker_url: str) -> None:
    """Called in Celery's main process before it forks: what no process could work with ends it, with one message.

    A database that is away does not: it may come back. Raises: SystemExit.
    """
    write_no_core_files()
    configure_logging()
    try:
        settings = load_settings(needs_cyclr=True, needs_deployment=True)
        for doubt in settings.doubts:
            log.warning("settings_doubted", doubt=doubt)
        assert settings.redis_url is not None
        if settings.redis_url.get_secret_value() != broker_url:
            raise InvalidSettings(["REDIS_URL: expected in the environment, Celery does not read .env"])
        engine = open_database(settings).engine
        try:
            _wait_until_ready(engine)
        finally:
            engine.dispose()  # no connection may be shared with the processes to come
    except DatabaseAway as error:
        log.warning("database_away", database=error.where)
    except (InvalidSettings, OldSchema, WrongEncoding) as error:
        sys.exit(f"The worker does not start. {error}")
    # What was imported stays for good: no process to come need walk it again and again.
    gc.freeze()
    gc.enable()


def _wait_until_ready(engine: Engine) -> None:
    """Raises: DatabaseAway, OldSchema; this one only after a while for a home, whose command makes the tables meanwhile."""
    began = Clock().moment()
    while True:
        try:
            return require_ready(engine)
        except OldSchema:
            if engine.dialect.name != "sqlite" or Clock().since(began) > HOME_IS_READY_WITHIN_S:
                raise
        time.sleep(POLL_S)


def set_up_worker_process() -> None:
    """Called in each of Celery's prefork processes as it starts."""
    global _installer  # a prefork process has no other place to keep it between two tickets
    die_with_parent(current_process()._parent_pid)
    configure_logging()
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

    _installer.run(for_s=RUN_S, on_start=stop_on_sigterm)


def stop_worker_processes() -> None:
    """Called in Celery's main process: its prefork processes hear nothing of a warm shutdown by themselves."""
    for process in active_children():
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
