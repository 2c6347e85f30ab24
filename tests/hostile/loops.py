"""How long one callback of an event loop keeps everybody else of its process waiting, in CPU time of its thread."""

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Slowest:
    """The slowest callback so far, and what it was."""

    cpu_s: float = 0.0
    what: str = ""


@contextmanager
def watched_loop(thread_id: int | None = None) -> Iterator[Slowest]:
    """Of the loop that runs in this thread (None: the calling one), while the context lasts.

    By CPU time, which a busy machine does not make longer; the heap of the tests themselves is kept out of it.
    """
    watched = thread_id or threading.get_ident()
    slowest = Slowest()
    run = asyncio.events.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        if threading.get_ident() != watched:
            run(handle)
            return
        began = time.thread_time()
        run(handle)
        took = time.thread_time() - began
        if took > slowest.cpu_s:
            slowest.cpu_s, slowest.what = took, repr(handle)

    gc.collect()
    gc.freeze()
    asyncio.events.Handle._run = timed  # type: ignore[method-assign]
    try:
        yield slowest
    finally:
        asyncio.events.Handle._run = run  # type: ignore[method-assign]
        gc.unfreeze()
