"""kill -9 of several processes in one run."""

import pytest

from tests.end_to_end.processes.kills import many_kills, seeds, until_it_hits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_after_several_kills_of_different_processes_every_row_is_installed_once(tmp_path):
    until_it_hits("many", many_kills, tmp_path, seeds()[0])
