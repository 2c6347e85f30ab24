"""For tests that start the real command, many times, and wait: for claims to run out, for processes to come and go."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Processes find what they import compiled by the first of them, also where the machine keeps no bytecode:
    most of a start is compiling otherwise."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        environment.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield
