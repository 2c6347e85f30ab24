"""A command that owns the home given and runs its services until it is asked to end."""

import os
import sys
from pathlib import Path

from worker.clock import Clock
from worker.embedded import Home, Services, WorkerPlan, find_valkey_binary, interrupts


def main() -> None:
    home = Home(Path(sys.argv[1]), Clock())
    assert home.try_own()
    home.end_leftovers()
    binary = find_valkey_binary()
    assert binary is not None
    plan = WorkerPlan(2, dict(os.environ), app="tests.integration.embedded.tiny_app")
    services = Services(home, binary, plan, Clock())
    with interrupts() as asked:
        services.start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while not asked.wait(0.2):
            services.check()
        services.stop(20)
    home.release()


if __name__ == "__main__":
    main()
