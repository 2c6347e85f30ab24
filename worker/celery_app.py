"""Celery's entry points: the app, which is the one object made at import, and its task. Of the settings it takes REDIS_URL."""

import gc
import sys

if "worker" in sys.argv:
    # What follows loads for a second, and a seventh of it would be the collector's walks through what is there already.
    # It goes on before there are worker processes: `worker_process.require_worker_can_start`.
    gc.disable()

from celery.signals import (
    celeryd_init,
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from worker.bootstrap import worker_process
from worker.settings import find_broker_url
from worker.tickets import TASK, make_celery

# Where there is none that can be used, the worker does not start, and says why.
app = make_celery(find_broker_url() or "redis://127.0.0.1:6379/0")
app.set_current()
app.task(name=TASK, ignore_result=True)(worker_process.run_installs)

celeryd_init.connect(worker_process.take_over_celery)
celeryd_init.connect(worker_process.require_worker_can_start)
worker_process_init.connect(worker_process.set_up_worker_process)
worker_process_shutdown.connect(worker_process.tear_down_worker_process)
worker_shutting_down.connect(worker_process.stop_worker_processes)
setup_logging.connect(worker_process.leave_logging_alone)
