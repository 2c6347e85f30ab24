"""One line for each fault of a server and minute, and one when it is over: the only place that logs them.

`database_away`, `redis_away`, `cyclr_away`, then `database_back` and so on.
"""

import os
import threading
from collections import Counter
from dataclasses import dataclass, field

from worker.clock import Clock, Moment
from worker.domain.server_faults import Server, ServerFault
from worker.telemetry import OnceAMinute, get_logger, where_it_was

# What is not tried again for so long is taken for done when something else of its server goes well.
FORGOTTEN_AFTER_S = 120.0

AWAY = {
    Server.DATABASE: "database_away",
    Server.REDIS: "redis_away",
    Server.CYCLR: "cyclr_away",
}
BACK = {
    Server.DATABASE: "database_back",
    Server.REDIS: "redis_back",
    Server.CYCLR: "cyclr_back",
}

log = get_logger()


@dataclass(slots=True)
class _Episode:
    """From the first failure to the moment when all that failed has gone well again."""

    fault: ServerFault
    began: Moment
    failing: dict[str, Moment] = field(default_factory=dict)  # deed -> when it failed last
    times: int = 0
    is_said: bool = False


class Alarms:
    """What this process sees of its servers. From any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.forget()

    def forget(self) -> None:
        """As if nothing had been seen: a process that was forked has seen nothing itself."""
        self._lock = threading.Lock()
        self._due = OnceAMinute(self._clock)
        self._episodes: dict[Server, _Episode] = {}
        self._counts: Counter[tuple[Server, str]] = Counter()

    def failed(self, fault: ServerFault, doing: str, *, after: int = 1) -> None:
        """`doing`: what was tried, in a word or two. `after`: so many in a row, or nothing is said of them."""
        with self._lock:
            self._counts[fault.server, fault.label] += 1
            now = self._clock.moment()
            episode = self._episodes.setdefault(fault.server, _Episode(fault, now))
            episode.fault = fault
            episode.failing[doing] = now
            episode.times += 1
            if episode.times < after:
                return
            left_out = self._due.left_out((fault.server, fault.kind))
            if left_out is None:
                return
            episode.is_said = True
            since_s = round(self._clock.since(episode.began))
            fields = _fields(fault) | {"doing": doing, "since_s": since_s, "left_out": left_out}
            log.warning(AWAY[fault.server], **fields)

    def went_well(self, server: Server, doing: str) -> None:
        """What was tried has been done. Cheap where nothing had failed."""
        if server not in self._episodes:
            return
        with self._lock:
            episode = self._episodes.get(server)
            if episode is None:
                return
            since = self._clock.since
            episode.failing.pop(doing, None)
            episode.failing = {
                deed: at for deed, at in episode.failing.items() if since(at) < FORGOTTEN_AFTER_S
            }
            if episode.failing:
                return
            del self._episodes[server]
            if episode.is_said:
                fault, after_s = episode.fault, round(since(episode.began))
                told = {
                    "class": fault.kind,
                    "after_s": after_s,
                    "times": episode.times,
                    "pid": os.getpid(),
                }
                log.info(BACK[server], **told)

    def crashed(self, event: str, error: BaseException, **fields: object) -> None:
        """An error of ours, by its class and its place alone, since its text may hold anything; once a minute too."""
        with self._lock:
            left_out = self._due.left_out((event, type(error).__name__))
            if left_out is not None:
                where = where_it_was(error)
                log.error(event, error=type(error).__name__, where=where, left_out=left_out, **fields)

    def find(self, server: Server) -> ServerFault | None:
        """What ails this server now, as far as this process knows."""
        episode = self._episodes.get(server)
        return None if episode is None else episode.fault

    def counts(self) -> dict[tuple[Server, str], int]:
        """(server, label of the class) -> how often since the process began."""
        with self._lock:
            return dict(self._counts)


def _fields(fault: ServerFault) -> dict[str, object]:
    return {"class": fault.kind, "said": fault.said, "pid": os.getpid()}


ALARMS = Alarms(Clock())  # of this process, as its log is
