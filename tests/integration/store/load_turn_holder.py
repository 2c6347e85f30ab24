"""A process that holds the turn to load until it is killed: `python -m tests.integration.store.load_turn_holder URL`.

It begins a load of 5,001 rows within it, so that a piece is written, and says `holding`.
"""

import sys
import time

from tests.integration.store.databases import Loads, planned
from worker.store.loading import loading_turn
from worker.store.session import open_engine

if __name__ == "__main__":
    engine = open_engine(sys.argv[1])
    loads = Loads(engine)
    with loading_turn(engine):
        loader = loads.loader()
        for number in range(2, 5_003):
            loader.add(planned(number), account_exists=True)
        sys.stdout.write(f"holding {loader.job_id}\n")
        sys.stdout.flush()
        while True:
            time.sleep(60)
