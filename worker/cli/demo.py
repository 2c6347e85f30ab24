"""`cyclr-bulk demo`: the main job against the simulator, in a home of its own; nothing real is read or touched.

The workers take longer than a second to load, and so does what this command needs to hand them a job. So they are
started first, with as little as that takes; `demo_job.py` is loaded meanwhile.
"""

import gc
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from worker.cli.terminal import end_loading, failures_in_words, tell
from worker.clock import Clock
from worker.embedded import Child, Home, ServiceNotStarted, Services, find_valkey_binary, start_child
from worker.embedded.services import environment_without_ours, start_services
from worker.settings import CyclrSettings, load_settings
from worker.simulator.sample import sample_credentials, sample_csv

CALLS_PER_SECOND = 100
LOOPBACK = "127.0.0.1"
SIMULATOR_STARTS_WITHIN_S = 60.0
EXAMPLES = """\b
Example:
  cyclr-bulk demo --accounts 2000"""

app = typer.Typer(rich_markup_mode=None)


@app.command("demo", epilog=EXAMPLES)
def demo_command(
    accounts: Annotated[
        int,
        typer.Option(min=1, max=100_000, metavar="N", help="How many accounts the sample file holds."),
    ] = 500,
) -> None:
    """Watch the main job run against a simulated Cyclr: nothing to set up, nothing real is touched."""
    with ExitStack() as stack:
        with failures_in_words():
            folder = Path(tempfile.mkdtemp(prefix="cyclr-bulk-demo-"))
            port = _keep_port(stack)
            settings = _settings(folder, f"http://{LOOPBACK}:{port}")
            home, services = _start_home(stack, settings)
            simulator = _start_simulator(folder, port, accounts)
            stack.callback(simulator.kill)

            gc.disable()  # as in `main`
            from worker.cli.demo_job import conclude, install

            end_loading()
            file = folder / "accounts.csv"
            rows = sample_csv(accounts, is_template_first=True)
            file.write_text(rows, encoding="utf-8", newline="")
            tell(f"A demo: {accounts:,} made-up accounts, and a simulated Cyclr at {settings.cyclr_api_url}.")
            tell("Many of them were made from a template: their connector is there, and lacks its key.")
            tell(
                f"It runs at {CALLS_PER_SECOND} calls a second; a real run keeps to CYCLR_CALLS_PER_SECOND (10)."
            )
            _wait_for(simulator, folder, port)
            tended, job_id = install(stack, settings, home, services, file)
        code = conclude(tended, job_id, file, how_to_go_on=f"cyclr-bulk demo --accounts {accounts}")
    raise typer.Exit(code)


def _keep_port(stack: ExitStack) -> int:
    """A free port. Linux keeps it for the simulator, which may listen where somebody is only bound."""
    keeper = stack.enter_context(socket.socket())
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind((LOOPBACK, 0))
    port: int = keeper.getsockname()[1]
    if sys.platform != "linux":
        keeper.close()
    return port


def _settings(folder: Path, base_url: str) -> CyclrSettings:
    """All settings of the demo: none is read from the environment or `.env`."""
    credentials = sample_credentials()
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in CyclrSettings.model_fields.items()
    }
    return load_settings(
        env_file=None,
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


def _start_home(stack: ExitStack, settings: CyclrSettings) -> tuple[Home, Services | None]:
    """The home, owned, and what runs there; the workers wait for the tables. None where no Valkey is to be had."""
    clock = Clock()
    home = Home(settings.cyclr_bulk_home, clock)
    home.try_own()
    binary = find_valkey_binary()
    if binary is None:
        return home, None
    services = start_services(home, binary, home.settings(settings), clock, needs_workers=True)
    stack.callback(services.kill)
    return home, services


def _start_simulator(folder: Path, port: int, accounts: int) -> Child:
    command = ["simulator", "--port", str(port), "--sample", str(accounts), "--template-first"]
    argv = [sys.executable, "-P", "-m", "worker.cli", *command]
    env = environment_without_ours() | {"PYTHONUNBUFFERED": "1"}
    return start_child(argv, env, _log_of(folder), folder=folder)


def _wait_for(simulator: Child, folder: Path, port: int) -> None:
    """Raises: ServiceNotStarted."""
    deadline = time.monotonic() + SIMULATOR_STARTS_WITHIN_S
    while time.monotonic() < deadline and simulator.is_alive:
        with suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
            return
        time.sleep(0.02)
    raise ServiceNotStarted("the simulator", "it did not answer in time", _log_of(folder))


def _log_of(folder: Path) -> Path:
    return folder / "simulator.log"
