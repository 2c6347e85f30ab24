"""Celery's messages, lost and doubled."""

import time

from tests.faults.classes.fault import Fault
from worker.tickets import QUEUE

FOR_S, BRIEFLY_S = 6.0, 2.5
COPIES = 5


class TicketsDropped(Fault):
    name = "tickets dropped"
    dropped = 0

    def strike(self) -> None:
        until = time.monotonic() + (BRIEFLY_S if self.is_brief else FOR_S)

        def drop() -> bool:
            with self.at.redis() as client:
                self.dropped += client.rpop(QUEUE) is not None
            return time.monotonic() >= until or self.at.is_over()

        self.at.wait_until(drop, "tickets are dropped")

    def took_place(self) -> bool:
        return self.dropped > 0


class TicketsDoubled(Fault):
    name = "tickets doubled"
    doubled = 0

    def strike(self) -> None:
        def double() -> bool:
            with self.at.redis() as client:
                ticket = client.lindex(QUEUE, -1)
                if ticket is not None:
                    self.doubled = COPIES
                    self.at.seen.messages_added += COPIES
                    client.rpush(QUEUE, *[ticket] * COPIES)
            return self.doubled > 0 or self.at.is_over()

        self.at.wait_until(double, "a ticket waits")

    def took_place(self) -> bool:
        with self.at.redis() as client:
            left = client.llen(QUEUE)
        return self.doubled > 0 and left < self.doubled
