"""What somebody sees, reads once and takes with them: visible, copied, in whole words, in the colour of how it is."""

from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import Visit
from tests.browser.served import Served
from tests.browser.visitor import Visitor
from tests.browser.world import CRM, add_accounts, ids, suspend, write_file
from tests.end_to_end.processes.commands import eventually

GREEN = "rgb(230, 244, 236)"


def start(visitor: Visitor, file: Path) -> str:
    """Hand the file in; the path of its job, which has ended by then."""
    page = visitor.page
    visitor.upload(file)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#standing")).to_have_attribute("data-state", "completed")
    return page.url.removeprefix(visitor.url)


def clipboard(visitor: Visitor) -> str:
    return str(visitor.page.evaluate("navigator.clipboard.readText()"))


@pytest.fixture(scope="module")
def waiting(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    accounts = ids("waiting", 3)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    return write_file(tmp_path_factory.mktemp("waiting") / "waiting.csv", accounts, connector=CRM)


def test_a_single_link_is_seen_copied_and_withdrawn_after_a_question(
    visit: Visit, served: Served, waiting: Path
):
    visitor = visit(served.write_key)
    visitor.may_use_the_clipboard()
    page = visitor.page
    job = start(visitor, waiting)
    page.get_by_role("link", name="Authorisations").click()
    page.get_by_role("button", name="Make links").click()
    expect(page.locator("#notice")).to_contain_text("The links are made.")
    assert page.url == f"{served.url}{job}/authorisations"
    expect(page.get_by_role("cell", name=CRM)).to_have_count(6)  # the Name of each row, beside its connector

    page.get_by_text("Show the link of row 2", exact=True).click()
    link = page.get_by_role("textbox", name="Link of row 2")
    expect(link).to_be_visible()
    page.get_by_role("button", name="Copy the link of row 2").click()
    expect(page.locator("#copy-2")).to_contain_text("Copied")
    assert clipboard(visitor) == link.input_value()
    assert link.input_value().startswith(f"{served.url}/authorise/")
    visitor.shoot("desk-link")
    visitor.assert_accessible()

    # It is seen by itself that the customer has opened it, and what is open stays open.
    customer = visit()
    customer.go(link.input_value().removeprefix(served.url))
    expect(page.get_by_text("link opened")).to_be_visible()
    expect(page.locator("#opened")).to_contain_text("1")
    expect(link).to_be_visible()
    expect(page.locator("#copy-2")).to_be_visible()

    phone = visit(served.write_key, has_phone=True)
    phone.go(f"{job}/authorisations")
    phone.page.get_by_text("Show the link of row 3", exact=True).click()
    expect(phone.page.get_by_role("button", name="Copy the link of row 3")).to_be_in_viewport()
    phone.assert_fits()
    phone.assert_words_are_whole()
    phone.assert_accessible()
    phone.shoot("desk-phone")

    page.get_by_role("link", name="Withdraw the link of row 2").click()
    expect(page.get_by_role("dialog")).to_contain_text(f"Account waiting-001, Name {CRM}")
    visitor.shoot("desk-withdraw")
    visitor.assert_accessible()
    page.get_by_role("link", name="Leave it as it is").click()
    customer.go(link.input_value().removeprefix(served.url))
    page.get_by_role("link", name="Withdraw the link of row 2").click()
    visitor.confirm("Withdraw the link of row 2")
    expect(page.get_by_text("That link holds no more.")).to_be_visible()
    expect(page.get_by_role("button", name="New link for row 2")).to_be_visible()

    # And without scripts.
    plain = visit(served.write_key, has_scripts=False)
    plain.go(f"{job}/authorisations")
    expect(plain.page.get_by_role("button", name="Copy")).to_have_count(0)
    plain.page.get_by_text("Show the link of row 3", exact=True).click()
    expect(plain.page.get_by_label("Link of row 3")).to_be_visible()
    plain.page.get_by_role("link", name="Withdraw the link of row 3").click()
    expect(plain.page.get_by_role("heading", name="Withdraw the link of row 3?")).to_be_visible()
    plain.page.get_by_role("link", name="Leave it as it is").click()
    expect(plain.page.get_by_role("heading", name="Authorisations")).to_be_visible()


def test_a_desk_that_is_not_connected_says_so_and_heals(visit: Visit, served: Served, tmp_path: Path):
    accounts = ids("apart", 1)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    visitor = visit(served.write_key)
    page = visitor.page
    job = start(visitor, write_file(tmp_path / "apart.csv", accounts, connector=CRM))
    visitor.go(f"{job}/authorisations")
    page.route(f"{served.url}{job}/authorisations", lambda route: route.abort())
    expect(page.locator("#connection")).to_contain_text("Not connected since")
    page.unroute(f"{served.url}{job}/authorisations")
    expect(page.locator("#connection")).to_be_empty()


def test_both_progress_bars_are_seen(visit: Visit, served: Served, tmp_path: Path):
    accounts = ids("progress", 3)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    visitor = visit(served.write_key)
    page = visitor.page
    held: list[Route] = []
    page.route(f"{served.url}/jobs/new", lambda route: _hold_posts(route, held))
    visitor.upload(write_file(tmp_path / "progress.csv", accounts))
    expect(page.get_by_role("progressbar", name="Upload")).to_be_visible()
    expect(page.locator("output")).to_be_visible()
    eventually(lambda: bool(held), "the upload is on its way")

    served.simulator.call(lambda world: setattr(world.faults, "latency_s", (2.0, 2.0)))
    try:
        held.pop().continue_()
        expect(page.get_by_role("progressbar", name="Checking the file")).to_be_visible()
        expect(page.locator("#activity")).to_be_visible()
        visitor.shoot("checking")
        visitor.assert_accessible()
    finally:
        served.simulator.call(lambda world: setattr(world.faults, "latency_s", (0.02, 0.05)))
    expect(page.get_by_text("3 rows, no problems.")).to_be_visible()
    page.get_by_role("button", name="Discard").click()


def _hold_posts(route: Route, held: list[Route]) -> None:
    if route.request.method == "POST":
        held.append(route)
    else:
        route.continue_()


def test_ids_are_copied_with_one_press(visit: Visit, served: Served, tmp_path: Path):
    accounts = ids("copied", 2)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    visitor = visit(served.write_key)
    visitor.may_use_the_clipboard()
    page = visitor.page
    job = start(visitor, write_file(tmp_path / "copied.csv", accounts))
    page.get_by_role("button", name="Copy the job id").click()
    assert clipboard(visitor) == job.removeprefix("/jobs/")
    page.get_by_role("link", name="Row 2", exact=True).click()
    page.get_by_role("button", name="Copy the account id").click()
    assert clipboard(visitor) == "copied-001"
    page.get_by_role("button", name="Copy Cyclr's id").click()
    [found] = served.simulator.call(lambda world: list(world.accounts["copied-001"].connectors.values()))
    assert clipboard(visitor) == str(found.id)
    expect(page.get_by_role("button", name="Copied Cyclr's id")).to_be_visible()
    visitor.assert_accessible()

    # Over plain http from another machine a browser has no clipboard for scripts.
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true})")
    page.get_by_role("button", name="Copy the job id").click()
    expect(page.get_by_role("button", name="Copied the job id")).to_be_focused()
    visitor.go("/jobs")
    page.get_by_label("File name or job").focus()
    page.keyboard.press("Control+V")
    expect(page.get_by_label("File name or job")).to_have_value(job.removeprefix("/jobs/"))


