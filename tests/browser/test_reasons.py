"""Why rows failed: all reasons, each with its rows; a row is tried again from its own page."""

import csv
import io
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.served import Served
from tests.browser.world import add_accounts, ids, write_file
from worker.simulator.faults import refused

WORDS = [
    "ant",
    "bee",
    "cat",
    "dog",
    "eel",
    "fox",
    "gnu",
    "hen",
    "ibex",
    "jay",
    "kite",
    "lark",
    "mole",
    "newt",
    "owl",
    "pig",
    "quail",
    "rat",
    "seal",
    "toad",
]


def test_every_reason_is_reached_shown_retried_and_downloaded(visit: Visit, served: Served, tmp_path: Path):
    accounts = ids("reasons", 49)  # fewer than a share of failures could pause

    def refuse(world) -> None:
        # 36 reasons: the first with 14 rows, the others with one each.
        add_accounts(world, accounts)
        for number, account_id in enumerate(accounts):
            word = f"{WORDS[number % 20]} {WORDS[number // 20]}" if number < 35 else "everybody"
            world.faults.add(refused(403, f"No room for {word} here."), call="install", account_id=account_id)

    served.simulator.call(refuse)
    visitor = visit(served.write_key)
    page = visitor.page
    visitor.upload(write_file(tmp_path / "reasons.csv", accounts))
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("#standing")).to_have_attribute("data-state", "completed")
    job = page.url.partition("?")[0].removeprefix(served.url)

    # The most frequent ones stand on the job, all of them behind.
    expect(page.locator(".reasons > li")).to_have_count(10)
    expect(page.locator(".reasons > li").first).to_contain_text("14 × No room for everybody here.")
    expect(page.get_by_text("26 more failed rows")).to_be_visible()
    visitor.shoot("reasons-of-a-job", whole=True)
    visitor.assert_accessible()
    page.get_by_role("link", name="All reasons").click()
    expect(page.get_by_role("heading", name="49 failed rows, by reason")).to_be_visible()
    expect(page.locator(".reasons > li")).to_have_count(25)
    page.get_by_role("link", name="Less frequent ones").click()
    expect(page.locator(".reasons > li")).to_have_count(11)
    page.get_by_role("link", name="More frequent ones").click()
    expect(page.locator(".reasons > li")).to_have_count(25)
    visitor.shoot("reasons", whole=True)
    visitor.assert_accessible()

    # The rows of one, and of one only.
    page.get_by_role("link", name="Less frequent ones").click()
    page.get_by_role("link", name="Show: No room for owl bee here.").click()
    rows = page.locator("table.items tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("reasons-035")
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download these: No room for everybody here.").click()
    downloading.value.save_as(tmp_path / "everybody.csv")
    lines = list(csv.DictReader(io.StringIO((tmp_path / "everybody.csv").read_text(encoding="utf-8-sig"))))
    assert [line["account_id"] for line in lines] == accounts[35:]
    served.simulator.call(lambda world: world.faults.clear())
    page.get_by_role("link", name="Retry these: No room for everybody here.").click()
    expect(page.locator("#confirm")).to_contain_text("14 failed rows: No room for everybody here.")
    visitor.confirm("Retry")
    expect(page.locator(".legend")).to_contain_text("14 done")
    expect(page.locator(".legend")).to_contain_text("35 failed")

    # One row, from its own page.
    visitor.go(f"{job}/items/36")
    page.get_by_role("link", name="Retry this row").click()
    expect(page.locator("#confirm")).to_contain_text("Account reasons-035, failed: No room for owl bee here.")
    visitor.shoot("retry-row")
    visitor.confirm("Retry")
    expect(page.locator(".legend")).to_contain_text("15 done")
    visitor.go(f"{job}/items/36")
    expect(page.get_by_role("link", name="Retry this row")).to_have_count(0)

    for look in ({"is_dark": True}, {"has_phone": True}):
        looker = visit(served.read_key, **look)
        for path, name in ((job, "job"), (f"{job}/failures", "all"), (f"{job}/items/2", "row")):
            looker.go(path)
            expect(looker.page.get_by_role("link", name="Retry these")).to_have_count(0)
            looker.assert_accessible()
            assert looker.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            looker.shoot(f"reasons-{name}-{'dark' if 'is_dark' in look else 'phone'}", whole=True)
