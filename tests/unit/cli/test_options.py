from pathlib import Path

from worker.cli.options import run_again
from worker.domain.options import RunOptions


def test_a_command_without_options_is_short() -> None:
    assert run_again(Path("accounts.csv"), RunOptions(first=5)) == "cyclr-bulk run accounts.csv"


def test_all_that_makes_the_job_what_it_is_is_repeated() -> None:
    options = RunOptions(connector="North wind", skip_invalid=True, overwrite=True, beside=True)
    assert run_again(Path("my accounts.csv"), options, Path("out.csv")) == (
        "cyclr-bulk run 'my accounts.csv' --connector 'North wind' --results out.csv --skip-invalid --overwrite"
        " --beside"
    )


def test_an_update_is_gone_on_with_by_its_own_command() -> None:
    options = RunOptions(operation="update", connector="Northwind Mail", replace_tokens=True)
    assert run_again(Path("keys.csv"), options) == (
        "cyclr-bulk update keys.csv --connector 'Northwind Mail' --replace-tokens"
    )


def test_a_deployment_is_handed_each_file_by_submit() -> None:
    assert run_again(Path("a.csv"), RunOptions(overwrite=True), is_deployed=True) == (
        "cyclr-bulk submit a.csv --overwrite"
    )
    assert run_again(Path("keys.csv"), RunOptions(operation="update"), is_deployed=True) == (
        "cyclr-bulk submit keys.csv --for update"
    )


def test_columns_that_are_taken_as_written_are_repeated() -> None:
    options = RunOptions(as_written=frozenset({"connector_version", "account_id"}))
    assert run_again(Path("accounts.csv"), options) == (
        "cyclr-bulk run accounts.csv --as-written account_id --as-written connector_version"
    )


def test_a_file_that_begins_with_a_dash_is_no_option() -> None:
    assert run_again(Path("-x.csv"), RunOptions()) == "cyclr-bulk run ./-x.csv"
