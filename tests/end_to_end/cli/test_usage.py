"""`--help`, and what is typed wrongly."""

import re
import shlex
import sys

import pytest
from typer.testing import CliRunner

from tests.started import run_process
from worker.cli.app import app

COMMANDS = (
    *("demo", "check", "run", "update", "connectors", "accounts"),
    *("template", "simulator"),
    *("submit", "watch", "jobs", "status", "items", "failures", "results"),
    *("pause", "resume", "cancel", "retry", "forget"),
    *("new-sealing-key", "reseal", "distrust", "sweep", "healthy", "serve", "api-keys"),
)


@pytest.mark.parametrize("words", [(), *((command,) for command in COMMANDS)])
def test_help_fits_a_terminal_of_eighty_columns(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if len(line) > 80] == []


def test_help_names_every_command_in_one_line() -> None:
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).stdout
    listed = text.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert tuple(line.split()[0] for line in listed) == COMMANDS
    # Shortened ones end with three.
    assert [line for line in listed if not line.endswith(".") or line.endswith("..")] == []


def test_the_help_of_run_lists_its_exit_codes() -> None:
    text = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "80"}).stdout
    assert text.endswith(
        "  Exit codes:\n"
        "    0  all rows are done; some may wait for the customer's authorisation\n"
        "    1  some rows failed or were refused\n"
        "    2  the file, a setting or the usage is wrong: nothing was changed\n"
        "    3  stopped before the end, or declined; run it again to go on\n"
    )


def test_the_help_of_update_lists_its_exit_codes() -> None:
    text = CliRunner().invoke(app, ["update", "--help"], env={"COLUMNS": "80"}).stdout
    assert text.endswith(
        "  Exit codes:\n"
        "    0  all rows are done: what they name is there\n"
        "    1  some rows failed or were refused: not all is as they ask\n"
        "    2  the file, a setting or the usage is wrong: nothing was changed\n"
        "    3  stopped before the end, or declined; type it again to go on\n"
    )


@pytest.mark.parametrize("command", ["run", "update", "check", "submit"])
def test_the_examples_of_help_are_such_as_can_be_typed(command: str) -> None:
    """Each is taken but for its file, which is not there."""
    text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout
    lines = text.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    typed = [
        each
        for line in lines
        for each in re.findall(r"cyclr-bulk ((?:check|run|update|submit) .*?)(?:   |\)|$)", line)
    ]
    assert len(typed) >= 3
    for words in typed:
        result = CliRunner().invoke(app, shlex.split(words))
        assert (result.exit_code, "there is no such file" in result.output) == (2, True), words


def test_help_loads_nothing_that_takes_its_time() -> None:
    program = (
        "import sys; from typer.testing import CliRunner; from worker.cli.app import app;"
        "CliRunner().invoke(app, ['--help']);"
        "print([name for name in ('sqlalchemy', 'celery', 'httpx', 'aiohttp', 'pydantic_settings', 'cryptography')"
        " if name in sys.modules])"
    )
    done = run_process([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("module", ["api_keys", "showing", "steer", "upkeep", "watching"])
def test_commands_that_only_read_or_steer_load_no_client_and_no_celery(module: str) -> None:
    program = (
        f"import sys, worker.cli.{module};"
        "print([name for name in ('celery', 'kombu', 'httpx', 'aiohttp') if name in sys.modules])"
    )
    done = run_process([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["run"], "Missing argument 'FILE'."),
        (["run", "a.csv", "--first", "0"], "Invalid value for '--first'"),
        (
            ["run", "a.csv", "--if-present", "skip"],
            "--if-present is gone, since a run leaves alone what is there",
        ),
        (["submit", "a.csv", "--if-present=install"], "and give --beside where it said install"),
        (
            ["run", "a.csv", "--look-first"],
            "--look-first is gone, since a run looks first by itself: leave it out",
        ),
        (["check", "a.csv", "--look-first"], "--no-look is for accounts known to be empty"),
        (
            ["run", "a.csv", "--no-look", "--overwrite"],
            "--overwrite needs the look that --no-look leaves out",
        ),
        (["run", "a.csv", "--replace-tokens"], "it says what --overwrite may replace"),
        (["check", "a.csv", "--for", "update", "--beside"], "creates nothing: leave --beside out"),
        (["check", "a.csv", "--for", "remove"], "'remove' is not one of 'run', 'update'"),
        (["update", "a.csv", "--beside"], "No such option: --beside"),
        (["run", "a.csv", "--as-written", "api_key"], "is not one of 'account_id', 'connector_version'"),
        (["submit", "a.csv", "--as-written", "name"], "is not one of 'account_id', 'connector_version'"),
        (["check", "a.csv", "--as-written", ""], "Invalid value for '--as-written': ''"),
        (
            ["items", "j", "--state", "guess"],
            "'guess' is not one of 'held', 'queued', 'running', 'done', 'failed', 'cancelled'.",
        ),
        (["nonsense"], "No such command 'nonsense'."),
        (["demo", "--accounts", "0"], "Invalid value for '--accounts'"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what(words: list[str], complaint: str) -> None:
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert complaint in result.stderr
