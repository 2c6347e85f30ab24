"""From a file with problems to a result file that is handed in again."""

import csv
import io
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.served import Served
from tests.browser.world import MAIL, SUSPENDED, add_accounts, ids, secrets_of, suspend, write_file


def test_a_file_with_problems_becomes_a_job_whose_result_file_is_handed_in_again(
    visit: Visit, served: Served, tmp_path: Path
):
    accounts = ids("spring", 40)
    served.simulator.call(lambda world: (add_accounts(world, accounts), suspend(world, accounts[4:7])))
    file = write_file(tmp_path / "spring.csv", [*accounts, "nobody-1", "nobody-2"])
    visitor = visit(served.write_key)
    page = visitor.page

    # Dropped, and understood at once.
    visitor.upload(file)
    expect(page.get_by_text("2 of 42 rows have problems.")).to_be_visible()
    expect(page.get_by_text("Cyclr has no account 'nobody-1'")).to_be_visible()
    preview = page.locator("table.preview")
    expect(preview.get_by_text("spring-001")).to_be_visible()
    expect(preview.locator("td.masked").first).to_have_text("hidden")
    expect(page.get_by_text("Northwind Mail 3.0 (40 rows)")).to_be_visible()
    visitor.shoot("check")
    visitor.assert_accessible()

    # Started without the bad rows; it goes on without the page being loaded again.
    page.evaluate("window.isStillTheSamePage = true")
    page.get_by_role("button", name="Start without the 2 bad rows").click()
    page.wait_for_url("**/jobs/*")
    page.evaluate("window.isStillTheSamePage = true")
    expect(page.locator("#standing")).to_have_attribute("data-state", "completed")
    expect(page.locator(".legend")).to_contain_text("37 done")
    expect(page.locator(".legend")).to_contain_text("3 failed")
    expect(page.get_by_text("2 rows of the file left out for problems.")).to_be_visible()
    expect(page.get_by_text("Ada, onboarding").last).to_be_visible()
    assert page.evaluate("window.isStillTheSamePage") is True
    job = page.url.partition("?")[0]

    # The failures by reason; one row in words.
    expect(page.locator(".reasons")).to_contain_text(SUSPENDED)
    page.get_by_role("link", name="row 6", exact=True).click()
    expect(page.get_by_text("Failed: Cyclr refused it for good.")).to_be_visible()
    expect(page.get_by_text("kept secret").first).to_be_visible()
    visitor.shoot("row-failed")
    visitor.assert_accessible()

    # Mended at Cyclr, and only these retried.
    served.simulator.call(lambda world: world.faults.clear())
    page.goto(job)
    page.get_by_role("link", name=f"Retry these: {SUSPENDED}").click()
    expect(page.locator("#confirm")).to_contain_text(f"3 failed rows: {SUSPENDED}")
    visitor.confirm("Retry")
    expect(page.get_by_text("3 rows will be tried again")).to_be_visible()
    expect(page.get_by_text("Ended: 2 rows of the file left out.")).to_be_visible()
    expect(page.locator(".legend")).to_contain_text("40 done")

    # The results, downloaded and handed in again: nothing is done twice.
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download all results").click()
    results = tmp_path / "results.csv"
    downloading.value.save_as(results)
    rows = list(csv.DictReader(io.StringIO(results.read_text(encoding="utf-8-sig"))))
    assert [row["_state"] for row in rows] == ["done"] * 40 + ["refused"] * 2
    visitor.upload(results)
    expect(page.get_by_text("Every row that was not done by an earlier job has a problem.")).to_be_visible()
    expect(page.get_by_text("40 rows were done by job ")).to_contain_text(
        "and were not looked at again; “Look again” (--look-again) does."
    )
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_role("heading", name="New job")).to_be_visible()
    assert served.simulator.call(lambda world: world.count_doubles()) == 0
    visitor.assert_no_secret(secrets_of(accounts))


def test_a_file_that_is_none_is_refused_with_all_that_is_wrong(visit: Visit, served: Served, tmp_path: Path):
    file = tmp_path / "notes.csv"
    file.write_text("customer,api_key,api-key\nacme,one,two\n", encoding="utf-8")
    visitor = visit(served.write_key)
    page = visitor.page
    visitor.upload(file)
    expect(page.get_by_text("This file cannot be used as it is.")).to_be_visible()
    expect(page.get_by_role("row", name="all account_id")).to_contain_text("expected this column")
    expect(page.get_by_role("row", name="all api_key")).to_contain_text("expected it once")
    expect(page.get_by_role("button", name="Start")).to_have_count(0)
    visitor.shoot("check-refused")
    visitor.assert_accessible()


