"""What somebody sees whose server or network is away; and how much an open page asks for."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.served import Served, address, make_keys, open_served
from tests.browser.visitor import Visitor
from tests.browser.world import CREDENTIALS, add_accounts, ids, story_world, write_file
from worker.store.api_keys import find_key_of_text, revoke_key

ROWS = 8_000  # so many that the job does not end before somebody stops it


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that may be stopped."""
    folder = tmp_path_factory.mktemp("alone")
    world = story_world()
    add_accounts(world, ids("cut", ROWS))
    settings = {"CYCLR_CALLS_PER_SECOND": "50", "CYCLR_BURST": "20", "CYCLR_SETTLE_S": "0.5"}
    with open_served(folder, world, credentials=CREDENTIALS, **settings) as opened:
        yield opened


@pytest.fixture
def running(visit: Visit, alone: Served, tmp_path: Path) -> Iterator[Visitor]:
    """Somebody who looks at a job that runs, or goes on with the one of the test before."""
    visitor = visit(alone.write_key, url=alone.url)
    visitor.upload(write_file(tmp_path / "cut.csv", ids("cut", ROWS)))
    visitor.page.get_by_role("button", name="Start", exact=True).click()
    visitor.page.wait_for_url("**/jobs/*")
    visitor.go(visitor.page.url.partition("?")[0].removeprefix(alone.url))
    visitor.may_be_cut_off()
    return visitor


def test_a_page_says_that_it_is_not_connected_and_heals(running: Visitor):
    page = running.page
    said = page.locator("#connection")
    page.context.set_offline(True)
    expect(said).to_contain_text("Not connected since ")
    expect(said).to_contain_text("; what you see is of then.")
    running.shoot("not-connected")
    running.assert_accessible()

    # What cannot be asked for is not done in silence.
    page.get_by_role("link", name="Pause").click()
    expect(said).to_contain_text("The server cannot be reached, so nothing was done.")
    page.context.set_offline(False)
    expect(said).to_have_text("")
    page.get_by_role("link", name="Pause").click()
    expect(page.locator("#confirm")).to_be_visible()
    page.context.set_offline(True)
    running.confirm("Pause")
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached, so nothing was done.")
    running.shoot("not-paused")
    page.context.set_offline(False)
    running.confirm("Pause")
    expect(page.get_by_text("Somebody paused it.")).to_be_visible()
    page.get_by_role("link", name="Resume").click()
    running.confirm("Resume")
    expect(page.locator("#standing")).to_have_attribute("data-state", "running")


def test_a_list_says_that_it_is_not_connected_and_heals(running: Visitor):
    running.go("/jobs")
    said = running.page.locator("#connection")
    running.page.context.set_offline(True)
    expect(said).to_contain_text("Not connected since ")
    running.page.context.set_offline(False)
    expect(said).to_have_text("")


def test_a_page_outlives_its_server(running: Visitor, alone: Served):
    page = running.page
    page.evaluate("window.isStillTheSamePage = true")
    alone.command.send(15)
    alone.command.wait()
    expect(page.locator("#connection")).to_contain_text("Not connected since ")
    again = alone.place.start("serve", "--port", str(urlsplit(alone.url).port))
    address(again)
    expect(page.locator("#connection")).to_have_text("")
    expect(page.locator(".legend")).to_contain_text("done")
    assert page.evaluate("window.isStillTheSamePage") is True


def test_a_job_is_followed_with_15_requests_and_60_kb_a_minute(running: Visitor):
    page = running.page
    page.clock.install()
    page.reload()
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    sizes: list[float] = []
    network.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    for _ in range(12):
        with page.expect_response("**/live?*"):
            page.clock.run_for(5_000)
        page.wait_for_load_state("networkidle")
    assert 12 <= len(sizes) <= 15
    assert sum(sizes) <= 60_000, sizes


def test_a_hidden_page_rests(running: Visitor):
    page = running.page
    page.clock.install()
    page.reload()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true}); document.dispatchEvent(new Event('visibilitychange'))"
    page.evaluate(hide % "true")
    page.clock.run_for(120_000)
    assert [each for each in asked if "/jobs/" in each] == []
    with page.expect_response("**/live?*"):
        page.evaluate(hide % "false")


def test_a_dropped_file_is_found_again_until_it_is_discarded(visit: Visit, alone: Served, tmp_path: Path):
    visitor = visit(alone.write_key, url=alone.url)
    page = visitor.page
    visitor.upload(write_file(tmp_path / "later.csv", ["somebody"]))
    expect(page.get_by_text("1 row, no problems.")).to_be_visible()
    visitor.go("/jobs/new")
    expect(page.get_by_role("heading", name="1 file dropped and not started")).to_be_visible()
    visitor.shoot("new-job-waiting", whole=True)
    visitor.assert_accessible()
    page.get_by_role("link", name="Go on with later.csv").click()
    expect(page.get_by_text("1 row, no problems.")).to_be_visible()
    visitor.go("/jobs/new")
    page.get_by_role("button", name="Discard later.csv").click()
    expect(page.get_by_text("not started")).to_have_count(0)


def test_whoever_leaves_in_the_middle_of_an_upload_is_asked(visit: Visit, alone: Served, tmp_path: Path):
    visitor = visit(alone.write_key, url=alone.url)
    visitor.may_be_cut_off()
    page = visitor.page
    page.route("**/jobs/new", lambda route: None if route.request.method == "POST" else route.continue_())
    visitor.upload(write_file(tmp_path / "large.csv", ids("large", 50)))
    expect(page.get_by_text("Uploading")).to_be_visible()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.get_by_role("heading", name="New job").click()  # browsers ask only those who have touched the page
    page.reload()
    assert asked == ["beforeunload"]


def test_whoever_uploads_with_a_key_that_was_revoked_meanwhile_is_told_so(
    visit: Visit, alone: Served, tmp_path: Path
):
    write_key, _ = make_keys(alone.place)
    visitor = visit(write_key, url=alone.url)
    page = visitor.page
    visitor.go("/jobs/new")
    key = find_key_of_text(alone.place.engine, write_key)
    assert key is not None
    revoke_key(alone.place.engine, key.id)
    file = write_file(tmp_path / "revoked.csv", ids("revoked", 50_000))
    page.get_by_label("Drop a CSV here").set_input_files(file)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(
        page.get_by_text("The API key 'Ada, onboarding' that you had signed in with was revoked.")
    ).to_be_visible()
    visitor.shoot("revoked")
    visitor.assert_accessible()
