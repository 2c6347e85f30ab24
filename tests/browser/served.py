"""What the browser looks at: a simulated Cyclr, and the real command that serves the pages."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.processes.commands import Command, eventually
from tests.end_to_end.processes.place import Place
from tests.end_to_end.processes.site import Site
from worker.simulator.server import SimulatorThread
from worker.simulator.world import World

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


def make_key(place: Place, name: str, scope: str) -> str:
    made = place.start("api-keys", "create", name, "--scope", scope)
    assert made.wait() == 0, made.err
    return made.out.strip()


@contextmanager
def open_served(
    folder: Path, world: World, *, credentials: tuple[str, str], **settings: str
) -> Iterator[Served]:
    """`cyclr-bulk serve` in a home of its own: SQLite, a private Valkey, workers beside it."""
    with SimulatorThread(world) as simulator:
        place = _Home(folder, simulator, credentials, settings)
        try:
            command = place.start("serve", "--port", "0")
            url = address(command)
            yield Served(
                place,
                simulator,
                command,
                url,
                make_key(place, "Ada, onboarding", "write"),
                make_key(place, "Grace, support", "read"),
            )
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
