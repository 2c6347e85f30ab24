"""What may be asked of a run is declared once: each face has all of it, with the same defaults and in the same words."""

from dataclasses import fields

import pytest

from worker.cli.app import load_command
from worker.domain.options import OPTIONS, RunOptions
from worker.web.api.submitting import NewJobOptions

ALL = ["connector", "first", "skip_invalid", "look_first", "if_present", "as_written"]
NOT_OFFERED_YET = [
    "no_look",
    "overwrite",
    "beside",
    "replace_tokens",
    "assume_method",
    "allow_undeclared",
    "no_undo",
    "look_again",
]


def test_the_table_has_every_option_that_a_person_may_give() -> None:
    assert list(OPTIONS) == ALL
    assert sorted(ALL + NOT_OFFERED_YET) == sorted(
        field.name for field in fields(RunOptions) if field.metadata
    )


@pytest.mark.parametrize(
    ("command", "others"), [("run", {"file", "results", "yes"}), ("submit", {"file", "yes"})]
)
def test_a_command_that_makes_a_job_takes_them_all(command: str, others: set[str]) -> None:
    typed = {parameter.name: parameter for parameter in load_command(command).params}
    assert typed.keys() - others == set(ALL)
    assert {name: typed[name].help for name in ALL} == {
        name: field.metadata["does"] for name, field in OPTIONS.items()
    }
    assert [typed[name].opts for name in ("skip_invalid", "as_written")] == [
        ["--skip-invalid"],
        ["--as-written"],
    ]


def test_the_api_takes_them_all() -> None:
    taken = dict(NewJobOptions.model_fields)
    del taken["source_name"]  # a file on a disk has a name
    assert taken.keys() == set(ALL)
    assert NewJobOptions().to_run_options() == RunOptions()
    for name, field in taken.items():
        assert (field.description or "").startswith(OPTIONS[name].metadata["does"])
