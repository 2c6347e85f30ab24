"""Celery's messages, lost and doubled."""

from tests.faults.classes.fault import Fault
from worker.tickets import QUEUE

FOR_S, BRIEFLY_S = 6.0, 2.5
A_TICKET_WITHIN_S = 30.0
COPIES = 5


class TicketsDropped(Fault):
    name = "tickets dropped"
    dropped = 0

    def strike(self) -> None:
        def drop() -> None:
            with self.at.redis() as client:
                self.dropped += client.rpop(QUEUE) is not None

        self.at.comes_true(drop, BRIEFLY_S if self.is_brief else FOR_S, every_s=0.02)

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
            return self.doubled > 0

        self.at.comes_true(double, A_TICKET_WITHIN_S, every_s=0.02)

    def took_place(self) -> bool:
        with self.at.redis() as client:
            left = client.llen(QUEUE)
        return self.doubled > 0 and left < self.doubled
