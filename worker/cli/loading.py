"""The garbage collector rests while a command loads: it would walk all that is there again and again, and find nothing.

It is a seventh of the time in which a command starts.
"""

import gc


def begin_loading() -> None:
    gc.disable()


def end_loading() -> None:
    """What is loaded stays, so nobody looks through it from here on. Without a beginning it does nothing."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
