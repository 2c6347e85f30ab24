"""A deployment whose processes are replaced one by one: those of the version before work on beside the new ones, on the schema
of this version, and the jobs of both end right."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from tarfile import TarFile

import pytest
from alembic import command

from tests.end_to_end.fleet.fleet import CONNECTOR, Fleet, open_fleet, worker_processes
from tests.end_to_end.processes.commands import ROOT, Command, eventually
from tests.postgres import Databases
from tests.started import run_process
from worker.simulator.world import Install
from worker.store.readiness import alembic_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

BEFORE = "bce18fc"  # the last commit whose schema is 0012
ACCOUNTS = [f"account-{number}" for number in range(400)]
NEVER_SAID = ("settlement_refused", "verdicts_dropped", "attempt_crashed", "Traceback")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the version before."""
    git = ["git", "-C", str(ROOT), "archive", "--format=tar", BEFORE, "worker", "migrations"]
    found = run_process(git, capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"there is no history here with the commit {BEFORE}, so the version before cannot be had")
    folder = tmp_path_factory.mktemp("before")
    with TarFile(fileobj=BytesIO(found.stdout)) as tree:
        tree.extractall(folder, filter="data")
    return folder


@pytest.fixture
def fleet(databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """With an empty database, and no process yet."""
    monkeypatch.chdir(tmp_path)
    with open_fleet(tmp_path / "fleet", databases, CYCLR_CALLS_PER_SECOND="20", CYCLR_BURST="5") as opened:
        yield opened
        opened.assert_never_twice()
        opened.assert_no_secret_was_said()
        said = "".join(each.err for each in opened.commands)
        assert [word for word in NEVER_SAID if word in said] == []


def launch_earlier(fleet: Fleet, before: Path, name: str, *more: str) -> Command:
    launched = fleet.launch(name, *more, PYTHONPATH=str(before))
    if name == "worker":
        eventually(lambda: worker_processes(launched), "the worker has its processes")
    return launched


def submit_earlier(fleet: Fleet, before: Path, accounts: list[str], *options: str) -> str:
    """The id of a job that the version before loads."""
    words = ["cyclr-bulk", "submit", str(fleet.file(accounts)), "--yes", *options]
    submitting = Command(
        words, env=fleet.environment(PYTHONPATH=str(before)), folder=fleet.folder, name="submit"
    )
    assert submitting.wait() == 0, submitting.err
    return submitting.out.strip()


def test_a_job_of_the_version_before_is_ended_by_this_one(fleet: Fleet, before: Path) -> None:
    command.upgrade(alembic_config(fleet.engine), "0012")
    sweep = launch_earlier(fleet, before, "sweep")
    worker = launch_earlier(fleet, before, "worker", "--concurrency", "2")
    job_id = submit_earlier(fleet, before, ACCOUNTS)
    fleet.wait_for_installs(ACCOUNTS, 20)
    fleet.release()
    # It works on, on a schema that it does not know.
    fleet.wait_for_installs(ACCOUNTS, len(fleet.calls("install", ACCOUNTS)) + 20)
    assert fleet.say("pause", job_id).code == 0
    fleet.launch("sweep")
    fleet.launch_worker("--concurrency", "2")
    assert fleet.say("resume", job_id).code == 0
    fleet.wait_for_installs(ACCOUNTS, len(fleet.calls("install", ACCOUNTS)) + 30)
    assert (sweep.exit_code, worker.exit_code) == (None, None)
    for each in (sweep, worker):
        each.kill()
    fleet.wait_for(job_id, "completed")
    assert set(fleet.states(job_id)) == {"installed"}
    assert {item.outcome for item in fleet.items(job_id)} <= {"created", "recovered"}
    job = fleet.job(job_id)
    assert (job.installed, job.failed, job.options) == (400, 0, None)


def test_a_job_of_this_version_is_done_by_a_worker_of_the_version_before(fleet: Fleet, before: Path) -> None:
    fleet.release()
    launch_earlier(fleet, before, "sweep")
    launch_earlier(fleet, before, "worker", "--concurrency", "2")
    accounts = ACCOUNTS[:20]
    file = fleet.file(accounts)
    by_hand = Install(name="By hand")
    fleet.change(lambda world: world.add_installed(accounts[7], world.find_release(CONNECTOR), by_hand))
    submitted = fleet.say("submit", file, "--yes")
    assert submitted.code == 0, submitted.err
    job_id = submitted.out.strip()
    fleet.wait_for(job_id, "completed")
    ended = {item.account_id: (item.state, item.outcome, item.code) for item in fleet.items(job_id)}
    left_alone = ("installed", "adopted", "present_under_other_name")
    assert ended == dict.fromkeys(accounts, ("installed", "created", None)) | {accounts[7]: left_alone}
    said = fleet.say("status", job_id)
    assert said.code == 0, said.err
