"""What every command does, whatever comes of it."""

import gc

from worker.cli.terminal import failures_in_words


def test_the_collector_that_rested_while_the_command_was_loaded_goes_on() -> None:
    gc.disable()
    try:
        assert not gc.isenabled()
        with failures_in_words():
            assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.enable()
