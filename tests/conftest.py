"""For all tests."""

import gc
import signal
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from worker.lifeline import die_with_parent
from worker.telemetry import ALARMS

# How long an example takes is no property of what is tested: a machine may be busy with other things.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """A process of pytest-xdist ends with the one that shares out the tests, and so does what it has started."""
    if hasattr(config, "workerinput"):
        die_with_parent()


def pytest_sessionstart() -> None:
    """Signals are heard, also where the suite runs in a shell's background or under nohup: ignored ones would be
    inherited by every process that a test starts."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is loaded to learn which tests there are stays until the end: nobody looks through it for garbage, neither
    as it grows, a sixth of what that takes, nor while the tests run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def bytecode_is_kept() -> Iterator[None]:
    """The many processes that tests start find what they import compiled, also on a machine that is told to keep
    no bytecode: most of a start is compiling otherwise."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


@pytest.fixture(autouse=True)
def no_fault_was_met() -> None:
    """What one test has met of a server is nothing to the next one."""
    ALARMS.forget()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests begin first: what takes longest must not be left to the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
