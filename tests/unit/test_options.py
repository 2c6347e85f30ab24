"""What may be asked of a run is declared once: each face has all of it, with the same defaults and in the same words."""

from dataclasses import fields

import pytest

from worker.cli.app import load_command
from worker.domain.options import OPTIONS, UPDATE_OPTIONS, JobOptions, RunOptions, clashes, gone_options
from worker.web.api.submitting import NewJobOptions

ALL = [
    *(
        "operation",
        "connector",
        "sheet",
        "map",
        "first",
        "skip_invalid",
        "no_look",
        "overwrite",
        "beside",
        "replace_tokens",
    ),
    *("assume_method", "allow_undeclared", "no_undo", "look_again", "as_written"),
]


def test_the_table_has_every_option_that_a_person_may_give() -> None:
    assert list(OPTIONS) == ALL
    told = [field.name for field in fields(RunOptions) if field.metadata]
    assert sorted(ALL) == sorted(told)


@pytest.mark.parametrize(
    ("command", "others", "options"),
    [
        ("run", {"file", "results", "yes"}, [name for name in ALL if name != "operation"]),
        ("submit", {"file", "yes"}, ALL),
        ("update", {"file", "results", "yes"}, list(UPDATE_OPTIONS)),
    ],
)
def test_a_command_that_makes_a_job_takes_all_that_it_may_be_asked(
    command: str, others: set[str], options: list[str]
) -> None:
    typed = {parameter.name: parameter for parameter in load_command(command).params}
    gone = {name for name, each in typed.items() if getattr(each, "hidden", False)}
    assert gone == (set() if command == "update" else {"look_first", "if_present"})
    assert typed.keys() - others - gone == set(options)
    for name in options:
        told = OPTIONS[name].metadata["does"]
        assert typed[name].help == (told.replace("install", "run") if name == "operation" else told)
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


def typed(name: str) -> str:
    return f"`--{name.replace('_', '-')}`"


def named(name: str) -> str:
    return f"`{name}`"


@pytest.mark.parametrize("name", ["overwrite", "beside", "assume_method", "look_again"])
def test_what_needs_a_look_clashes_with_leaving_it_out(name: str) -> None:
    clashing = RunOptions(no_look=True, **{name: True})
    reason = f"{typed(name)} needs the look that `--no-look` leaves out: give one of the two"
    assert list(clashes(clashing, typed)) == [(name, reason)]
    assert list(clashes(RunOptions(no_look=True, skip_invalid=True, no_undo=True), typed)) == []
    assert list(clashes(RunOptions(**{name: True}), typed)) == []


def test_tokens_are_replaced_only_where_something_may_be() -> None:
    assert list(clashes(RunOptions(replace_tokens=True), typed)) == [
        (
            "replace_tokens",
            "it says what `--overwrite` may replace: give that too, or leave `--replace-tokens` out",
        )
    ]
    assert list(clashes(RunOptions(replace_tokens=True, overwrite=True), typed)) == []
    assert list(clashes(RunOptions(replace_tokens=True, operation="update"), named)) == []


@pytest.mark.parametrize("name", ["no_look", "overwrite", "beside", "look_again"])
def test_an_update_takes_nothing_that_it_does_in_any_case_or_never(name: str) -> None:
    assert list(clashes(RunOptions(operation="update", **{name: True}), named)) == [
        (name, f"an update looks and overwrites in any case, and creates nothing: leave `{name}` out")
    ]


def test_an_update_takes_all_that_it_may_be_asked() -> None:
    all_given = {
        name: True
        for name in UPDATE_OPTIONS
        if name not in ("connector", "sheet", "map", "first", "as_written")
    }
    assert list(all_given) == [
        *("skip_invalid", "replace_tokens", "assume_method", "allow_undeclared", "no_undo")
    ]
    assert list(clashes(RunOptions(operation="update", **all_given), named)) == []


def test_options_that_are_gone_name_the_new_way_as_it_is_written_there() -> None:
    assert gone_options(typed) == {
        "look_first": "`--look-first` is gone, since a run looks first by itself: leave it out; `--no-look` is for accounts"
        " known to be empty",
        "if_present": "`--if-present` is gone, since a run leaves alone what is there under another Name: leave it out where it"
        " said skip, and give `--beside` where it said install",
    }
    assert gone_options(named)["look_first"].endswith("`no_look` is for accounts known to be empty")


def test_what_columns_are_is_kept_with_the_job_and_read_again() -> None:
    asked = RunOptions(map=frozenset({"Konto=account_id", "Notiz="}), sheet="November")
    kept = asked.to_json()
    assert kept["map"] == ["Konto=account_id", "Notiz="]
    assert asked.told()["map"] == ["Konto=account_id", "Notiz="]
    assert JobOptions.from_json(kept) == asked.of_job()
    del kept["map"], kept["sheet"]  # a job of a version that did not know them
    assert JobOptions.from_json(kept) == JobOptions()
