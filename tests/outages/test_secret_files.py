"""A deployment whose secrets are in files of their own, as orchestrators hand them over."""

from pathlib import Path

import pytest

from tests.end_to_end.fleet.fleet import end, open_fleet
from tests.postgres import Databases
from worker.settings import secret_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_all_processes_and_commands_take_every_secret_from_its_file(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, files = tmp_path / "fleet", tmp_path / "secrets"
    for each in (folder, files):
        each.mkdir()
    with open_fleet(folder, databases) as fleet:
        fleet.release()
        assert fleet.engine is not None  # the test's own look at the database
        for name in [name.upper() for name in secret_settings()]:
            (files / name).write_text(fleet.settings.pop(name) + "\n")
            fleet.settings[f"{name}_FILE"] = str(files / name)
        fleet.launch("sweep")
        fleet.launch_worker("--concurrency", "1")
        job_id = fleet.submit(["a1", "a2", "a3"])
        fleet.wait_for(job_id, "completed")
        assert fleet.job(job_id).installed == 3
        assert fleet.say("status", job_id).code == 0
        assert end(fleet.worker) == 0
        (files / "REDIS_URL").unlink()
        worker = fleet.launch("worker")
        assert worker.wait() == 1
        assert (
            f"REDIS_URL_FILE: {files}/REDIS_URL: it cannot be read: No such file or directory" in worker.err
        )
        fleet.assert_no_secret_was_said()
