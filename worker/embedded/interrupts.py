"""The signals that ask the command to end, as a flag that its loop can look at and wait for."""

import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

# SIGHUP: the terminal is gone. Windows has none.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupts:
    """Whether the command was asked to end, and by which signal."""

    def __init__(self, woken: socket.socket, waker: socket.socket) -> None:
        self._woken = woken
        self._waker = waker
        self.signal: signal.Signals | None = None

    @property
    def is_set(self) -> bool:
        return self.signal is not None

    def wait(self, timeout_s: float) -> bool:
        """Sleep until the command is asked to end, at most `timeout_s`; whether it was."""
        # Not `threading.Event`: a handler that sets one while its own thread waits for it can lock up for ever.
        if not self.is_set:
            select.select([self._woken], [], [], max(0.0, timeout_s))
        return self.is_set

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """The signal handler. A second SIGINT is a person who will not wait.

        Raises: KeyboardInterrupt for that one.
        """
        if self.is_set and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is None:
            self.signal = signal.Signals(number)
            with suppress(OSError):
                self._waker.send(b"!")


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """SIGINT, SIGTERM and SIGHUP set a flag while this context lasts; their handlers are put back after it.

    A signal that is ignored (`nohup`, a script's background job) stays ignored. From the main thread only.
    """
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    flag = Interrupts(woken, waker)
    earlier = {}
    try:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                earlier[number] = signal.signal(number, flag.receive)
        yield flag
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        woken.close()
        waker.close()
