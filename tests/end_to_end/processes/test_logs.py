"""The logs of a home stay small, whoever writes them."""

import pytest

from tests.end_to_end.processes.site import account_ids, open_site
from worker.embedded.services import LOG_LIMIT_BYTES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ACCOUNTS = 300  # three seconds of calls: logs are looked at every second


def test_every_log_that_has_grown_too_large_is_cut_while_a_command_runs(tmp_path):
    with open_site(tmp_path, account_ids(ACCOUNTS)) as site:
        logs = site.home / "logs"
        first = site.run(site.file(account_ids(1), "one.csv"))
        assert first.wait() == 0, first.err
        names = ["command.log", "valkey.log", "workers.log"]
        assert sorted(path.name for path in logs.iterdir()) == names
        for name in names:
            (logs / name).write_bytes(b"x" * (LOG_LIMIT_BYTES + 1))
        command = site.run(site.file(account_ids(ACCOUNTS)))
        assert command.wait() == 0, command.err
        for name in names:
            assert (logs / name).stat().st_size < LOG_LIMIT_BYTES
            assert (logs / f"{name}.1").stat().st_size == LOG_LIMIT_BYTES
        site.wait_until_nothing_runs()
