"""A process in the middle of a load: `python -m tests.integration.store.slow_loader URL FIRST LAST`.

It loads the rows FIRST to LAST, says `holding JOB` once a piece of them is written, and goes on when it is told so by a line;
then it says `running`, or why not.
"""

import sys

from tests.integration.store.databases import Loads, planned
from worker.store.loading import LoadLost
from worker.store.memory import MustGiveWay
from worker.store.session import open_engine

if __name__ == "__main__":
    engine = open_engine(sys.argv[1])
    loader = Loads(engine).loader()
    for number in range(int(sys.argv[2]), int(sys.argv[3]) + 1):
        loader.add(planned(number), account_exists=True)
    loader.write()
    print(f"holding {loader.job_id}", flush=True)  # noqa: T201 - to the test
    sys.stdin.readline()
    try:
        loader.finish()
    except (LoadLost, MustGiveWay) as error:
        loader.abandon()
        print(f"{type(error).__name__}: {error}", flush=True)  # noqa: T201
    else:
        print("running", flush=True)  # noqa: T201
    engine.dispose()
