"""A command that installs says every second which limit it was set to: the workers that install may be another command's."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from worker.cyclr.errors import LimiterAway
from worker.cyclr.limiter import Limiter

# A limiter that has lost its state gives no slot for longer than this: by then it knows the limit again.
ANNOUNCED_EVERY_S = 1.0
TRIED_WITHIN_S = 10.0


class Announcing:
    """In a thread of its own, so that neither a question nor a long load keeps the limit from being known."""

    def __init__(self, open_limiter: Callable[[], Limiter | None]) -> None:
        """`open_limiter`: one of our own, at the broker of just now."""
        self._open_limiter = open_limiter
        self._limiter: Limiter | None = None
        self._has_moved = threading.Event()
        self._was_tried = threading.Event()
        self._has_ended = False
        self._thread = threading.Thread(target=self._go_on, name="announcing", daemon=True)

    def begin(self) -> None:
        """Begin, or begin anew at another broker. Returns when the limit is known there, or nobody can reserve there."""
        self._was_tried.clear()
        self._has_moved.set()
        if not self._thread.is_alive():
            self._thread.start()
        self._was_tried.wait(TRIED_WITHIN_S)

    def end(self) -> None:
        """The limit is forgotten 30 s from now. A second call is safe, and so is one before the beginning."""
        if self._thread.is_alive():
            self._has_ended = True
            self._has_moved.set()
            self._thread.join(TRIED_WITHIN_S)

    def _go_on(self) -> None:
        with asyncio.Runner() as runner:
            while not self._has_ended:
                if self._has_moved.is_set():
                    self._has_moved.clear()
                    runner.run(self._close())
                runner.run(self._announce())
                if not self._has_moved.is_set():
                    self._was_tried.set()
                self._has_moved.wait(ANNOUNCED_EVERY_S)
            runner.run(self._close())

    async def _announce(self) -> None:
        if self._limiter is None:
            self._limiter = self._open_limiter()
        with suppress(LimiterAway):  # nobody calls meanwhile
            if self._limiter is not None:
                await self._limiter.announce()

    async def _close(self) -> None:
        limiter, self._limiter = self._limiter, None
        if limiter is not None:
            with suppress(LimiterAway):
                await limiter.aclose()
