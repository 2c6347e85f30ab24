"""The web process of a deployment, on a port of its own."""

import re

from tests.end_to_end.fleet.fleet import Fleet
from tests.end_to_end.processes.commands import Command, eventually


def launch_web(fleet: Fleet) -> tuple[Command, int]:
    """The process and its port. It listens."""
    web = fleet.launch("web", PORT="0")
    found: list[str] = []

    def listens() -> bool:
        assert web.exit_code is None, web.err
        found[:] = re.findall(r"http://0\.0\.0\.0:(\d+)", web.out + web.err)
        return bool(found)

    eventually(listens, "the web process says where it listens")
    return web, int(found[0])
