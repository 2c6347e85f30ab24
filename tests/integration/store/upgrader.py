"""A process that upgrades a database when told to: `python -m tests.integration.store.upgrader URL`."""

import sys

from worker.store.readiness import upgrade
from worker.store.session import open_engine

if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    upgrade(open_engine(sys.argv[1]))
