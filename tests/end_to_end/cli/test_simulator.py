"""`cyclr-bulk simulator`: the world it begins with, and the file that fits it."""

import csv
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.plain_http import http_client
from tests.started import start_process
from worker.cli.app import app
from worker.simulator.sample import sample_csv


@contextmanager
def simulator(*arguments: str) -> Iterator[str]:
    """Its base URL, once it listens."""
    process = start_process(
        [sys.executable, "-m", "worker.cli", "simulator", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def invoked(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["simulator", "--port", "0", *arguments])
    return result.exit_code, " ".join(result.output.split())


def test_the_file_of_a_sample_fits_its_world_and_switches_are_set_from_the_start(tmp_path: Path) -> None:
    file = tmp_path / "accounts.csv"
    options = ("--sample", "50", "--template-first", "--switch", "normalises=true")
    with (
        simulator(*options, "--switch", "put_properties=replace", "--file", str(file)) as url,
        http_client(base_url=url) as http,
    ):
        switches = http.get("/_sim/switches").json()
        installed = http.get("/_sim/installed").json()
    assert (switches["normalises"], switches["put_properties"]) == (True, "replace")
    with file.open(encoding="utf-8", newline="") as lines:
        rows = {row["account_id"]: row["connector"] for row in csv.DictReader(lines)}
    assert len(rows) == 50
    to_fill_in = [
        account_id
        for account_id, entries in installed.items()
        for entry in entries
        if entry["Name"] == rows[account_id] and not entry["authenticated"]
    ]
    assert len(to_fill_in) >= 15


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "accounts.csv"
    file.write_text("mine", encoding="utf-8")
    code, said = invoked("--sample", "5", "--file", str(file))
    assert (code, file.read_text(encoding="utf-8")) == (2, "mine")
    assert said == f"{file} is there already and is left as it is. Name another file with --file."


def test_the_same_file_may_be_asked_for_again(tmp_path: Path) -> None:
    file = tmp_path / "accounts.csv"
    file.write_text(sample_csv(5), encoding="utf-8", newline="")
    with simulator("--sample", "5", "--file", str(file)) as url:
        assert url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--file", "accounts.csv"), "expected --sample N beside it."),
        (("--template-first",), "expected --sample N beside it."),
        (("--switch", "normalises=perhaps"), "normalises: expected true or false, got perhaps."),
        (("--switch", "nothing=1"), "switch: expected one of away,"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(options: tuple[str, ...], said: str) -> None:
    code, output = invoked(*options)
    assert code == 2
    assert said in output


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    code, said = invoked("--sample", "5", "--file", str(tmp_path / "nowhere" / "a.csv"))
    assert code == 2
    assert said.endswith("a.csv cannot be written: No such file or directory.")
