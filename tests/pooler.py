"""A pooler of the tests' own, as PgBouncer is in transaction mode, so that every machine can test what it does to us.

It lends a session of the server for one transaction, as ReadyForQuery tells, and then another one that has rested longest, so
that nothing a client left in a session is there when it comes again. It resets nothing in between, and refuses what PgBouncer
refuses: unknown parameters of the start, such as `options`.
"""

import asyncio
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.postgres import PostgresServer, _as_a_user
from tests.started import start_process

# https://www.pgbouncer.org/config.html: what it tracks; all else is refused unless it is told to ignore it.
KNOWN_PARAMETERS = {
    "user",
    "database",
    "application_name",
    "client_encoding",
    "datestyle",
    "timezone",
    "standard_conforming_strings",
}
# A question to the server: how much of a client there is in its session that outlasts a transaction.
LEFT_IN_A_SESSION = (
    "SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())"
    " + (SELECT count(*) FROM pg_prepared_statements)"
    " + (SELECT count(*) FROM pg_listening_channels())"
    " + (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema())"
    " + (SELECT count(*) FROM pg_settings WHERE source = 'session' AND name <> 'application_name')"
)
PROTOCOL_3 = 196608
SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
HEADER = struct.Struct("!cI")


@dataclass
class Session:
    """One of the server's. `hello`: what it said of itself when it was opened."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    hello: bytes


@dataclass
class Client:
    """One of ours, and the session that it is lent just now. `due`: answers that are still to come; `is_open`: its question is
    not whole yet."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    lent: Session | None = None
    answering: "asyncio.Task[None] | None" = None
    due: int = 0
    is_open: bool = False


@dataclass
class Pool:
    """The sessions for one user and database: at most so many as `free` lets through, the one first that rested longest."""

    user: str
    database: str
    free: asyncio.Semaphore
    opened: set[int] = field(default_factory=set)
    resting: deque[Session] = field(default_factory=deque)

    def forget(self, session: Session) -> None:
        session.writer.close()
        self.opened.discard(id(session))


