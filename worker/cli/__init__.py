"""The command `cyclr-bulk`. Its modules are imported as they are needed, so that `--help` answers at once."""


def main() -> None:
    """The entry point of the command."""
    from worker.cli.loading import begin_loading
    from worker.cli.streams import use_lasting_streams
    from worker.lifeline import write_no_core_files

    write_no_core_files()
    use_lasting_streams()
    begin_loading()
    from worker.cli.app import app

    app()
