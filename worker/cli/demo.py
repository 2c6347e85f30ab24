"""`cyclr-bulk demo`: the main job against the simulator, in a home of its own; nothing real is read or touched."""

import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import typer
from pydantic import SecretStr

from worker.cli.check import check, show_check
from worker.cli.exits import ALL_INSTALLED, failures_in_words, say
from worker.cli.outcome import conclude_run
from worker.cli.result_path import ResultPath
from worker.cli.run import load
from worker.cli.session import OUR_VARIABLES, Session
from worker.cli.simulator import LISTENS_ON
from worker.cli.watching import see_through
from worker.domain.states import JobState
from worker.embedded import Child, ServiceNotStarted, start_child
from worker.intake import open_source
from worker.jobs import RunOptions
from worker.settings import CyclrSettings, load_settings
from worker.simulator.sample import sample_credentials, sample_csv

CALLS_PER_SECOND = 100
SIMULATOR_STARTS_WITHIN_S = 60.0


def run_demo(accounts: int) -> None:
    with ExitStack() as stack:
        with failures_in_words():
            folder = Path(tempfile.mkdtemp(prefix="cyclr-bulk-demo-"))
            file = folder / "accounts.csv"
            file.write_text(sample_csv(accounts), encoding="utf-8", newline="")
            simulator, base_url = _start_simulator(folder, accounts)
            stack.callback(simulator.kill)
            settings = _settings(folder, base_url)
            typer.echo(f"A demo: {accounts:,} made-up accounts, and a simulated Cyclr at {base_url}.")
            typer.echo(
                f"It runs at {CALLS_PER_SECOND} calls a second; a real run keeps to CYCLR_CALLS_PER_SECOND (10)."
            )
            session = stack.enter_context(Session(settings, needs_workers=True))
            options = RunOptions()
            checked = check(session, open_source(file), options)
            show_check(checked, settings.cyclr_calls_per_second)
            job_id = load(stack, session, checked, options)
        job = see_through(session, job_id)
        code = conclude_run(
            session,
            job,
            ResultPath(file, None),
            how_to_go_on=f"cyclr-bulk demo --accounts {accounts}",
            how_to_retry="The failed rows were meant to fail: the result file says for each what to do.",
        )
        _say_what_next(file)
    raise typer.Exit(ALL_INSTALLED if job.state is JobState.COMPLETED else code)


def _start_simulator(folder: Path, accounts: int) -> tuple[Child, str]:
    """The running simulator and its base URL. Raises: ServiceNotStarted."""
    log_path = folder / "simulator.log"
    argv = [sys.executable, "-P", "-m", "worker.cli", "simulator", "--port", "0", "--sample", str(accounts)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OUR_VARIABLES)}
    child = start_child(argv, inherited | {"PYTHONUNBUFFERED": "1"}, log_path, folder=folder)
    deadline = time.monotonic() + SIMULATOR_STARTS_WITHIN_S
    while time.monotonic() < deadline and child.is_alive:
        first_line, newline, _ = log_path.read_text(encoding="utf-8").partition("\n")
        if newline and first_line.startswith(LISTENS_ON):
            return child, first_line.removeprefix(LISTENS_ON)
        time.sleep(0.02)
    child.kill()
    raise ServiceNotStarted("the simulator", "it did not answer in time", log_path)


def _settings(folder: Path, base_url: str) -> CyclrSettings:
    """All settings of the demo: none is read from the environment or `.env`."""
    credentials = sample_credentials()
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in CyclrSettings.model_fields.items()
    }
    return load_settings(
        _env_file=None,
        **defaults
        | {
            "cyclr_api_url": base_url,
            "cyclr_client_id": credentials.client_id,
            "cyclr_client_secret": SecretStr(credentials.client_secret),
            "cyclr_calls_per_second": CALLS_PER_SECOND,
            "cyclr_timeout_s": 5,
            "cyclr_settle_s": 2,
            "cyclr_bulk_home": folder / "home",
        },
    )


def _say_what_next(file: Path) -> None:
    say("")
    say("For a real run, put these into .env (or the environment):")
    say("  CYCLR_API_URL=https://api.cyclr.com     the API domain of your instance")
    say("  CYCLR_CLIENT_ID=...                     from Cyclr's console: Settings > OAuth Client Credentials")
    say("  CYCLR_CLIENT_SECRET=...")
    say("then type:")
    say("  cyclr-bulk connectors                   what can be installed")
    say("  cyclr-bulk template NAME > accounts.csv a file to fill")
    say("  cyclr-bulk run accounts.csv --first 5   the first rows, after a check and a question")
    if shutil.which("cyclr-bulk") is None:
        say(f"Here cyclr-bulk is {sys.argv[0]}.")
    say(f"The demo's own file, as an example: {file}")
