"""A job is watched and steered; who may only read is offered nothing else."""

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.served import Served
from tests.browser.world import add_accounts, ids, write_file


def test_a_running_job_is_paused_resumed_and_cancelled(visit: Visit, served: Served, tmp_path: Path):
    accounts = ids("steered", 8_000)  # so many that it does not end before somebody stops it
    served.simulator.call(lambda world: add_accounts(world, accounts))
    visitor, watcher = visit(served.write_key), visit(served.read_key)
    page = visitor.page
    visitor.upload(write_file(tmp_path / "steered.csv", accounts))
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/jobs/*")
    job = page.url.partition("?")[0].removeprefix(served.url)
    page.evaluate("window.isStillTheSamePage = true")
    expect(page.locator("#pace")).to_be_visible()
    visitor.shoot("job-running")

    # Another person, with a key that may only read, sees the same and is offered nothing to do.
    watcher.go(job)
    expect(watcher.page.locator("#standing")).to_have_attribute("data-state", "running")
    for name in ("Pause", "Cancel", "Resume", "Retry", "New job"):
        expect(watcher.page.get_by_role("link", name=name)).to_have_count(0)
    expect(watcher.page.get_by_role("link", name="Download all results")).to_be_visible()

    page.get_by_role("link", name="Pause").click()
    expect(page.locator("#confirm")).to_contain_text("nothing new is sent to Cyclr")
    visitor.shoot("pause")
    visitor.confirm("Pause")
    expect(page.get_by_text("Somebody paused it.")).to_be_visible()
    # The other person's page asks by itself.
    expect(watcher.page.get_by_text("Somebody paused it.")).to_be_visible()
    expect(page.locator(".legend")).not_to_contain_text("in hand")
    visitor.shoot("job-paused")
    visitor.assert_accessible()
    page.get_by_role("link", name="Cancel").click()
    expect(page.locator("#confirm")).to_be_visible()
    visitor.assert_accessible()
    page.get_by_role("link", name="Leave it as it is").click()
    sent = len(served.simulator.ledger.calls_of("install"))

    page.get_by_role("link", name="Resume").click()
    expect(page.locator("#confirm")).to_contain_text("left, and go on")
    visitor.confirm("Resume")
    expect(page.locator("#standing")).to_have_attribute("data-state", "running")
    expect(page.locator(".legend")).to_contain_text("in hand")

    page.get_by_role("link", name="Cancel").click()
    expect(page.locator("#confirm")).to_contain_text("What is done stays done in Cyclr")
    visitor.confirm("Cancel the job")
    expect(page.locator("#standing")).to_have_attribute("data-state", "cancelled")
    expect(page.locator("#standing")).to_have_attribute("data-is-over", "yes")
    assert len(served.simulator.ledger.calls_of("install")) > sent
    expect(page.get_by_role("link", name="Retry")).to_be_visible()


def test_a_confirmation_can_be_left_by_keyboard_with_nothing_changed(
    visit: Visit, served: Served, tmp_path: Path
):
    accounts = ids("kept", 3)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    visitor = visit(served.write_key)
    page = visitor.page
    visitor.upload(write_file(tmp_path / "kept.csv", accounts))
    page.get_by_label("Only the first rows").fill("1")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("The first rows asked for are done.")).to_be_visible()
    page.get_by_role("link", name="Cancel").press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).not_to_be_visible()
    expect(page.get_by_role("link", name="Cancel")).to_be_focused()
    expect(page.locator("#standing")).to_have_attribute("data-state", "paused")
    page.get_by_role("link", name="Resume").press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#standing")).to_have_attribute("data-state", "completed")


def test_what_a_key_may_not_do_is_refused_too(visit: Visit, served: Served):
    visitor = visit(served.read_key)
    expect(visitor.page.get_by_role("link", name="New job")).to_have_count(0)
    visitor.go("/jobs/new", status=403)
    expect(visitor.page.get_by_role("heading", name="Not allowed")).to_be_visible()
    visitor.shoot("not-allowed")
    visitor.go("/jobs/261122-nobody", status=404)
    expect(visitor.page.get_by_role("heading", name="Not found")).to_be_visible()


def test_the_page_follows_a_job_without_being_loaded_again(visit: Visit, served: Served, tmp_path: Path):
    accounts = ids("asked", 60)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    visitor = visit(served.write_key)
    page = visitor.page
    visitor.upload(write_file(tmp_path / "asked.csv", accounts))
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/jobs/*")
    page.evaluate("window.isStillTheSamePage = true")
    expect(page.get_by_text("Every row is done.")).to_be_visible()
    assert page.evaluate("window.isStillTheSamePage") is True


# As fast as anybody or anything can be: the moment that the new filters stand there.
CHOOSE_AT_ONCE = """
new MutationObserver((_, observer) => {
  observer.disconnect();
  const states = document.getElementById("item-state");
  states.value = "failed";
  states.dispatchEvent(new Event("change", { bubbles: true }));
}).observe(document.querySelector("main"), { childList: true });
"""


def test_what_is_chosen_as_soon_as_the_rows_are_there_counts(visit: Visit, served: Served, tmp_path: Path):
    accounts = ids("at-once", 2)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    visitor = visit(served.write_key)
    page = visitor.page
    visitor.upload(write_file(tmp_path / "at-once.csv", accounts))
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("Every row is done.")).to_be_visible()
    page.evaluate(CHOOSE_AT_ONCE)
    page.locator("#items").get_by_role("button", name="Show").click()
    expect(page.get_by_text("No row matches.")).to_be_visible()


def test_rows_are_found_by_state_and_by_account(visit: Visit, served: Served, tmp_path: Path):
    accounts = ids("found", 30)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    visitor = visit(served.write_key)
    page = visitor.page
    visitor.upload(write_file(tmp_path / "found.csv", accounts))
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("Every row is done.")).to_be_visible()
    rows = page.locator("table.items tbody tr")
    page.get_by_label("Account id").fill("found-02")
    page.locator("#items").get_by_role("button", name="Show").click()
    expect(rows).to_have_count(10)
    page.locator("#item-state").select_option("failed")
    expect(page.get_by_text("No row matches.")).to_be_visible()
    page.get_by_role("link", name="Show all rows").click()
    expect(rows).to_have_count(25)
    page.get_by_role("link", name="Next 25 rows").click()
    expect(rows).to_have_count(5)
    page.get_by_role("link", name="Previous rows").click()
    expect(rows).to_have_count(25)
    page.get_by_label("Reference begins with").fill("ORDER-4002")
    page.locator("#items").get_by_role("button", name="Show").click()
    expect(rows).to_have_count(10)
    page.get_by_label("Reference begins with").fill("order-40030")
    page.locator("#items").get_by_role("button", name="Show").click()
    page.get_by_role("link", name="Row 31", exact=True).click()
    expect(page.get_by_role("heading", name="Row 31: found-030")).to_be_visible()
    expect(page.get_by_text("There is nothing to do.")).to_be_visible()
    visitor.shoot("row-installed")
