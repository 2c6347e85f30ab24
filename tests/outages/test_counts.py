"""What an install costs the database, counted: no load and no distance makes the loop claim for nothing."""

from pathlib import Path

import pytest

from tests.counts import LOADS, LONG, Load, counted
from tests.postgres import Databases


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.name.replace(" ", "_"))
def test_an_install_costs_a_claim_and_a_settle(databases: Databases, tmp_path: Path, load: Load) -> None:
    counts = counted(databases, tmp_path, load)
    # Few are claimed, or held on to, once more; before an install that follows a look each is held on to.
    assert counts.claims <= 1.05 * counts.tries
    assert counts.updates <= (3.3 if load.has_looks else 2.3) * counts.tries
    if load.rows >= LONG:
        assert counts.commits <= 0.2
    if load.name == "alone":
        assert counts.transactions <= 0.2
