"""A real `cyclr-bulk serve` on a home of its own, for all tests of this folder in one process."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.browser.served import Served
from tests.served.home import open_home

FEW_DESCRIPTORS = 420  # so that a few hundred connections would be all that there is


@contextmanager
def few_descriptors() -> Iterator[None]:
    """For processes that are started while the context lasts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_DESCRIPTORS, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with few_descriptors():
        home = open_home(tmp_path_factory.mktemp("hostile"))
        opened = home.__enter__()
    try:
        yield opened
    finally:
        home.__exit__(None, None, None)
