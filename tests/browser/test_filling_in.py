"""Accounts that a template has made: what is missing is filled in, what differs is left alone until somebody says so."""

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.served import Served
from tests.browser.world import CRM, MAIL, add_accounts, ids, secrets_of, write_file
from worker.simulator.world import Install, World


def as_templates_leave_them(world: World, accounts: list[str]) -> None:
    """The first two without a credential, then one with an old key, one under another Name, one without anything."""
    add_accounts(world, accounts)
    release = world.find_release(MAIL)
    for account_id in accounts[:2]:
        world.add_installed(account_id, release, Install(MAIL))
    world.add_installed(accounts[2], release, Install(MAIL, auth_value="old-key-77"))
    world.add_installed(accounts[3], release, Install("Northwind Mail 2", auth_value="its-key-77"))


def test_what_is_missing_is_filled_in_and_what_differs_is_overwritten_where_it_is_said(
    visit: Visit, served: Served, tmp_path: Path
):
    accounts = ids("template", 5)
    served.simulator.call(lambda world: as_templates_leave_them(world, accounts))
    visitor = visit(served.write_key)
    page = visitor.page
    visitor.upload(write_file(tmp_path / "template-first.csv", accounts))
    expect(page.get_by_text("5 rows, no problems.")).to_be_visible()
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("#standing")).to_have_attribute("data-state", "completed")
    expect(page.locator(".legend")).to_contain_text("3 done")
    expect(page.locator(".legend")).to_contain_text("2 failed")
    outcomes = page.locator("#outcomes")
    expect(outcomes).to_contain_text("1 created")
    expect(outcomes).to_contain_text(
        "2 filled in: api_key (2 rows), property.Region (2 rows), property.WebhookSecret (2 rows)"
    )
    expect(page.locator(".reasons")).to_contain_text("“Overwrite” (--overwrite)")
    expect(page.locator(".reasons")).to_contain_text("“Beside” (--beside)")
    visitor.shoot("job-filled-in", whole=True)
    visitor.assert_accessible()

    # The number leads to its rows; a row says what it has changed.
    page.get_by_role("link", name="filled in").click()
    expect(page.locator("table.items tbody tr")).to_have_count(2)
    page.get_by_role("link", name="Row 2", exact=True).click()
    expect(page.locator("#effects")).to_contain_text("api_key")
    page.go_back()

    # Only what differs is handed in again, and may be overwritten.
    job = page.url.partition("?")[0].partition("#")[0]
    page.goto(job)
    differs = page.locator(".reasons > li").filter(has_text="Overwrite")
    with page.expect_download() as downloading:
        differs.get_by_role("link", name="Download these").click()
    downloading.value.save_as(tmp_path / "differs.csv")
    visitor.upload(tmp_path / "differs.csv")
    expect(page.get_by_text("1 row, no problems.")).to_be_visible()
    page.get_by_text("Options", exact=True).click()
    page.get_by_role("checkbox", name="Overwrite").check()
    page.get_by_role("checkbox", name="No look").check()
    visitor.shoot("options", whole=True)
    page.get_by_role("button", name="Check again").click()
    expect(page.get_by_text("Overwrite needs the look that No look leaves out")).to_be_visible()
    visitor.shoot("options-refused", whole=True)
    visitor.assert_accessible()
    page.get_by_role("checkbox", name="No look").uncheck()
    page.get_by_role("button", name="Check again").click()
    expect(page.get_by_text("Values overwritten")).to_be_visible()
    expect(page.get_by_text("at most; what they were is kept for 72 h")).to_be_visible()
    visitor.shoot("check-overwrite", whole=True)
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("#standing")).to_have_attribute("data-state", "completed")
    expect(page.locator("#outcomes")).to_contain_text("1 updated: api_key (1 row)")
    page.get_by_role("link", name="Row 2", exact=True).click()
    expect(page.get_by_text("kept sealed until")).to_be_visible()
    visitor.shoot("row-updated", whole=True)
    visitor.assert_accessible()
    visitor.assert_no_secret({*secrets_of(accounts), "old-key-77", "its-key-77"})


def test_what_is_chosen_after_a_check_is_never_started_unchecked(
    visit: Visit, served: Served, tmp_path: Path
):
    accounts = ids("chosen", 2)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    visitor = visit(served.write_key)
    page = visitor.page
    visitor.upload(write_file(tmp_path / "chosen.csv", accounts))
    expect(page.get_by_text("Rows to install or fill in")).to_be_visible()
    page.get_by_role("radio", name="Update").check()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("Rows to update")).to_be_visible()
    expect(page.get_by_role("radio", name="Update")).to_be_checked()
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("#standing")).to_have_attribute("data-state", "completed")
    expect(page.locator(".reasons")).to_contain_text("there is nothing to update", ignore_case=True)
    held = served.simulator.call(lambda world: [list(world.accounts[each].connectors) for each in accounts])
    assert held == [[], []]


def test_customers_of_connectors_that_were_there_already_have_links(
    visit: Visit, served: Served, tmp_path: Path
):
    accounts = ids("there", 2)

    def seed(world: World) -> None:
        add_accounts(world, accounts)
        world.add_installed(accounts[0], world.find_release(CRM), Install(CRM))

    served.simulator.call(seed)
    visitor = visit(served.write_key)
    page = visitor.page
    visitor.upload(write_file(tmp_path / "there.csv", accounts, connector=CRM))
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("#standing")).to_have_attribute("data-state", "completed")
    expect(page.locator("#outcomes")).to_contain_text("1 unchanged")
    page.get_by_role("link", name="Authorisations").click()
    page.get_by_role("button", name="Make links").click()
    expect(page.locator("#notice")).to_contain_text("The links are made.")
    expect(page.locator("#waiting")).to_contain_text("2")
    expect(page.locator("button[data-copy^=http]")).to_have_count(2)
