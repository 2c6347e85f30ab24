"""`cyclr-bulk serve` on a home of its own, and a client of its API."""

from pathlib import Path
from typing import Any

import httpx

from tests.browser.served import Served, open_served
from tests.browser.world import CREDENTIALS, story_world
from tests.plain_http import http_client

ASK_EVERY_S = 0.25  # a look at a job is a request, and many cost the server more than the job does


def open_home(folder: Path, **settings: str) -> Any:
    chosen = {
        "CYCLR_CALLS_PER_SECOND": "100",
        "CYCLR_BURST": "20",
        "CYCLR_SETTLE_S": "0.5",
        "CYCLR_TIMEOUT_S": "2",
    }
    return open_served(folder, story_world(), credentials=CREDENTIALS, **(chosen | settings))


def client_of(served: Served, *, url: str | None = None, key: str | None = None) -> httpx.Client:
    """`url`, `key`: others than those of `served`."""
    headers = {"Authorization": f"Bearer {key or served.write_key}"}
    return http_client(base_url=url or served.url, headers=headers, timeout=300)