def test_what_was_done_is_said_once(visit: Visit, served: Served, tmp_path: Path):
    accounts = ids("once", 3)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    visitor = visit(served.write_key)
    page = visitor.page
    visitor.upload(write_file(tmp_path / "once.csv", accounts))
    page.get_by_label("Only the first rows").fill("1")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("The first rows asked for are done.")).to_be_visible()
    job = page.url
    assert "?" not in job
    page.get_by_role("link", name="Cancel").click()
    visitor.confirm("Cancel the job")
    notice = page.get_by_text("Cancelled. What is done stays done.")
    expect(notice).to_be_visible()
    assert page.url == job
    page.get_by_role("link", name="Row 2", exact=True).click()
    expect(page.get_by_role("heading", name="Row 2: once-001")).to_be_visible()
    page.go_back()
    expect(page.locator("#standing")).to_have_attribute("data-state", "cancelled")
    expect(notice).to_have_count(0)
    page.reload()
    expect(page.locator("#standing")).to_have_attribute("data-state", "cancelled")
    expect(notice).to_have_count(0)


def test_what_waits_and_what_failed_is_not_green(visit: Visit, served: Served, tmp_path: Path):
    waiting, mixed = ids("patient", 4), ids("mixed", 5)
    served.simulator.call(lambda world: (add_accounts(world, waiting + mixed), suspend(world, mixed[:2])))
    visitor = visit(served.write_key)
    page = visitor.page
    start(visitor, write_file(tmp_path / "patient.csv", waiting, connector=CRM))
    advice = page.locator("#advice .notice")
    expect(advice).to_contain_text("Every row is done; all still to be authorised by their customers.")
    assert advice.evaluate("each => getComputedStyle(each).backgroundColor") != GREEN
    expect(page.locator("#deeds .badge")).to_have_text("completed, to be authorised")
    expect(page.locator(".legend")).to_contain_text("4 done, to be authorised")
    page.locator("#item-state").select_option("to-authorise")
    expect(page.locator("table.items tbody tr")).to_have_count(4)
    expect(page.locator("table.items .badge.to-authorise")).to_have_count(4)
    visitor.shoot("job-to-authorise")
    visitor.assert_accessible()
    page.get_by_role("link", name="Row 2", exact=True).click()
    expect(page.locator(".head .badge")).to_have_text("to be authorised")
    row = page.locator("p.notice")
    expect(row).to_contain_text("Waits for the customer's authorisation.")
    assert row.evaluate("each => getComputedStyle(each).backgroundColor") != GREEN

    start(visitor, write_file(tmp_path / "mixed.csv", mixed))
    expect(advice).to_contain_text("Ended: 2 of 5 rows failed.")
    assert advice.evaluate("each => getComputedStyle(each).backgroundColor") == "rgb(252, 235, 233)"
    expect(page.locator("#deeds .badge")).to_have_text("completed with failures")
    served.simulator.call(lambda world: world.faults.clear())

    visitor.go("/jobs?q=mixed")
    expect(page.locator(".jobs > li")).to_contain_text("2 failed")
    visitor.go("/jobs?q=patient")
    expect(page.locator(".jobs > li")).to_contain_text("4 done, to be authorised")
    page.get_by_label("State").select_option("to-authorise")
    expect(page.get_by_role("link", name="patient.csv")).to_be_visible()
    page.get_by_label("State").select_option("failed")
    expect(page.get_by_text("No job matches.")).to_be_visible()
    visitor.go("/jobs?state=failed")
    expect(page.get_by_role("link", name="mixed.csv")).to_be_visible()
    visitor.shoot("jobs-failed")
    for is_dark in (False, True):
        looker = visit(served.write_key, is_dark=is_dark)
        looker.go("/jobs")
        looker.assert_accessible()
        looker.shoot("list-dark" if is_dark else "list-light")


