"""The operations, and what the tables know of them."""

from worker.domain.steps import STEPS
from worker.operations.known import OPERATIONS


def test_each_operation_has_the_steps_that_the_tables_know_of() -> None:
    assert {name: tuple(step.kind for step in it.steps) for name, it in OPERATIONS.items()} == STEPS


def test_names_of_steps_fit_their_columns() -> None:
    kinds = [kind for kinds in STEPS.values() for kind in kinds]
    assert all(len(kind.name) <= 16 and len(kind.call) <= 16 for kind in kinds)
    assert len({kind.call for kind in kinds}) == len({kind.name for kind in kinds})
