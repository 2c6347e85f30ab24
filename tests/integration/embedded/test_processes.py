import sys

import pytest

from tests.integration.embedded.support import lives, wait_for
from tests.started import start_process
from worker.embedded.processes import ProcessMark

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def sleeper():
    with start_process(["sleep", "1000"]) as process:
        yield process
        process.kill()


def test_a_mark_names_a_process_for_ever(sleeper):
    mark = ProcessMark.find(sleeper.pid)
    assert mark is not None
    assert ProcessMark.find(sleeper.pid) == mark
    assert mark != ProcessMark.own()
    assert mark.is_alive


def test_a_stranger_with_the_id_of_an_old_process_is_left_alone(sleeper):
    assert ProcessMark(sleeper.pid, "another boot:1").end(within_s=1)
    assert lives(sleeper.pid)


def test_the_process_itself_is_ended_and_ending_it_again_does_nothing(sleeper):
    mark = ProcessMark.find(sleeper.pid)
    assert mark is not None
    assert mark.end(within_s=20)
    assert not lives(sleeper.pid)
    assert mark.end(within_s=0)
    assert sleeper.wait(20) == -9
    assert mark.end(within_s=0)


def test_a_zombie_is_not_alive(sleeper):
    mark = ProcessMark.find(sleeper.pid)
    assert mark is not None
    sleeper.kill()
    wait_for(lambda: not lives(sleeper.pid))
    assert sleeper.returncode is None  # nobody has asked for its end yet
    assert not mark.is_alive


def test_no_process_has_no_mark():
    assert ProcessMark.find(0) is None
    assert ProcessMark.find(-1) is None
