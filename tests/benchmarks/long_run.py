"""A long run: does the worker's memory stay flat, and the broker's queue short?"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from redis import Redis

from tests.benchmarks.product import open_product
from tests.benchmarks.site import Site, resident_mb
from tests.benchmarks.sizes import sizes
from tests.end_to_end.fleet.fleet import worker_processes
from worker.tickets import QUEUE

WARM_UP = 0.2  # of the installs
EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class LongRun:
    """`early_mb`, `late_mb`: of the installing process, just after the warm-up and at the end. `messages`: the most ever."""

    installs: int
    early_mb: float
    late_mb: float
    messages: int

    @property
    def growth(self) -> float:
        return self.late_mb / self.early_mb - 1


def measure(site: Site) -> LongRun:
    count = sizes().long_run_installs
    with open_product(site, CYCLR_CONCURRENCY="100") as product:
        site.stand_in(f"/reset?accounts={count}")
        job_id = product.submit(count)
        product.launch("sweep")
        worker = product.launch_worker(1)
        broker = Redis.from_url(site.valkey.url)
        memory: list[float] = []
        messages = 0
        while (done := site.count()) < count:
            assert worker.exit_code is None, worker.err
            messages = max(messages, int(broker.llen(QUEUE)))  # type: ignore[arg-type]
            if done >= count * WARM_UP:
                memory.append(resident_mb(worker_processes(worker)))
            time.sleep(EVERY_S)
        product.wait_until_completed(job_id)
        broker.close()
    return LongRun(count, _of_a_tenth(memory), _of_a_tenth(memory[::-1]), messages)


def _of_a_tenth(memory: Sequence[float]) -> float:
    """The median of the first tenth."""
    return median(memory[: max(1, len(memory) // 10)])
