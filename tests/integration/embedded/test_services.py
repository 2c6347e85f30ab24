import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from celery import Celery

from tests.integration.embedded.support import ROOT, HeldClock, line_of, lives, python, session_of, wait_for
from worker.clock import Clock
from worker.embedded import Home, Runtime, ServiceNotStarted, Services, WorkerPlan, find_valkey_binary
from worker.embedded.services import Restart

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

SECRET = "s3cret-0f-the-partner"
ENV = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(ROOT), "TINY_SECRET": SECRET}
PLAN = WorkerPlan(2, ENV, app="tests.integration.embedded.tiny_app")
RUN_AN_OWNER = "from tests.integration.embedded.owner import main; main()"


def owned_home(path: Path, clock: Clock) -> Home:
    home = Home(path, clock)
    assert home.try_own()
    return home


@contextmanager
def running(home: Home, plan: WorkerPlan = PLAN, clock: Clock | None = None):
    binary = find_valkey_binary()
    assert binary is not None
    services = Services(home, binary, plan, clock or Clock())
    services.start()
    try:
        yield services
    finally:
        services.kill()


def runtime_of(home: Home) -> Runtime:
    runtime = home.find_runtime()
    assert runtime is not None
    return runtime


def pid_of(home: Home, name: str) -> int:
    return runtime_of(home).children[name].pid


def workers_of(home: Home) -> list[int]:
    """The main process and its two children, once they are there."""
    main = pid_of(home, "workers")
    return wait_for(lambda: (found := session_of(main)) and len(found) == 3 and found)


def leave_a_mark(redis_url: str, path: Path) -> str:
    """What a worker wrote into the file that a task names."""
    with Celery(broker=redis_url.replace("unix://", "redis+socket://"), set_as_current=False) as app:
        app.send_task("leave_a_mark", [str(path)])
    return wait_for(lambda: path.exists() and path.read_text())


def test_services_work_start_again_after_kills_and_stop_clean(tmp_path):
    home = owned_home(tmp_path / "home", HeldClock())
    with running(home) as services:
        url = services.redis_url
        assert runtime_of(home).redis_url == url
        assert services.check() == ()
        assert leave_a_mark(url, tmp_path / "first") == SECRET
        first_workers = workers_of(home)

        os.kill(pid_of(home, "valkey"), signal.SIGKILL)
        log_path = home.path / "logs" / "valkey.log"
        assert wait_for(services.check) == (Restart("valkey", -9, 1, is_up=True, log_path=log_path),)
        assert services.redis_url == url
        with redis.Redis.from_url(url) as client:
            assert client.ping()
        assert leave_a_mark(url, tmp_path / "after a new valkey") == SECRET
        assert workers_of(home) == first_workers

        os.kill(pid_of(home, "workers"), signal.SIGKILL)
        log_path = home.path / "logs" / "workers.log"
        assert wait_for(services.check) == (Restart("workers", -9, 1, is_up=True, log_path=log_path),)
        wait_for(lambda: not any(lives(pid) for pid in first_workers))
        assert leave_a_mark(url, tmp_path / "after new workers") == SECRET

        pids = [pid_of(home, "valkey"), *workers_of(home)]
        folder = runtime_of(home).socket_folder
        assert services.stop(20)
        assert services.stop(20)
        assert [pid for pid in pids if lives(pid)] == []
        assert not folder.exists()
        assert home.find_runtime() is None
    home.release()
    assert home.try_own()
    assert home.was_stopped_cleanly
    home.release()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_however_the_command_ends_nothing_is_left_running(tmp_path, number):
    home = Home(tmp_path, HeldClock())
    with python(RUN_AN_OWNER, str(tmp_path), env=ENV) as command:
        assert line_of(command) == "ready"
        pids = [pid_of(home, "valkey"), *workers_of(home)]
        command.send_signal(number)
        command.wait(30)
        wait_for(lambda: not any(lives(pid) for pid in pids))
    assert home.try_own()
    assert home.was_stopped_cleanly == (number != signal.SIGKILL)
    assert home.end_leftovers() == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home.lock", "last-use", "logs", "watches"]
    home.release()


def test_workers_run_where_no_settings_of_others_can_be(tmp_path):
    home = owned_home(tmp_path, HeldClock())
    with running(home):
        workers = workers_of(home)
        assert {os.readlink(f"/proc/{pid}/cwd") for pid in workers} == {str(runtime_of(home).socket_folder)}
    home.release()


def test_secrets_travel_by_environment_and_stand_in_no_argv_log_or_record(tmp_path):
    home = owned_home(tmp_path, HeldClock())
    with running(home) as services:
        assert leave_a_mark(services.redis_url, tmp_path / "mark") == SECRET
        pids = [pid_of(home, "valkey"), *workers_of(home)]
        shown = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
        (tmp_path / "mark").unlink()
        written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        services.stop(20)
    assert len(shown) == 4
    assert [text for text in shown + written if SECRET.encode() in text] == []
    assert SECRET not in repr(PLAN)
    home.release()


def test_a_service_that_keeps_ending_is_started_again_at_once_then_after_growing_pauses(tmp_path):
    clock = HeldClock()
    home = owned_home(tmp_path, clock)
    plan = WorkerPlan(1, ENV, app="no.such.app")
    tried_at = []
    with running(home, plan, clock) as services:
        started_at = clock.elapsing_s
        for _ in range(20):
            wait_for(lambda: not lives(pid_of(home, "workers")))
            tried_at += [(clock.elapsing_s - started_at, restart.tries) for restart in services.check()]
            clock.elapsing_s += 0.5
            if len(tried_at) == 4:
                break
        wait_for(lambda: not lives(pid_of(home, "workers")))
        clock.elapsing_s += 60
        steady = services.check()
        assert not services.stop(1)
    assert tried_at == [(0.0, 1), (1.0, 2), (3.0, 3), (7.0, 4)]
    assert str(steady[0]) == (
        "workers ended with exit code 2 and was started again (try 1); "
        f"its log is {tmp_path / 'logs' / 'workers.log'}"
    )
    home.release()
    assert home.try_own()
    assert not home.was_stopped_cleanly
    home.release()


def test_workers_that_do_not_end_in_time_are_killed_and_the_stop_was_not_clean(tmp_path):
    home = owned_home(tmp_path, HeldClock())
    with running(home) as services:
        pids = workers_of(home)
        os.kill(pids[0], signal.SIGSTOP)
        assert not services.stop(0.1)
        wait_for(lambda: not any(lives(pid) for pid in pids))
    home.release()
    assert home.try_own()
    assert not home.was_stopped_cleanly
    home.release()


def test_half_a_start_leaves_nothing(tmp_path):
    home = owned_home(tmp_path, HeldClock())
    services = Services(home, Path("/bin/false"), PLAN, HeldClock())
    with pytest.raises(ServiceNotStarted, match="valkey did not start: it ended with exit code 1"):
        services.start()
    services.kill()
    assert services.check() == ()
    assert home.find_runtime() is None
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("cyclr-bulk-")] == []
    home.release()
