"""What a process of a deployment waits for when it starts: its database and its Redis.

What waiting mends it waits for, and says so once a minute; what it does not mend ends the process, with one message: a Redis
of a wrong kind, say, which is asked for once.
"""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from redis import Redis
from redis.exceptions import RedisError

from worker.domain.failures import ToldFailure
from worker.domain.server_faults import Server, ServerFault
from worker.redis_faults import is_error_reply, redis_server_fault
from worker.redis_url import parse_redis_url
from worker.store.faults import DatabaseAway, database_fault
from worker.store.readiness import require_ready
from worker.store.session import Engine
from worker.telemetry import ALARMS, get_logger
from worker.tickets import ask_broker

ONE_SERVER = (
    "name one Redis or Valkey that is neither, or an address that leads to the one that may be written to"
)
MODES = {"cluster": "a node of a Redis Cluster", "sentinel": "a Redis Sentinel"}

log = get_logger()


class UnusableRedis(ToldFailure):
    """No waiting mends it: a server of a kind that holds neither tickets nor a limit for all, or one that does not take what
    REDIS_URL says of us."""


def require_usable_redis(redis_url: str, *, says_doubts: bool = True) -> None:
    """One that is away, or that does not say what it is, may do. `says_doubts`: what is doubtful about it is logged. Raises: UnusableRedis."""
    url = parse_redis_url(redis_url).for_redis_py()
    with (
        suppress(RedisError, OSError),
        Redis.from_url(url, socket_timeout=5, socket_connect_timeout=3) as redis,
    ):
        # Every user may ask this, whatever else it may not.
        mode = _fields(redis.execute_command("HELLO")).get("mode", "")
        if mode in MODES:
            raise UnusableRedis(f"REDIS_URL: {MODES[mode]} answers there: {ONE_SERVER}")
        if not says_doubts:
            return
        memory: Any = redis.info("memory")
        if str(memory.get("maxmemory_policy", "")).startswith("allkeys"):
            log.warning(
                "redis_may_evict",
                policy=memory["maxmemory_policy"],
                doubt="a Redis that is full may drop tickets and the limit, so that nobody calls for seconds; use noeviction",
            )


def _fields(answer: Any) -> dict[str, str]:
    """A map as text, which a connection of the older protocol gets as a list."""
    pairs = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
    as_text = [[part.decode() if isinstance(part, bytes) else str(part) for part in pair] for pair in pairs]
    return dict(as_text)


LOOK_EVERY_S = 1.0
STARTING = "starting"


class Starting:
    """What has answered so far. `broker_url`: None where Redis need not be asked."""

    def __init__(self, engine: Engine, broker_url: str | None) -> None:
        self._engine = engine
        self._broker_url = broker_url
        self.has_database = False
        self.has_redis = broker_url is None
        self.error: ToldFailure | None = None

    @property
    def is_done(self) -> bool:
        return self.has_database and self.has_redis

    def look(self) -> None:
        """Ask those that have not answered yet. Raises: what no waiting mends: OldSchema, DatabaseAway, UnusableRedis."""
        self.has_database = self.has_database or self._is_database_there()
        self.has_redis = self.has_redis or self._is_redis_there()

    def wait(self) -> None:
        """Until all have answered. SIGTERM and Ctrl-C end the process meanwhile. Raises: as `look`."""
        with _ended_by_signals():
            self._look_until_done()

    def wait_beside(self) -> None:
        """The same in a thread, for a process that does something meanwhile; what it raises is its `error`."""
        threading.Thread(target=self._wait_beside, name="starting", daemon=True).start()

    def _wait_beside(self) -> None:
        try:
            self._look_until_done()
        except ToldFailure as error:
            self.error = error

    def _look_until_done(self) -> None:
        self.look()
        while not self.is_done:
            time.sleep(LOOK_EVERY_S)
            self.look()

    def _is_database_there(self) -> bool:
        try:
            require_ready(self._engine)
        except DatabaseAway as away:
            fault = database_fault(away) or ServerFault(Server.DATABASE, "connection_failed")
            if fault.is_hopeless:
                raise
            ALARMS.failed(fault, STARTING)
            return False
        ALARMS.went_well(Server.DATABASE, STARTING)
        return True

    def _is_redis_there(self) -> bool:
        assert self._broker_url is not None, "asked only where there is one"
        try:
            ask_broker(self._broker_url)
        except (RedisError, OSError) as error:
            fault = redis_server_fault(error)
            if fault.is_hopeless:
                raise UnusableRedis(f"{fault}. Check the user and the password in REDIS_URL.") from None
            if is_error_reply(error):  # it is there, and may be of a kind that will never answer otherwise
                require_usable_redis(self._broker_url, says_doubts=False)
            ALARMS.failed(fault, STARTING)
            return False
        ALARMS.went_well(Server.REDIS, STARTING)
        require_usable_redis(self._broker_url)
        return True


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Nothing was begun that would have to be ended."""

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        log.info("ended_while_waiting")
        sys.exit(0)

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
