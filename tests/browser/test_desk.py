"""The authorisation desk: staff make links, a customer follows one, and the job shows who has authorised."""

import csv
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Error, Page, expect

from tests.browser.conftest import Visit
from tests.browser.served import Served
from tests.browser.world import CRM, add_accounts, ids, write_file
from tests.end_to_end.processes.commands import eventually


def _has_authorised(page: Page) -> bool:
    page.reload()
    # The page renews itself: in that moment there is nothing to read.
    with suppress(Error):
        return page.locator("#authorised").inner_text().startswith("1\n")
    return False


def test_a_customer_authorises_with_a_link_from_the_mail_merge(visit: Visit, served: Served, tmp_path: Path):
    accounts = ids("desk", 4)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    visitor = visit(served.write_key)
    page = visitor.page
    visitor.upload(write_file(tmp_path / "desk.csv", accounts, connector=CRM))
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("all still to be authorised by their customers.")).to_be_visible()
    expect(page.get_by_text("waits for the customer's authorisation").first).to_be_visible()

    page.get_by_role("link", name="Authorisations").click()
    expect(page.get_by_text("There are no links yet.")).to_be_visible()
    page.get_by_role("button", name="Make links").click()
    # The page before it says "4" too: what only the new one has tells that it is there.
    expect(page.locator("#notice")).to_contain_text("The links are made.")
    expect(page.locator("#waiting")).to_contain_text("4")
    visitor.shoot("desk")
    visitor.assert_accessible()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download links for a mail merge").click()
    downloading.value.save_as(tmp_path / "links.csv")
    with (tmp_path / "links.csv").open(encoding="utf-8-sig", newline="") as file:
        links = {row["account_id"]: row["link"] for row in csv.DictReader(file)}
    assert sorted(links) == accounts

    # A mail scanner opens it, then the customer, on a phone; only their click mints anything.
    customer = visit(has_phone=True, other_hosts=(served.simulator.base_url,))
    path = links["desk-002"].removeprefix(served.url)
    for _ in range(3):
        customer.go(path)
    assert served.simulator.ledger.calls_of("sign_in") == []
    customer.shoot("customer")
    customer.assert_accessible()
    customer.page.get_by_role("button").click()
    expect(customer.page).to_have_url(f"{served.url}/authorised")
    expect(customer.page.get_by_role("heading")).to_be_visible()
    assert len(served.simulator.ledger.calls_of("sign_in")) == 1

    # Cyclr is asked, and the desk tells.
    page.reload()
    expect(page.locator("#clicked")).to_contain_text("1")
    page.get_by_role("button", name="Ask Cyclr about everybody who waits").click()
    expect(page.locator("#notice")).to_contain_text("Cyclr is being asked")
    eventually(lambda: _has_authorised(page), "the desk tells that one has authorised", every_s=0.5)
    visitor.go(f"{page.url.partition('?')[0].removeprefix(served.url)}?state=authorised")
    expect(page.get_by_role("cell", name="desk-002")).to_be_visible()

    # A withdrawn link opens nothing.
    page.get_by_role("link", name="Withdraw all links").click()
    page.locator("#confirm").get_by_role("button").click()
    expect(page.get_by_text("All links are withdrawn.")).to_be_visible()
    customer.go(links["desk-003"].removeprefix(served.url), status=410)
