"""A worker process says every few seconds that it lives, so that others can tell whether anybody works."""

import socket
import threading

from worker.store.faults import note_database_failure, note_database_success
from worker.store.instances import forget_sighting, new_worker_id, note_sighting
from worker.store.session import Engine

SEEN_EVERY_S = 10.0
NOTING = "saying that this worker lives"


class Sighting:
    """In a thread of its own: a process that waits for a ticket does nothing else."""

    def __init__(self, engine: Engine, instance_id: str) -> None:
        self._engine = engine
        self._instance_id = instance_id
        self._worker_id = new_worker_id(socket.gethostname())
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="sighting", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """It is not seen any more."""
        self._has_ended.set()

    def _go_on(self) -> None:
        while True:
            try:
                note_sighting(self._engine, self._worker_id, self._instance_id)
            except Exception as error:  # noqa: BLE001 - the database may be away; it is said again soon
                note_database_failure(error, NOTING)
            else:
                note_database_success(NOTING)
            if self._has_ended.wait(SEEN_EVERY_S):
                break
        try:
            forget_sighting(self._engine, self._worker_id)
        except Exception as error:  # noqa: BLE001 - it is forgotten in an hour
            note_database_failure(error, NOTING)
