"""A PostgreSQL that takes no writes, for seconds or for good."""

import time

from tests.faults.classes.fault import Fault
from tests.faults.deployment import OBSERVER
from tests.postgres_pair import SET_ASIDE

READ_ONLY_S, READ_ONLY_BRIEFLY_S = 15.0, 4.0
ROOM_S = 6  # of work that is left when the server is killed
SESSIONS = "SELECT coalesce(max(sessions), 0) FROM pg_stat_database WHERE datname = '{}'"
CUT = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = '{}' AND application_name <> '" + OBSERVER + "'"
)


class TakesNoWrites(Fault):
    """Its evidence: sessions that began meanwhile, none of which could be kept, and installs after it."""

    began = 0
    struck_at = 0.0

    def pass_the_time(self) -> None:
        self.at.pass_time(READ_ONLY_BRIEFLY_S if self.is_brief else READ_ONLY_S)

    def sessions(self) -> int:
        return int(self.at.postgres.ask(SESSIONS.format(self.at.database)))

    def took_place(self) -> bool:
        return self.began > 0 and any(call.received_at > self.struck_at for call in self.at.cyclr.installs())


class ReadOnly(TakesNoWrites):
    """Those who keep a session that began meanwhile could not write for ever."""

    name = "PostgreSQL read-only for seconds"

    def strike(self) -> None:
        server, name = self.at.postgres, self.at.database
        before = self.sessions()
        server.ask(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        try:
            server.ask(CUT.format(name))
            self.pass_the_time()
        finally:
            server.ask(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        self.began = self.sessions() - before
        self.struck_at = time.time()


class StandbyPromoted(TakesNoWrites):
    """The one that was there comes back read-only, and all are led there for some time."""

    name = "PostgreSQL's standby promoted"

    def strike(self) -> None:
        before = self.at.postgres
        with self.at.standby() as standby:
            # To be made it took a while, in which the job went on.
            room = ROOM_S * self.at.calls_per_second
            if self.at.rows_left() < room:
                self.at.bring(room)
            before.kill()
            standby.promote()
            before.start(SET_ASIDE)
            had = self.sessions()
            self.pass_the_time()
            self.began = self.sessions() - had
            self.at.move_to(standby)
        self.struck_at = time.time()
