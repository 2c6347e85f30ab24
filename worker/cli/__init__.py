"""The command `cyclr-bulk`. What a command needs is imported as it is called, so that `--help` answers at once."""

from worker.cli.app import main

__all__ = ["main"]
