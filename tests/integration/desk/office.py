"""A real web process (a server on a loopback port) with a database, and the simulator as its Cyclr."""

import base64
import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import structlog

from tests.integration.store.databases import SEALER, Loads, end, planned, take, url_of
from tests.integration.web.serving import declare_idle, serving
from tests.plain_http import AS_OWN_PAGE, http_client
from worker.bootstrap.place import Database, Place
from worker.cyclr.limiter_rule import Rule
from worker.domain.connectors import AuthMethod, Connector
from worker.domain.states import Outcome
from worker.domain.verdicts import Installed
from worker.domain.words import WAITS_FOR_CUSTOMER
from worker.jobs.authorising import PURPOSE
from worker.settings import load_settings
from worker.simulator.catalogue import method
from worker.simulator.server import SimulatorThread
from worker.simulator.world import Install, World
from worker.store.api_keys import Scope, create_key
from worker.store.links import Link
from worker.store.sealing import Signer
from worker.store.session import Engine
from worker.telemetry import configure_logging

DEADLINE_S = 60.0
KEY = b"1" * 32  # the one of SEALER
CLIENT_SECRET = "partner-secret-8d21f0"
SERVICE = "https://acme-h.cyclr.example"
PUBLIC = "https://connect.example.com"
OAUTH = AuthMethod("m-oauth", "OAuth", "OAuth2", "AuthorisationCode")
CRM = Connector(8, "Harbour CRM", None, "Live", (OAUTH,))


@dataclass
class Office:
    """`page`: what a customer's browser speaks to; it follows no redirect."""

    engine: Engine
    simulator: SimulatorThread
    place: Place
    page: httpx.Client
    log: io.StringIO
    keys: dict[str, str] = field(default_factory=dict)

    def job(self, rows: int = 1, *, start: int = 2) -> str:
        """A job whose rows (accounts a2, a3, ...) are installed at Cyclr and wait for their customers."""
        ensure = Loads(self.engine)
        loader = ensure.loader(instance_id=self.place.database.instance_id)
        loader.add_connector("crm", CRM)
        for number in range(start, start + rows):
            row = planned(number, connector_key="crm", authentication_id="m-oauth", name=f"CRM {number}")
            loader.add(row, account_exists=True)
        loader.finish()
        ids = {number: self._install(f"a{number}", f"CRM {number}") for number in range(start, start + rows)}
        held = take(self.engine, instance_id=self.place.database.instance_id)
        verdicts = [
            Installed(
                Outcome.CREATED, ids[item.row_number], is_authenticated=False, message=WAITS_FOR_CUSTOMER
            )
            for item in held
        ]
        assert end(self.engine, *zip(held, verdicts, strict=True)) == rows
        return loader.job_id

    def _install(self, account_id: str, name: str) -> int:
        def install(world: World) -> int:
            world.add_account(account_id)
            release = world.find_release("Harbour CRM")
            assert release is not None
            return world.add_installed(account_id, release, Install(name=name)).id

        return self.simulator.call(install)

    def links(self, job_id: str, *, days: int = 14) -> list[str]:
        """The tokens of the job's links, made now."""
        made = self.api("POST", job_id, json={"expires_in_days": days})
        assert made.status_code == 200, made.text
        return [item["link"].rpartition("/")[2] for item in made.json()["items"]]

    def api(
        self, verb: str, job_id: str, path: str = "", *, scope: Scope | None = Scope.WRITE, **more: Any
    ) -> httpx.Response:
        """A call of `/v1/jobs/{id}/authorisations` with a key of this scope."""
        headers = {} if scope is None else {"Authorization": f"Bearer {self.key(scope)}"}
        return self.page.request(verb, f"/v1/jobs/{job_id}/authorisations{path}", headers=headers, **more)

    def key(self, scope: Scope) -> str:
        if scope not in self.keys:
            _, self.keys[scope] = create_key(self.engine, name=f"a {scope} key", scope=scope, lasts=None)
        return self.keys[scope]

    def sign(self, link: Link, *, key: bytes = KEY, purpose: str = PURPOSE) -> str:
        return Signer({"k1": key}, purpose).sign(link.to_text())

    def calls(self, kind: str) -> int:
        """How many calls of a kind have reached Cyclr."""
        return len(self.simulator.ledger.calls_of(kind))

    def authorise(self, account_id: str) -> None:
        """The customer does what Cyclr's page asks."""

        def be_authenticated(world: World) -> None:
            for connector in world.accounts[account_id].connectors.values():
                connector.is_authenticated = True

        self.simulator.call(be_authenticated)


@contextmanager
def open_office(engine: Engine, **given: Any) -> Iterator[Office]:
    """`given`: settings."""
    world = World(credentials={"partner-1": CLIENT_SECRET})
    world.add_connector(
        "Harbour CRM", methods=[method("OAuth2", seed="tests", oauth2_type="AuthorisationCode")]
    )
    with (
        SimulatorThread(world) as simulator,
        _log() as log,
        pytest.MonkeyPatch.context() as patch,
    ):
        # Cyclr is asked step by step: a test need not wait two seconds for the next one.
        patch.setattr("worker.web.app.STEP_S", 0.2)
        settings = load_settings(
            env_file=None,
            **{
                "cyclr_api_url": simulator.base_url,
                "cyclr_client_id": "partner-1",
                "cyclr_client_secret": CLIENT_SECRET,
                "cyclr_calls_per_second": 500,
                "cyclr_burst": 100,
                "cyclr_timeout_s": 5,
                "cyclr_service_url": SERVICE,
                "cyclr_bulk_public_url": PUBLIC,
                "cyclr_signin_username": "connect+{account_id}@example.com",
                "cyclr_bulk_sealing_keys": "k1:" + base64.b64encode(KEY).decode(),
                "database_url": url_of(engine),
                "redis_url": "redis://127.0.0.1:1/0",
            }
            | given,
        )
        rule = Rule()
        declare_idle(settings, engine, rule)
        place = Place(settings, Database(engine, SEALER, settings.instance_id), rule)
        with (
            serving(place) as (_, server),
            http_client(
                base_url=f"http://127.0.0.1:{server.port}", timeout=DEADLINE_S, headers=AS_OWN_PAGE
            ) as page,
        ):
            yield Office(engine, simulator, place, page, log)


@contextmanager
def _log() -> Iterator[io.StringIO]:
    """All that is logged, by ours and by the libraries."""
    log = io.StringIO()
    configure_logging(log)
    handler = logging.StreamHandler(log)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield log
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        structlog.reset_defaults()


def in_threads(count: int, do: Callable[[], httpx.Response]) -> list[httpx.Response]:
    """What `do` gives, asked so many times at once."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(count) as pool:
        return [future.result(DEADLINE_S) for future in [pool.submit(do) for _ in range(count)]]