def test_no_word_is_broken_in_the_middle(visit: Visit, served: Served, tmp_path: Path):
    accounts = ids("wording", 4)
    served.simulator.call(lambda world: (add_accounts(world, accounts), suspend(world, accounts[:1])))
    visitor = visit(served.write_key)
    visitor.upload(write_file(tmp_path / "wording-of-a-somewhat-longer-file.csv", accounts))
    expect(visitor.page.get_by_text("4 rows, no problems.")).to_be_visible()
    check = visitor.page.url.removeprefix(served.url)
    phone = visit(served.write_key, has_phone=True)
    for looker in (visitor, phone):
        looker.go(check)
        looker.assert_words_are_whole()
    phone.shoot("check-phone", whole=True)
    visitor.page.get_by_role("button", name="Start", exact=True).click()
    expect(visitor.page.locator("#standing")).to_have_attribute("data-state", "completed")
    served.simulator.call(lambda world: world.faults.clear())
    job = visitor.page.url.removeprefix(served.url)
    for looker in (visitor, phone):
        for path in ("/jobs", job, f"{job}/items/2", f"{job}/items/3", f"{job}/retry", "/jobs/new"):
            looker.go(path)
            looker.assert_words_are_whole()


def test_an_error_leads_back_to_its_job_and_a_cut_link_to_nothing_of_ours(
    visit: Visit, served: Served, tmp_path: Path
):
    accounts = ids("astray", 1)
    served.simulator.call(lambda world: add_accounts(world, accounts))
    visitor = visit(served.write_key)
    page = visitor.page
    job = start(visitor, write_file(tmp_path / "astray.csv", accounts))
    visitor.go(f"{job}/items/77", status=404)
    page.get_by_role("link", name="Back to the job").click()
    expect(page).to_have_url(served.url + job)
    # Whoever is signed in comes in by the front door.
    visitor.go("/")
    expect(page).to_have_url(f"{served.url}/jobs")

    for has_phone, is_dark in ((False, False), (True, True)):
        customer = visit(has_phone=has_phone, is_dark=is_dark)
        customer.go("/authorise/", status=404)
        expect(customer.page.get_by_role("heading", name="This link does not work")).to_be_visible()
        expect(customer.page.get_by_role("link")).to_have_count(0)
        customer.assert_accessible()
        customer.go("/")
        expect(customer.page.get_by_role("heading", name="A part of the address is missing")).to_be_visible()
        customer.assert_accessible()
        customer.shoot("front-phone-dark" if has_phone else "front")
        customer.page.get_by_role("link", name="Sign in, if you work here").click()
        expect(customer.page.get_by_label("API key")).to_be_visible()
