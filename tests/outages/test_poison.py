import os
from pathlib import Path

import pytest

from tests.end_to_end.fleet.poison import poisoned_run
from tests.postgres import Databases

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# `POISON_SEED=17` repeats one.
SEED = int(os.environ.get("POISON_SEED", "1"))


def test_a_row_that_kills_its_workers_is_given_up_alone(databases: Databases, tmp_path: Path) -> None:
    print(f"the poisoned row: seed {SEED}")  # noqa: T201 - to repeat it with POISON_SEED
    poisoned_run(tmp_path, databases, SEED)
