"""For tests that start the real command, many times, and wait: for claims to run out, for processes to come and go."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent
AT_MOST = 5
LONGEST_FIRST = "test_kills.py"


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Processes find what they import compiled by the first of them, also where the machine keeps no bytecode:
    most of a start is compiling otherwise."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        environment.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


class Ahead:
    """Runs the tests of this folder beside each other, each in a thread with a folder of its own."""

    def __init__(self, tests: list[pytest.Function], folders: pytest.TempPathFactory) -> None:
        self._pool = ThreadPoolExecutor(AT_MOST, thread_name_prefix="test")
        self._begun: dict[str, Future[None]] = {}
        for test in sorted(tests, key=lambda test: test.path.name != LONGEST_FIRST):
            arguments = dict(test.callspec.params) if hasattr(test, "callspec") else {}
            arguments["tmp_path"] = folders.mktemp("place")
            self._begun[test.nodeid] = self._pool.submit(test.obj, **arguments)

    def wait_for(self, test: pytest.Function) -> None:
        """Raises: what the test raised."""
        self._begun[test.nodeid].result()

    def end(self) -> None:
        self._pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session", autouse=True)
def ahead(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, compiled_once: None
) -> Iterator[Ahead | None]:
    """None where tests are spread over processes: each of these runs its own, one after the other."""
    if hasattr(request.config, "workerinput"):
        yield None
        return
    chosen = [
        test
        for test in request.session.items
        if isinstance(test, pytest.Function) and test.path.parent == HERE
    ]
    begun = Ahead(chosen, tmp_path_factory)
    yield begun
    begun.end()


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """The test runs already: wait for its end."""
    ahead = pyfuncitem.funcargs["ahead"]
    if ahead is None:
        return None
    ahead.wait_for(pyfuncitem)
    return True
