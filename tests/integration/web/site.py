"""A web process in this one: the real application behind a real port, a database, a Valkey and the simulator."""

import base64
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from tests.integration.store.databases import Stores, url_of
from tests.integration.web.serving import declare_idle, serving
from tests.plain_http import http_client
from worker.bootstrap.installer import Installer
from worker.bootstrap.place import Database, Place
from worker.settings import load_settings, parse_sealing_keys
from worker.simulator.server import SimulatorThread
from worker.store.api_keys import Scope, create_key
from worker.store.instances import ensure_instance
from worker.store.sealing import Sealer
from worker.store.session import Engine
from worker.web.serving import WebServer

SEALING_KEYS = f"tests:{base64.b64encode(b'7' * 32).decode()}"
CLIENT_ID, CLIENT_SECRET = "partner-1", "partner-secret-8d21f0"


class Site:
    """What a test of the API is given. `url`: of the server."""

    def __init__(self, place: Place, server: WebServer, app: Any) -> None:
        self.place = place
        self.app = app
        self.url = f"http://127.0.0.1:{server.port}"
        self.engine = place.database.engine
        self.server = server
        self.waiting = app.state.handing_in.waiting
        self.clients: list[httpx.Client] = []

    def key(self, scope: Scope = Scope.WRITE, *, lasts: timedelta | None = None, name: str = "tests") -> str:
        return create_key(self.engine, name=name, scope=scope, lasts=lasts)[1]

    @contextmanager
    def working(self) -> Iterator[None]:
        """While the context lasts, the rows of running jobs are installed, as by a worker process."""
        has_ended = threading.Event()

        def work() -> None:
            installer = Installer(self.place)
            while not has_ended.is_set():
                installer.run(for_s=0.5, on_start=lambda _loop, _run: None)
            installer.close()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            has_ended.set()
            thread.join(60)
            assert not thread.is_alive()

    def client(self, key: str | None = None, **options: Any) -> httpx.Client:
        """A client with this key in its header; without one where it is None. It is closed with the site."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        opened = http_client(base_url=self.url, headers=headers, timeout=60, **options)
        self.clients.append(opened)
        return opened


@contextmanager
def open_site(
    simulator: SimulatorThread, engine: Engine, redis_url: str, folder: Path | None, **settings: Any
) -> Iterator[Site]:
    """`folder`: where uploads wait; None: in the database. The schema is there already.

    Everything works with this `engine`: another one would compile all statements again.
    """
    chosen = load_settings(
        cyclr_api_url=simulator.base_url,
        cyclr_client_id=CLIENT_ID,
        cyclr_client_secret=CLIENT_SECRET,
        database_url=url_of(engine),
        redis_url=redis_url,
        cyclr_bulk_sealing_keys=SEALING_KEYS,
        **{"cyclr_calls_per_second": 1000, "cyclr_burst": 1000} | settings,
    )
    database = Database(engine, Sealer(parse_sealing_keys(SEALING_KEYS)), chosen.instance_id)
    ensure_instance(database.engine, chosen.instance_id, chosen.api_host)
    declare_idle(chosen, database.engine, redis_url)
    place = Place(chosen, database, redis_url, uploads=folder)
    with serving(place) as (app, server):
        site = Site(place, server, app)
        yield site
        for client in site.clients:
            client.close()


@contextmanager
def new_site(stores: Stores, redis_url: str, simulator: SimulatorThread, folder: Path) -> Iterator[Site]:
    """One with a database of its own. On SQLite uploads wait in files, on PostgreSQL in the database."""
    opened = stores.new()
    uploads = folder / "uploads" if opened.dialect.name == "sqlite" else None
    with open_site(simulator, opened, redis_url, uploads) as site:
        yield site
    stores.drop(opened)
    shutil.rmtree(folder / "uploads", ignore_errors=True)


def wait_until(is_true: Callable[[], bool], *, within_s: float = 60) -> None:
    """Looks soon, then ever more seldom: what is asked for is a request to a server, mostly."""
    deadline, pause_s = time.monotonic() + within_s, 0.01
    while not is_true():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(pause_s)
        pause_s = min(0.1, pause_s * 1.3)
