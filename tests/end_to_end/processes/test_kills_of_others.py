"""kill -9 of the Valkey, or of the command itself."""

from functools import partial

import pytest

from tests.end_to_end.processes.kills import one_kill, seeds, until_it_hits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("seed", seeds())
@pytest.mark.parametrize("victim", ["valkey", "command"])
def test_whatever_is_killed_every_row_is_installed_once(tmp_path, victim, seed):
    until_it_hits(victim, partial(one_kill, victim), tmp_path, seed)