def test_a_file_without_a_connector_column_gets_one_for_all_rows(
    visit: Visit, served: Served, tmp_path: Path
):
    accounts = ids("plain", 3)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    file = tmp_path / "plain.csv"
    lines = ["account_id,api_key", *(f"{each},key-of-{each}-5f1c" for each in accounts)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    visitor = visit(served.write_key)
    page = visitor.page
    visitor.upload(file)
    page.get_by_label("One connector for all rows").fill("Northwind Mail")
    page.get_by_role("button", name="Check again").click()
    expect(page.get_by_text("3 rows, no problems.")).to_be_visible()
    page.get_by_label("Only the first rows").fill("1")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("The first rows asked for are done.")).to_be_visible()
    expect(page.locator(".legend")).to_contain_text("2 held back")
    page.get_by_role("link", name="Resume").click()
    visitor.confirm("Resume")
    expect(page.get_by_text("Every row is done.")).to_be_visible()


def test_a_template_is_made_for_a_connector(visit: Visit, served: Served, tmp_path: Path):
    visitor = visit(served.write_key)
    page = visitor.page
    visitor.go("/jobs/new")
    visitor.shoot("new-job")
    visitor.assert_accessible()
    page.get_by_label("Connector", exact=True).focus()
    expect(page.locator("#connectors option")).to_have_count(2)
    page.get_by_label("Connector", exact=True).fill("Northwind Mail")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download").click()
    assert downloading.value.suggested_filename == "Northwind Mail.csv"
    downloading.value.save_as(tmp_path / "template.csv")
    header = (tmp_path / "template.csv").read_text(encoding="utf-8").splitlines()[0]
    assert (
        header
        == "account_id,connector,connector_version,name,api_key,property.Region,property.WebhookSecret,account_name,reference"
    )


def test_all_of_it_works_without_scripts(visit: Visit, served: Served, tmp_path: Path):
    accounts = ids("noscript", 5)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    visitor = visit(served.write_key, has_scripts=False)
    page = visitor.page
    visitor.upload(write_file(tmp_path / "noscript.csv", accounts))
    page.get_by_role("button", name="Check the file").click()
    start, look_again = (
        page.get_by_role("button", name="Start", exact=True),
        page.get_by_role("link", name="Look again"),
    )
    expect(start.or_(look_again)).to_be_visible()
    while look_again.is_visible():
        look_again.click()
    page.get_by_label("Only the first rows").fill("2")
    start.click()
    while look_again.is_visible():
        look_again.click()
    expect(page.get_by_role("heading", name="noscript.csv")).to_be_visible()
    expect(
        page.get_by_text("first rows asked for are done").or_(page.get_by_role("link", name="Pause"))
    ).to_be_visible()
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_text("What is done stays done.")).to_be_visible()


def test_warnings_of_a_check_stay_on_the_page_of_its_job(visit: Visit, served: Served, tmp_path: Path):
    served.simulator.call(lambda world: add_accounts(world, ["warned-1", "warned-2"]))
    file = tmp_path / "warned.csv"
    rows = "".join(f"{each},{MAIL},key-of-{each}-5f1c,MOON,red\n" for each in ("warned-1", "warned-2"))
    file.write_text(f"account_id,connector,api_key,property.Region,colour\n{rows}")
    visitor = visit(served.write_key, is_dark=True)
    page = visitor.page
    visitor.upload(file)
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("#standing")).to_have_attribute("data-state", "completed")
    told = page.get_by_text("expected one of EU, US, got 'MOON' (2 rows)")
    expect(told).to_be_hidden()
    page.get_by_text("3 warnings of the check").click()
    expect(told).to_be_visible()
    expect(page.get_by_text("unknown, it is ignored")).to_be_visible()
    visitor.assert_accessible()


def test_a_doubtful_account_id_is_taken_as_it_is_written(visit: Visit, served: Served, tmp_path: Path):
    file = tmp_path / "doubtful.csv"
    file.write_text(
        f"account_id,account_name,connector,api_key,property.Region\n12345.0,Float Ltd,{MAIL},key-float-5f1c,EU\n",
        encoding="utf-8",
    )
    visitor = visit(served.write_key)
    page = visitor.page

    # The problem says what is doubted, and the page how it is settled.
    visitor.upload(file)
    expect(
        page.get_by_text("'12345.0' looks like a number that a spreadsheet has written its own way")
    ).to_be_visible()
    page.get_by_label("Take account ids as they are written").check()
    visitor.assert_accessible()
    page.get_by_role("button", name="Check again").click()

    # It is a warning now, and the account that is to be created is named.
    expect(page.get_by_text("1 row, no problems.")).to_be_visible()
    expect(page.get_by_text("1, created first: 12345.0")).to_be_visible()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("#standing")).to_have_attribute("data-state", "completed")
    assert served.simulator.call(lambda world: "12345.0" in world.accounts)
