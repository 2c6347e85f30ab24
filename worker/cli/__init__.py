"""The command `cyclr-bulk`. Its modules are imported as they are needed, so that `--help` answers at once."""

import sys


def main() -> None:
    """The entry point of the command."""
    from worker.cli.app import app

    # What a person asks for goes to stdout, and nothing of it must be lost in a pipe that cannot write it.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app()
