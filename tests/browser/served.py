"""What the browser looks at: a simulated Cyclr, and the real command that serves the pages."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tests.end_to_end.fleet.fleet import Fleet
from tests.end_to_end.processes.commands import Command, eventually
from tests.end_to_end.processes.place import Place
from tests.end_to_end.processes.site import Site
from worker.simulator.server import SimulatorThread
from worker.simulator.world import World
from worker.store.api_keys import Scope, create_key

ADDRESS = re.compile(r"^Serving on (http://\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Served:
    """`url`: of the pages. `write_key`, `read_key`: API keys to sign in with."""

    place: Place
    simulator: SimulatorThread
    command: Command
    url: str
    write_key: str
    read_key: str


def address(command: Command) -> str:
    """Of the pages that this command serves, once it does."""

    def find() -> str | None:
        assert command.exit_code is None, command.out + command.err
        found = ADDRESS.search(command.out)
        return found.group(1) if found else None

    return eventually(find, "the command serves")


def make_keys(place: Site | Fleet) -> tuple[str, str]:
    """One that may write, and one that may only read."""
    lasts = timedelta(days=365)
    _, write_key = create_key(place.engine, name="Ada, onboarding", scope=Scope.WRITE, lasts=lasts)
    _, read_key = create_key(place.engine, name="Grace, support", scope=Scope.READ, lasts=lasts)
    return write_key, read_key


def free_port() -> int:
    """Links for customers name the port of the pages, so it is known before they are served."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def open_served(
    folder: Path, world: World, *, credentials: tuple[str, str], **settings: str
) -> Iterator[Served]:
    """`cyclr-bulk serve` in a home of its own: SQLite, a private Valkey, workers beside it."""
    port = free_port()
    with SimulatorThread(world) as simulator:
        settings |= {
            "CYCLR_SERVICE_URL": simulator.base_url,
            "CYCLR_SIGNIN_USERNAME": "{account_id}@customers.example",
            "CYCLR_BULK_PUBLIC_URL": f"http://127.0.0.1:{port}",
        }
        place = _Home(folder, simulator, credentials, settings)
        try:
            command = place.start("serve", "--port", str(port))
            yield Served(place, simulator, command, address(command), *make_keys(place))
        finally:
            place.close()


class _Home(Site):
    def __init__(
        self, folder: Path, simulator: SimulatorThread, credentials: tuple[str, str], settings: dict[str, str]
    ) -> None:
        super().__init__(folder, simulator)
        client_id, client_secret = credentials
        self._settings = {"CYCLR_CLIENT_ID": client_id, "CYCLR_CLIENT_SECRET": client_secret, **settings}

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(**(self._settings | more))
