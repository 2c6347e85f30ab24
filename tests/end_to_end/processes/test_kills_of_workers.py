"""kill -9 of one worker process, or of Celery with all of them."""

from functools import partial

import pytest

from tests.end_to_end.processes.kills import one_kill, seeds, until_it_hits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("seed", seeds())
@pytest.mark.parametrize("victim", ["worker", "celery"])
def test_whatever_is_killed_every_row_is_installed_once(tmp_path, victim, seed):
    until_it_hits(victim, partial(one_kill, victim), tmp_path, seed)
