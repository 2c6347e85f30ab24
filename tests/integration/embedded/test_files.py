import os

from tests.integration.embedded.support import mode_of
from worker.embedded.home import write_private
from worker.embedded.processes import limit_log, open_log


def test_a_log_past_its_limit_goes_on_empty_while_it_is_written_and_its_end_is_kept(tmp_path):
    path = tmp_path / "workers.log"
    fd = open_log(path)
    os.write(fd, b"old" + b"x" * 97 + b"y" * 10)
    assert not limit_log(path, limit_bytes=110)
    assert limit_log(path, limit_bytes=100)
    os.write(fd, b"new")
    os.close(fd)
    assert path.read_bytes() == b"new"
    assert (tmp_path / "workers.log.1").read_bytes() == b"x" * 90 + b"y" * 10
    assert mode_of(path) == "0o600"
    assert mode_of(tmp_path / "workers.log.1") == "0o600"


def test_a_log_that_is_not_there_is_no_trouble(tmp_path):
    assert not limit_log(tmp_path / "none.log", limit_bytes=1)


def test_a_text_is_written_whole_and_private_over_what_was_there(tmp_path):
    path = tmp_path / "runtime.json"
    path.write_text("a longer text than the new one")
    (tmp_path / f".runtime.json.{os.getpid()}").write_text("left by a killed write")
    write_private(path, "short", is_synced=True)
    assert path.read_text() == "short"
    assert mode_of(path) == "0o600"
    assert [found.name for found in tmp_path.iterdir()] == ["runtime.json"]
