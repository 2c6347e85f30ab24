"""The operations, and what the tables know of them."""

import pytest

from tests.unit.installing.making import claimed_item
from worker.domain.options import JobOptions
from worker.domain.steps import ACCOUNT, CONNECTOR, NOTHING, STEPS
from worker.operations.known import OPERATIONS


def test_each_operation_has_the_steps_that_the_tables_know_of() -> None:
    assert {name: tuple(step.kind for step in it.steps) for name, it in OPERATIONS.items()} == STEPS


def test_names_of_steps_fit_their_columns() -> None:
    kinds = [kind for kinds in STEPS.values() for kind in kinds]
    assert all(len(kind.name) <= 16 and len(kind.call) <= 16 for kind in kinds)
    assert len({kind.call for kind in kinds}) == len({kind.name for kind in kinds})


@pytest.mark.parametrize(
    ("operation", "options", "mark"),
    [
        ("install", JobOptions(no_look=True), "connector"),
        ("install", JobOptions(), NOTHING),
        ("update", JobOptions(), NOTHING),
        # An update never goes out without a look, whatever its options say.
        ("update", JobOptions(no_look=True), NOTHING),
    ],
)
def test_only_an_install_that_is_not_to_look_goes_out_at_once(
    operation: str, options: JobOptions, mark: str
) -> None:
    item = claimed_item(operation=operation, options=options)
    assert OPERATIONS[operation].first_mark(item, max_attempts=8) == mark


def test_no_step_of_an_update_makes_anything() -> None:
    assert not {ACCOUNT, CONNECTOR} & {step.kind for step in OPERATIONS["update"].steps}