class Pooler:
    """`server`: the folder of PostgreSQL's socket. `sessions`: of the server, for all clients of one database together."""

    def __init__(self, server: Path, sessions: int) -> None:
        self._socket = str(server / ".s.PGSQL.5432")
        self._sessions = sessions
        self._pools: dict[tuple[str, str], Pool] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pooler")
        self._listener: asyncio.Server | None = None
        self.port = 0
        self.transactions = 0
        self.questions = 0  # each is a round trip
        self.refused: list[str] = []

    def url(self, of_server: str) -> str:
        """The same database as that URL names, through the pooler."""
        database = of_server.partition("?")[0].rpartition("/")[2]
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def ask_each(self, question: str) -> list[list[str]]:
        """The first column of the answer in each session, one after the other: what was left in them."""
        return asyncio.run_coroutine_threadsafe(self._ask_each(question), self._loop).result(30)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        assert self._listener is not None
        self._listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for pool in self._pools.values():
            for session in pool.resting:
                session.writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Client(reader, writer)
        with suppress(asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pool = await self._greet(client)
            if pool is not None:
                try:
                    await self._carry_questions(client, pool)
                finally:
                    self._take_away(client, pool)
        writer.close()

    async def _greet(self, client: Client) -> Pool | None:
        while True:
            (length,) = struct.unpack("!I", await client.reader.readexactly(4))
            (code,) = struct.unpack("!I", await client.reader.readexactly(4))
            rest = await client.reader.readexactly(length - 8)
            if code == CANCEL_REQUEST:
                return None
            if code not in (SSL_REQUEST, GSS_REQUEST):
                break
            client.writer.write(b"N")
        words = rest.rstrip(b"\0").decode().split("\0")
        given = dict(zip(words[::2], words[1::2], strict=True))
        for name in given:
            if name.lower() not in KNOWN_PARAMETERS:
                self.refused.append(name)
                client.writer.write(_error(f"unsupported startup parameter: {name}"))
                await client.writer.drain()
                return None
        key = given["user"], given["database"]
        pool = self._pools.setdefault(key, Pool(*key, asyncio.Semaphore(self._sessions)))
        async with pool.free:
            session = await self._session(pool)
            pool.resting.append(session)
        client.writer.write(session.hello)
        await client.writer.drain()
        return pool

    async def _session(self, pool: Pool) -> Session:
        """A session that nobody uses. Those that the server has ended meanwhile are passed over."""
        for session in [each for each in pool.resting if each.reader.at_eof()]:
            pool.resting.remove(session)
            pool.forget(session)
        # As many as there may be, so that a client hardly ever meets the one that it had before.
        if len(pool.opened) < self._sessions or not pool.resting:
            return await self._open(pool)
        return pool.resting.popleft()

    async def _open(self, pool: Pool) -> Session:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        words = ("user", pool.user, "database", pool.database)
        start = b"".join(f"{word}\0".encode() for word in words) + b"\0"
        writer.write(struct.pack("!II", 8 + len(start), PROTOCOL_3) + start)
        hello = b""
        while True:
            kind, message = await _message(reader)
            if kind == b"E":
                raise ConnectionError(message.decode(errors="replace"))
            hello += message
            if kind == b"Z":
                session = Session(reader, writer, hello)
                pool.opened.add(id(session))
                return session

    async def _carry_questions(self, client: Client, pool: Pool) -> None:
        while True:
            kind, message = await _message(client.reader)
            if kind == b"X":
                return
            if client.lent is None:
                await pool.free.acquire()
                try:
                    client.lent = await self._session(pool)
                except BaseException:
                    pool.free.release()
                    raise
                client.answering = asyncio.create_task(self._carry_answers(client, pool, client.lent))
            # Query, Sync and FunctionCall each get a ReadyForQuery; what else comes is a part of a question.
            client.is_open = kind not in (b"Q", b"S", b"F") and not (
                client.due and kind in (b"d", b"c", b"f")
            )
            client.due += kind in (b"Q", b"S", b"F")
            self.questions += kind in (b"Q", b"S", b"F")
            client.lent.writer.write(message)
            await client.lent.writer.drain()

    async def _carry_answers(self, client: Client, pool: Pool, session: Session) -> None:
        try:
            while True:
                kind, message = await _message(session.reader)
                if kind == b"Z":
                    client.due -= 1
                    if message[5:6] == b"I" and not client.due and not client.is_open:
                        self.transactions += 1
                        # Before the client hears of it: what it asks next goes to another session.
                        client.lent = None
                        pool.resting.append(session)
                        pool.free.release()
                        client.writer.write(message)
                        return
                client.writer.write(message)
                await client.writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            client.writer.close()  # the server has ended its session, or the client has gone

    def _take_away(self, client: Client, pool: Pool) -> None:
        """As PgBouncer does with a client that goes in the middle of a transaction: the session ends with it."""
        if client.lent is not None:
            assert client.answering is not None
            client.answering.cancel()
            pool.forget(client.lent)
            pool.free.release()

    async def _ask_each(self, question: str) -> list[list[str]]:
        answers = []
        for pool in self._pools.values():
            for _ in range(self._sessions):
                async with pool.free:
                    session = await self._session(pool)
                    answers.append(await _ask(session, question))
                    pool.resting.append(session)
        return answers


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Its kind, and the whole of it."""
    head = await reader.readexactly(5)
    kind, length = HEADER.unpack(head)
    return kind, head + await reader.readexactly(length - 4)


async def _ask(session: Session, question: str) -> list[str]:
    text = question.encode() + b"\0"
    session.writer.write(HEADER.pack(b"Q", 4 + len(text)) + text)
    found = []
    while True:
        kind, message = await _message(session.reader)
        if kind == b"E":
            raise RuntimeError(message.decode(errors="replace"))
        if kind == b"D":
            (length,) = struct.unpack("!i", message[7:11])
            found.append("" if length < 0 else message[11 : 11 + length].decode())
        if kind == b"Z":
            return found


def _error(text: str) -> bytes:
    fields = b"".join(
        f"{code}{value}\0".encode() for code, value in (("S", "FATAL"), ("C", "08P01"), ("M", text))
    )
    return HEADER.pack(b"E", 5 + len(fields)) + fields + b"\0"


@contextmanager
def transaction_pooler(server: Path, *, sessions: int = 4) -> Iterator[Pooler]:
    """A running pooler before the PostgreSQL whose socket is in this folder."""
    pooler = Pooler(server, sessions)
    pooler.start()
    try:
        yield pooler
    finally:
        pooler.stop()


PGBOUNCER = """\
[databases]
* = host={server} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
"""


@contextmanager
def pgbouncer(server: PostgresServer) -> Iterator[int]:
    """The port of a real PgBouncer in transaction mode before that server; one must be installed."""
    folder = Path(tempfile.mkdtemp(prefix="pgb-"))
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    (folder / "ini").write_text(PGBOUNCER.format(server=server.folder, port=port))
    process = start_process(
        [*_as_a_user(), "pgbouncer", str(folder / "ini")],  # it does not run as root
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not _listens(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
