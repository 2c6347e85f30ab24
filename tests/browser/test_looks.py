"""How the pages look: nothing, 10 rows and 100,000 rows; light, dark, on a phone; and for those who do not look."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.served import Served, open_served
from tests.browser.world import CREDENTIALS, MAIL, add_accounts, ids, story_world, suspend, write_file

LARGE = 100_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A Cyclr with accounts enough, and nothing handed in yet."""
    world = story_world()
    accounts = ids("large", LARGE)
    add_accounts(world, accounts)
    suspend(world, accounts[20:4_020:100])
    with open_served(
        tmp_path_factory.mktemp("large"),
        world,
        credentials=CREDENTIALS,
        CYCLR_CALLS_PER_SECOND="500",
        CYCLR_BURST="100",
    ) as opened:
        yield opened


def test_a_job_of_100_000_rows_is_shown_like_a_small_one(visit: Visit, large: Served, tmp_path: Path):
    visitor = visit(large.write_key, url=large.url)
    page = visitor.page
    expect(page.get_by_text("No jobs yet.")).to_be_visible()
    visitor.shoot("jobs-empty")
    visitor.assert_accessible()
    visitor.upload(write_file(tmp_path / "all-customers.csv", ids("large", LARGE)))
    start = page.get_by_role("button", name="Start", exact=True)
    expect(start).to_be_visible(timeout=200_000)
    visitor.shoot("check-large")
    start.click()
    page.wait_for_url("**/jobs/*", timeout=200_000)
    expect(page.locator(".legend")).to_contain_text("40 failed")
    expect(page.locator("#pace")).to_be_visible()
    visitor.shoot("job-large")
    page.get_by_label("Account id").fill("large-99999")
    page.locator("#items").get_by_role("button", name="Show").click()
    expect(page.locator("table.items tbody tr")).to_have_count(1)
    dark = visit(large.read_key, url=large.url, is_dark=True)
    dark.go(page.url.partition("?")[0].removeprefix(large.url))
    expect(dark.page.locator(".legend")).to_contain_text("40 failed")
    expect(dark.page.locator("#pace")).to_be_visible()
    dark.shoot("job-large-dark")
    dark.assert_accessible()
    page.get_by_role("link", name="Pause").click()
    visitor.confirm("Pause")
    expect(page.get_by_text("Somebody paused it.")).to_be_visible()


@pytest.fixture(scope="module")
def ten_rows(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    accounts = ids("ten", 10)
    served.simulator.call(lambda world: (add_accounts(world, accounts), suspend(world, accounts[3:4])))
    return write_file(tmp_path_factory.mktemp("ten") / "ten-customers.csv", accounts, connector=MAIL)


def test_every_page_is_fit_for_light_and_dark_and_for_a_phone(visit: Visit, served: Served, ten_rows: Path):
    visitor = visit(served.write_key)
    page = visitor.page
    visitor.upload(ten_rows)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#standing")).to_have_attribute("data-state", "completed")
    visitor.shoot("job-of-ten", whole=True)
    job = page.url.partition("?")[0].removeprefix(served.url)

    paths = ("/jobs", "/jobs?q=nothing-of-this-name", job, f"{job}/retry", f"{job}/items/5", "/jobs/new")
    for is_dark in (False, True):
        looker = visit(served.write_key, is_dark=is_dark)
        for path in paths:
            looker.go(path)
            looker.assert_accessible()
        looker.go("/jobs")
        looker.shoot("jobs-dark" if is_dark else "jobs")
    phone = visit(served.write_key, has_phone=True)
    for path in paths:
        phone.go(path)
        phone.assert_fits()
    phone.go("/jobs")
    phone.shoot("jobs-phone")
    phone.go(job)
    phone.shoot("job-phone")


def test_the_keyboard_reaches_everything_in_order(visit: Visit, served: Served):
    visitor = visit(served.write_key)
    page = visitor.page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="New job").last).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("State")).to_be_focused()
