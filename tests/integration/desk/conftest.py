from collections.abc import Iterator

import pytest

from tests.integration.desk.office import Office, open_office
from worker.store.session import Engine


@pytest.fixture
def office(engine: Engine) -> Iterator[Office]:
    """A web process with a desk, on both databases, and a Cyclr beside it."""
    with open_office(engine) as office:
        yield office
