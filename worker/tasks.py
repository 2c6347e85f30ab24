"""Celery tasks, three lines each."""

from celery import shared_task

from worker.bootstrap import worker_process
from worker.tickets import TASK


@shared_task(name=TASK, ignore_result=True)
def install() -> None:
    """Run the install loop for a while."""
    worker_process.run_installs()
