"""The server: uvicorn in a thread, so that the command's main thread keeps its signals and tends the home."""

import socket
import threading
from types import TracebackType
from typing import Any, Self

import uvicorn
from fastapi import FastAPI

from worker.web.connections import ACCEPTED_AT_ONCE, Deadlines, Door, protocol_of

GRACE_S = 5  # for requests in flight; streams of events would last for ever
STARTS_WITHIN_S = 30.0
POLL_S = 0.02


class NotServing(Exception):
    """The server did not start, or ended by itself."""


class WebServer:
    """Serves `app` while the context lasts. Raises OSError where the address cannot be used."""

    def __init__(self, app: FastAPI, host: str, port: int, patience: Deadlines | None = None) -> None:
        self._app = app
        self.door = Door(app.state.proxies, patience or Deadlines())
        make_connection: Any = protocol_of(self.door)
        self._socket = _listen(host, port)
        config = uvicorn.Config(
            app,
            http=make_connection,
            ws="none",
            proxy_headers=False,  # `Forwarded` knows better whom to believe
            backlog=ACCEPTED_AT_ONCE,
            timeout_keep_alive=self.door.patience.idle_s,  # type: ignore[arg-type]  # it is given to the loop as it is
            log_config=None,
            access_log=False,  # addresses hold account ids and links
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def __enter__(self) -> Self:
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(STARTS_WITHIN_S / POLL_S)):
            if self._server.started:
                return self
            if not self.is_alive:
                break
            waited.wait(POLL_S)
        self._stop()
        raise NotServing("the server did not start")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def _stop(self) -> None:
        self._app.state.is_ending = True  # streams of events end themselves
        self._server.should_exit = True
        self._thread.join(GRACE_S + 5)
        self._socket.close()


def _listen(host: str, port: int) -> socket.socket:
    [family, kind, protocol, _, address] = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError:
        listening.close()
        raise
    return listening
