"""Somebody who has signed in at a real `serve`, and every route of it."""

import re
from typing import Any

import httpx
from fastapi import FastAPI

from tests.browser.served import Served
from tests.browser.world import CRM, MAIL, add_accounts
from tests.end_to_end.processes.commands import eventually
from tests.integration.web.routes import Route, routes_of
from tests.plain_http import AS_OWN_PAGE, http_client
from tests.served.home import client_of
from worker.web import api, desk, files, pages
from worker.web.guards import FORM_TOKEN


def all_routes() -> list[Route]:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    for part in (api, pages, desk, files):
        app.include_router(part.router)
    return routes_of(app)


def paused_job(served: Served, prefix: str, *, connector: str = MAIL) -> str:
    """One row of three is installed, the others are held back."""
    accounts = [f"{prefix}-{number}" for number in range(3)]
    served.simulator.call(lambda world: add_accounts(world, accounts))
    items: list[dict[str, str]] = [{"account_id": each, "connector": connector} for each in accounts]
    if connector != CRM:
        items = [each | {"api_key": "key-5f1c"} for each in items]
    with client_of(served) as client:
        made = client.post("/v1/jobs", json={"items": items, "options": {"first": 1}})
        assert made.status_code == 202, made.text
        job_id = str(made.json()["id"])
        eventually(lambda: client.get(f"/v1/jobs/{job_id}").json()["state"] == "paused", "it is paused")
    return job_id


class Visitor:
    """A browser with a session. `token`: of its forms."""

    def __init__(self, served: Served, key: str | None = None) -> None:
        self.client = http_client(base_url=served.url, timeout=60)
        answer = self.client.post("/sign-in", data={"key": key or served.write_key}, headers=AS_OWN_PAGE)
        assert answer.status_code == 303, answer.text

    @property
    def token(self) -> str:
        page = self.client.get("/jobs/new").text
        found = re.search(f'name="{FORM_TOKEN}" value="([^"]+)"', page)
        assert found is not None
        return found.group(1)

    def __enter__(self) -> "Visitor":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.client.post(path, **more)
