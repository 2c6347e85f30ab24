"""A real `cyclr-bulk serve` on a home of its own, for all tests of this folder in one process."""

from collections.abc import Iterator

import pytest

from tests.browser.served import Served
from tests.served.home import open_home


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with open_home(tmp_path_factory.mktemp("hostile")) as opened:
        yield opened
