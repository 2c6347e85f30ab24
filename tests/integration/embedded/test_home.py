import base64
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.embedded.support import HeldClock, line_of, lives, mode_of, python, wait_for
from tests.started import start_process
from worker.embedded import Home, HomeUnusable, Runtime
from worker.embedded.processes import ProcessMark

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

RACE_TO_OWN = """
import sys, time
from pathlib import Path
from worker.clock import Clock
from worker.embedded import Home
home = Home(Path(sys.argv[1]), Clock())
print("at the start", flush=True)
sys.stdin.readline()
tries = 1
while not home.try_own():
    if tries == 1:
        print("second", flush=True)
    tries += 1
    time.sleep(0.02)
print("owner", home.was_stopped_cleanly, flush=True)
time.sleep(1000)
"""
WATCH = """
import sys, time
from pathlib import Path
from worker.clock import Clock
from worker.embedded import Home
with Home(Path(sys.argv[1]), Clock()).watch("job_1"):
    print("watching", flush=True)
    sys.stdin.readline()
print("no more", flush=True)
time.sleep(1000)
"""
ASK_FOR_KEY = """
import sys
from pathlib import Path
from worker.clock import Clock
from worker.embedded import Home
print("at the start", flush=True)
sys.stdin.readline()
print(Home(Path(sys.argv[1]), Clock()).sealing_key(), flush=True)
"""


def open_home(path: Path) -> Home:
    return Home(path, HeldClock())


def go(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


@pytest.fixture
def sleeper():
    with start_process(["sleep", "1000"]) as process:
        yield process
        process.kill()


# The folder


def test_nobody_else_may_read_a_home_and_anything_in_it(tmp_path):
    home = open_home(tmp_path / "new" / "home")
    assert home.try_own()
    home.sealing_key()
    home.write_runtime(Runtime(ProcessMark.own(), tmp_path, "unix:///x"))
    with home.watch("job_1"):
        paths = [home.path, *home.path.rglob("*")]
        modes = {path.relative_to(home.path).parts[:1]: mode_of(path) for path in paths}
    assert modes == {
        (): "0o700",
        ("home.lock",): "0o600",
        ("last-use",): "0o600",
        ("logs",): "0o700",
        ("runtime.json",): "0o600",
        ("sealing-key",): "0o600",
        ("sealing-key.lock",): "0o600",
        ("watches",): "0o600",  # the file in it, which comes after it
    }
    assert mode_of(home.path / "watches") == "0o700"


def test_an_empty_folder_and_an_old_home_are_closed_to_others(tmp_path):
    tmp_path.chmod(0o755)
    home = open_home(tmp_path)
    assert mode_of(tmp_path) == "0o700"
    home.try_own()
    home.release()
    tmp_path.chmod(0o755)
    open_home(tmp_path)
    assert mode_of(tmp_path) == "0o700"


def test_a_folder_with_other_files_that_others_may_read_is_left_as_it_is(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "letter.txt").write_text("dear all")
    with pytest.raises(
        HomeUnusable, match="it holds other files and others may read it; choose an empty folder"
    ):
        open_home(tmp_path)
    assert mode_of(tmp_path) == "0o755"


def test_a_file_is_no_home(tmp_path):
    (tmp_path / "home").write_text("")
    with pytest.raises(HomeUnusable, match="expected a folder, got a file"):
        open_home(tmp_path / "home")


# Ownership


def test_of_two_processes_one_owns_the_home_and_the_other_follows_it_after_a_kill(tmp_path):
    with python(RACE_TO_OWN, str(tmp_path / "h")) as one, python(RACE_TO_OWN, str(tmp_path / "h")) as two:
        assert [line_of(one), line_of(two)] == ["at the start", "at the start"]
        go(one, two)
        first_words = {one: line_of(one), two: line_of(two)}
        assert sorted(first_words.values()) == ["owner True", "second"]
        owner, other = (one, two) if first_words[one] == "owner True" else (two, one)
        owner.kill()
        assert line_of(other) == "owner False"


def test_a_home_is_owned_once_and_given_on_by_release(tmp_path):
    one, two = open_home(tmp_path), open_home(tmp_path)
    assert (one.try_own(), one.try_own(), two.try_own()) == (True, True, False)
    assert (one.is_owned, two.is_owned) == (True, False)
    one.release()
    one.release()
    assert two.try_own()
    two.release()


def test_only_a_home_that_was_marked_as_stopped_or_never_used_was_stopped_cleanly(tmp_path):
    home = open_home(tmp_path)
    assert not home.was_stopped_cleanly  # nobody knows before the home is owned
    assert home.try_own()
    assert (home.was_stopped_cleanly, home.stopped_at) == (True, None)
    home.release()

    assert home.try_own()
    assert (home.was_stopped_cleanly, home.stopped_at) == (False, None)
    home.mark_stopped()
    home.release()

    assert home.try_own()
    assert (home.was_stopped_cleanly, home.stopped_at) == (True, datetime(2027, 3, 1, 12, 0, tzinfo=UTC))
    home.release()

    assert home.try_own()
    assert not home.was_stopped_cleanly
    home.release()


# Leftovers


def test_what_a_killed_owner_left_behind_is_ended(tmp_path, sleeper):
    home = open_home(tmp_path / "home")
    sockets = tmp_path / "cyclr-bulk-sockets"
    sockets.mkdir()
    mark = ProcessMark.find(sleeper.pid)
    assert mark is not None
    home.write_runtime(Runtime(ProcessMark(1, "long ago"), sockets, "unix:///x").with_child("workers", mark))
    assert home.end_leftovers() == ("workers",)
    assert not lives(sleeper.pid)
    assert not sockets.exists()
    assert home.find_runtime() is None
    assert home.end_leftovers() == ()


def test_a_stranger_that_has_the_id_of_a_leftover_and_a_folder_not_ours_are_left_alone(tmp_path, sleeper):
    home = open_home(tmp_path / "home")
    folder = tmp_path / "photos"
    folder.mkdir()
    stranger = ProcessMark(sleeper.pid, "another boot:1")
    home.write_runtime(Runtime(stranger, folder, "unix:///x").with_child("workers", stranger))
    assert home.end_leftovers() == ()
    assert lives(sleeper.pid)
    assert folder.exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", json.dumps({"owner": 1, "children": {}, "socket_folder": "/x"})]
)
def test_a_record_that_cannot_be_read_binds_nobody(tmp_path, text):
    home = open_home(tmp_path)
    (home.path / "runtime.json").write_text(text)
    assert home.find_runtime() is None
    assert home.end_leftovers() == ()
    assert not (home.path / "runtime.json").exists()


def test_what_the_owner_runs_is_read_back_by_another_command(tmp_path):
    owner, other = open_home(tmp_path), open_home(tmp_path)
    runtime = Runtime(ProcessMark(10, "a"), Path("/s"), "unix:///s/valkey.sock").with_child(
        "valkey", ProcessMark(11, "b")
    )
    owner.write_runtime(runtime)
    assert other.find_runtime() == runtime


# Watches


def test_a_job_is_watched_while_some_command_lives_that_watches_it(tmp_path):
    home = open_home(tmp_path)
    assert not home.is_watched("job_1")
    with python(WATCH, str(tmp_path)) as one, python(WATCH, str(tmp_path)) as two:
        assert [line_of(one), line_of(two)] == ["watching", "watching"]
        assert home.is_watched("job_1")
        assert not home.is_watched("job")
        one.kill()
        one.wait(20)
        assert home.is_watched("job_1")
        two.kill()
        wait_for(lambda: not home.is_watched("job_1"))
    assert list((home.path / "watches").iterdir()) == []


def test_a_job_is_not_watched_any_more_when_the_watch_ends(tmp_path):
    with python(WATCH, str(tmp_path)) as watcher:
        assert line_of(watcher) == "watching"
        go(watcher)
        assert line_of(watcher) == "no more"
        assert not open_home(tmp_path).is_watched("job_1")


def test_a_command_sees_its_own_watch(tmp_path):
    home = open_home(tmp_path)
    with home.watch("job_1"):
        assert home.is_watched("job_1")
    assert not home.is_watched("job_1")


def test_a_new_owner_clears_away_the_watches_of_killed_commands(tmp_path):
    home = open_home(tmp_path)
    with python(WATCH, str(tmp_path)) as watcher, home.watch("job_2"):
        assert line_of(watcher) == "watching"
        watcher.kill()
        watcher.wait(20)
        home.end_leftovers()
        assert [path.name.partition(".")[0] for path in (home.path / "watches").iterdir()] == ["job_2"]


@pytest.mark.parametrize("job_id", ["", "../x", "a.b", "*", "a/b"])
def test_a_job_id_that_could_be_another_path_is_refused(tmp_path, job_id):
    home = open_home(tmp_path)
    with pytest.raises(ValueError, match="expected a job id"):
        home.is_watched(job_id)
    with pytest.raises(ValueError, match="expected a job id"), home.watch(job_id):
        pass


# The sealing key


def test_all_processes_that_ask_at_once_get_the_same_key(tmp_path):
    path = str(tmp_path / "home")
    with (
        python(ASK_FOR_KEY, path) as one,
        python(ASK_FOR_KEY, path) as two,
        python(ASK_FOR_KEY, path) as three,
    ):
        processes = (one, two, three)
        assert {line_of(process) for process in processes} == {"at the start"}
        go(*processes)
        keys = {line_of(process) for process in processes}
    assert len(keys) == 1
    assert keys == {open_home(tmp_path / "home").sealing_key()}


def test_the_key_is_an_id_and_32_random_bytes_and_stays(tmp_path):
    home = open_home(tmp_path)
    key = home.sealing_key(lambda count: bytes(range(count)))
    assert key == "home-00010203:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert home.sealing_key() == key
    assert (tmp_path / "sealing-key").read_text() == key
    other = open_home(tmp_path / "other").sealing_key()
    assert re.fullmatch(r"home-[0-9a-f]{8}:[A-Za-z0-9+/]{43}=", other)
    assert len(base64.b64decode(other.partition(":")[2])) == 32
    assert other != key


def test_an_emptied_key_file_is_never_replaced(tmp_path):
    home = open_home(tmp_path)
    (tmp_path / "sealing-key").write_text("")
    with pytest.raises(HomeUnusable, match="the file sealing-key is empty; put the key back from a copy"):
        home.sealing_key()
    assert (tmp_path / "sealing-key").read_text() == ""
