"""The command `cyclr-bulk`. Its modules are imported as they are needed, so that `--help` answers at once."""

import gc


def main() -> None:
    """The entry point of the command."""
    # It would walk all that is loaded again and again, and find nothing: a seventh of the time in which a command starts.
    gc.disable()
    from worker.cli.terminal import use_lasting_streams
    from worker.lifeline import write_no_core_files

    write_no_core_files()
    use_lasting_streams()
    from worker.cli.app import app

    app()
