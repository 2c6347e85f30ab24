"""A real Chromium, and a server for the whole run: each story hands in files of its own."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.served import Served, open_served
from tests.browser.visitor import Visitor
from tests.browser.world import CREDENTIALS, story_world

WITHIN_MS = 60_000
STORY_S = 400  # a story has many steps, each with a deadline of its own
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

Visit = Callable[..., Visitor]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(STORY_S), append=False)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    named = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    path = next((found for name in named if name and (found := shutil.which(name))), None)
    assert path is not None, "there is no Chromium: `make e2e` installs one"
    expect.set_options(timeout=WITHIN_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`cyclr-bulk serve` beside a simulated Cyclr."""
    folder = tmp_path_factory.mktemp("served")
    with open_served(
        folder,
        story_world(),
        credentials=CREDENTIALS,
        CYCLR_CALLS_PER_SECOND="100",
        CYCLR_BURST="20",
        CYCLR_SETTLE_S="0.5",
    ) as opened:
        yield opened


@pytest.fixture(scope="session")
def screenshots() -> Path | None:
    """Where screenshots go: `make screenshots` has them in docs. Elsewhere none are taken: on a busy machine one can take a minute."""
    if (named := os.environ.get("SCREENSHOTS")) is None:
        return None
    folder = Path(named)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visit(chromium: Browser, served: Served, screenshots: Path | None) -> Iterator[Visit]:
    """Opens the pages as somebody: `visit(served.write_key)`. At the end nothing may have gone wrong in the browser."""
    visitors: list[Visitor] = []

    def come(key: str | None = None, *, url: str | None = None, **more: object) -> Visitor:
        visitor = Visitor(chromium, url or served.url, screenshots, **more)  # type: ignore[arg-type]
        visitors.append(visitor)
        if key is not None:
            visitor.sign_in(key)
        return visitor

    yield come
    for visitor in visitors:
        visitor.leave()
    for visitor in visitors:
        visitor.assert_all_went_well()
