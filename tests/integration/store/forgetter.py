"""A process of a test's own that sweeps one database again and again, until it is killed: `forgetter URL`."""

import sys

from worker.store.session import open_engine
from worker.sweeping import SweepRules, sweep

RULES = SweepRules(rescue_due_in_s=90, secret_retention_h=72, pause_above_percent=20, keep_jobs_d=30)

if __name__ == "__main__":
    engine = open_engine(sys.argv[1])
    while True:
        sweep(engine, "instance-a", RULES, lambda: None)
