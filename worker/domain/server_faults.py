"""What ails a server that we need: its class, in a word that stays the same, and the server's own sentence."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

LONGEST_SENTENCE = 200
OTHER = "other"


class Server(StrEnum):
    """What a process needs beside itself. The value is the label of a metric, and the beginning of an event."""

    DATABASE = "database"
    REDIS = "redis"
    CYCLR = "cyclr"


_NAMES = {Server.DATABASE: "The database", Server.REDIS: "Redis", Server.CYCLR: "Cyclr"}

# What becomes of a connection, to whichever server.
OF_CONNECTIONS = frozenset(
    {
        "certificate_verify_failed",
        "connection_closed",
        "connection_refused",
        "host_name_not_found",
        "no_route_to_host",
        "no_such_socket",
        "timeout",
        "tls_failed",
    }
)
# The classes that docs/alarms.md has a row for. What is none of them has a class all the same, and one label for all.
KNOWN = {
    Server.DATABASE: OF_CONNECTIONS
    | {
        "08P01 protocol_violation",
        "25006 read_only_sql_transaction",
        "25P03 idle_in_transaction_session_timeout",
        "28000 invalid_authorization_specification",
        "28P01 invalid_password",
        "3D000 invalid_catalog_name",
        "40P01 deadlock_detected",
        "42501 insufficient_privilege",
        "53100 disk_full",
        "53200 out_of_memory",
        "53300 too_many_connections",
        "55P03 lock_not_available",
        "57014 query_canceled",
        "57P01 admin_shutdown",
        "57P02 crash_shutdown",
        "57P03 cannot_connect_now",
        "58030 io_error",
        "SQLITE_BUSY",
        "SQLITE_CANTOPEN",
        "SQLITE_CORRUPT",
        "SQLITE_FULL",
        "SQLITE_IOERR",
        "SQLITE_READONLY",
        "connection_failed",
        "pool_exhausted",
    },
    Server.REDIS: OF_CONNECTIONS
    | {
        "BUSY",
        "CLUSTERDOWN",
        "ERR",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOAUTH",
        "NOPERM",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "WRONGPASS",
        "max_number_of_clients_reached",
        "too_many_connections_of_this_process",
    },
    Server.CYCLR: OF_CONNECTIONS
    | {
        "answer_cut_off",
        "answer_too_large",
        "answer_unreadable",
        "proxy_not_reached",
        "proxy_refused",
        "status_500",
        "status_502",
        "status_503",
        "status_504",
    },
}
# Waiting does not mend these: a process that meets them at its start ends. Not 28000: while a standby takes over, its
# pg_hba.conf may be the one that lags behind.
HOPELESS = frozenset({"28P01 invalid_password", "3D000 invalid_catalog_name", "NOAUTH", "WRONGPASS"})


@dataclass(frozen=True, slots=True)
class ServerFault:
    """`kind`: `25006 read_only_sql_transaction`, `READONLY`, `certificate_verify_failed`; beside the `server` it says which
    fault this is. `said`: the server's own sentence, or what is known of a connection; "" where that could hold data.
    """

    server: Server
    kind: str
    said: str = ""

    def __str__(self) -> str:
        return f"{_NAMES[self.server]} {self.what}"

    @property
    def in_public(self) -> "ServerFault":
        """Without the sentence, which may name hosts and users."""
        return ServerFault(self.server, self.kind)

    @property
    def tag(self) -> str:
        """Of letters and digits."""
        return re.sub(r"[^a-z0-9_]", "_", f"{self.server}_{self.kind}".lower())

    def fields(self) -> dict[str, str]:
        """For programs."""
        return {"server": self.server, "class": self.kind, "message": str(self)}

    @property
    def what(self) -> str:
        """As a continuation of the server's name: `answers READONLY: You can't write against a read only replica`."""
        said = f": {self.said}" if self.said else ""
        if self.kind == OTHER:
            return f"does not answer{said}"
        return f"answers {self.kind}{said}" if self.is_answer else f"does not answer ({self.kind}){said}"

    @property
    def is_answer(self) -> bool:
        """Whether the server itself said so: it is there, and does not do what it is asked."""
        return (
            self.kind[:1].isupper()
            or self.kind[:1].isdigit()
            or self.kind.startswith(("status_", "max_number"))
        )

    @property
    def is_hopeless(self) -> bool:
        """Whether no waiting mends it."""
        return self.kind in HOPELESS

    @property
    def label(self) -> str:
        """The class for a metric, of a set that is bounded whatever a server says."""
        return self.kind if self.kind in KNOWN[self.server] else OTHER


# libpq's way of telling which server it is about, and what a URL may hold before its host.
_IN_A_URL = re.compile(r"://[^/\s@]*@")
# Redis repeats what it was sent behind these words.
_SENT = re.compile(r",? with args beginning with.*", re.DOTALL)


def sentence(text: str) -> str:
    """One line of what a server said, short, without a password and without what it was sent."""
    first = _SENT.sub("", text.strip()).partition("\n")[0]
    printable = "".join(letter if letter.isprintable() else " " for letter in first)
    said = _IN_A_URL.sub("://", " ".join(printable.split())).rstrip(".")
    return said if len(said) <= LONGEST_SENTENCE else f"{said[: LONGEST_SENTENCE - 3]}..."


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was made of, the outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
