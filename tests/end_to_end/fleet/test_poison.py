from concurrent.futures import Future

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_row_that_kills_its_workers_is_given_up_alone(poisoned: "Future[None]") -> None:
    poisoned.result()
