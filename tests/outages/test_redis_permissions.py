"""The user of Redis that docs/operations.md makes: it may do what is needed, and no more is asked of it."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.end_to_end.fleet.fleet import Fleet, end, open_fleet
from tests.end_to_end.fleet.web import launch_web
from tests.end_to_end.processes.commands import ROOT, eventually
from tests.postgres import Databases

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PASSWORD = "redis-password-5d0c"
MOST_BYTES_OF_KEYS = 10_000


def documented_rule() -> list[str]:
    """The words of the command on the page, with a password."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    [rule] = re.findall(r"^ACL SETUSER bulk [^`]*", page, re.MULTILINE)
    return shlex.split(rule.replace("\\\n", " ").replace("PASSWORD", PASSWORD))


@pytest.fixture
def restricted(databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """Whose Redis has a user with that rule, and no other for the processes."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "fleet"
    folder.mkdir()
    with open_fleet(folder, databases, CYCLR_CALLS_PER_SECOND="50", CYCLR_BURST="5") as fleet:
        with redis.Redis.from_url(fleet.valkey.url) as client:
            client.execute_command(*documented_rule())
        fleet.secrets.add(PASSWORD)
        fleet.settings["REDIS_URL"] = fleet.valkey.url.replace("unix://", f"unix://bulk:{PASSWORD}@")
        fleet.release()
        yield fleet
        fleet.assert_never_twice()
        fleet.assert_no_secret_was_said()


def refusals(fleet: Fleet) -> list[str]:
    """What the user was refused, but for the name of its library, which redis-py tells and can do without."""
    with redis.Redis.from_url(fleet.valkey.url) as client:
        return [
            str(entry["object"])
            for entry in client.acl_log()
            if not str(entry["object"]).startswith("client|")
        ]


def test_a_whole_job_needs_no_more_than_the_permissions_on_the_page(restricted: Fleet) -> None:
    fleet = restricted
    fleet.launch("sweep")
    fleet.launch_worker("--concurrency", "1")
    launch_web(fleet)
    job_id = fleet.submit([f"a{number}" for number in range(60)])
    assert "calls:" in fleet.say("status", job_id).out
    fleet.wait_for(job_id, "completed")
    assert fleet.job(job_id).installed == 60
    # A worker that is restarted finds the connection of the one before gone, and works on.
    assert end(fleet.worker) == 0
    fleet.launch_worker("--concurrency", "1")
    again = fleet.submit([f"b{number}" for number in range(10)])
    fleet.wait_for(again, "completed")
    assert end(fleet.worker) == 0
    assert refusals(fleet) == []


def test_what_a_whole_job_keeps_in_redis_is_small(restricted: Fleet) -> None:
    fleet = restricted
    fleet.launch("sweep")
    fleet.launch_worker("--concurrency", "1")
    job_id = fleet.submit([f"a{number}" for number in range(100)])
    most = 0
    with redis.Redis.from_url(fleet.valkey.url) as client:

        def is_over() -> bool:
            nonlocal most
            most = max(most, sum(client.memory_usage(key) or 0 for key in client.scan_iter()))
            return bool(fleet.job(job_id).finished_at)

        eventually(is_over, "the job is over")
    assert 0 < most <= MOST_BYTES_OF_KEYS
    assert end(fleet.worker) == 0


def test_the_user_on_the_page_may_neither_read_nor_write_anything_else(restricted: Fleet) -> None:
    with redis.Redis.from_url(restricted.settings["REDIS_URL"]) as client:
        for command in (
            ("GET", "of-somebody-else"),
            ("LPUSH", "celery", "x"),
            ("CONFIG", "GET", "*"),
            ("KEYS", "*"),
            ("FLUSHALL",),
            ("PUBLISH", "of-somebody-else", "x"),
            ("ACL", "LIST"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)
