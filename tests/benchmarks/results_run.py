"""One export in a process of its own: `python -m tests.benchmarks.results_run DATABASE_URL JOB FILE`.

Prints the seconds, the memory before it began and its peak, in MB, as JSON.
"""

import json
import resource
import sys
import time
from pathlib import Path

from worker.jobs.results import write_result_file
from worker.store.jobs import get_job
from worker.store.session import open_engine


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    url, job_id, file = sys.argv[1:]
    engine = open_engine(url)
    get_job(engine, job_id)
    idle_mb, began = peak_mb(), time.monotonic()
    rows = write_result_file(engine, job_id, Path(file))
    took_s = time.monotonic() - began
    print(json.dumps({"rows": rows, "took_s": took_s, "idle_mb": idle_mb, "peak_mb": peak_mb()}))
