"""A Celery app with one task, in the place of the product's."""

import os
from pathlib import Path

from billiard.process import current_process
from celery import Celery
from celery.signals import worker_process_init

from worker.lifeline import die_with_parent

app = Celery("tiny", broker=os.environ["REDIS_URL"].replace("unix://", "redis+socket://"))
app.conf.update(
    accept_content=["json"],
    broker_connection_max_retries=None,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_disable_prefetch=True,
)


@worker_process_init.connect
def end_with_the_main_process(**_: object) -> None:
    die_with_parent(current_process()._parent_pid)


@app.task(name="leave_a_mark")
def leave_a_mark(path: str) -> None:
    Path(path).write_text(os.environ["TINY_SECRET"])
