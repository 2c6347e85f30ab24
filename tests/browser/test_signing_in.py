from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.served import Served


def test_a_wrong_key_is_told_apart_from_a_right_one(visit: Visit, served: Served):
    visitor = visit()
    page = visitor.page
    visitor.go("/jobs?state=paused")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("API key").fill("cbk_nobody_nothing")
    with visitor.expecting(401):
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("This API key is wrong, has expired or was revoked.")
    visitor.shoot("sign-in")
    page.get_by_label("API key").fill(served.write_key)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{served.url}/jobs?state=paused")


def test_whoever_signs_out_has_to_sign_in_again(visit: Visit, served: Served):
    visitor = visit(served.read_key)
    visitor.page.get_by_role("button", name="Sign out").click()
    expect(visitor.page.get_by_role("heading", name="Sign in")).to_be_visible()
    visitor.go("/jobs")
    expect(visitor.page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_cookie_is_for_this_site_and_for_no_script(visit: Visit, served: Served):
    visitor = visit(served.read_key)
    assert visitor.page.evaluate("document.cookie") == ""
    [cookie] = visitor.page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")


def test_a_link_from_elsewhere_finds_who_has_signed_in(visit: Visit, served: Served):
    visitor, stranger = visit(served.read_key), visit()
    for each in (visitor, stranger):
        each.page.goto("about:blank")
        each.page.set_content(f'<a href="{served.url}/jobs?state=paused">the paused jobs</a>')
        each.page.get_by_role("link").click()
    expect(visitor.page).to_have_url(f"{served.url}/jobs?state=paused")
    expect(visitor.page.get_by_role("heading", name="Jobs")).to_be_visible()
    expect(stranger.page.get_by_role("heading", name="Sign in")).to_be_visible()
    stranger.page.get_by_label("API key").fill(served.read_key)
    stranger.page.get_by_role("button", name="Sign in").click()
    expect(stranger.page).to_have_url(f"{served.url}/jobs?state=paused")


def test_another_site_can_neither_steer_nor_hand_in(visit: Visit, served: Served):
    visitor = visit(served.write_key)
    for action, kind in (
        ("/jobs/new", "multipart/form-data"),
        ("/jobs/261122-nobody/cancel", "application/x-www-form-urlencoded"),
    ):
        visitor.page.goto("about:blank")
        visitor.page.set_content(
            f'<form method="post" action="{served.url}{action}" enctype="{kind}"><button>Win a prize</button></form>'
        )
        with (
            visitor.expecting(403),
            visitor.page.expect_response(lambda answer: answer.request.method == "POST") as answered,
        ):
            visitor.page.get_by_role("button").click()
            expect(visitor.page.get_by_text("another site may have")).to_be_visible()
        assert answered.value.status == 403
    visitor.go("/jobs")  # and nobody was signed out
    expect(visitor.page.get_by_role("heading", name="Jobs")).to_be_visible()
