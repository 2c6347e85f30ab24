"""Somebody is signed out elsewhere: what a page that is left open shows, and what an EventSource does."""

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.served import Served
from tests.browser.world import MAIL, add_accounts
from tests.end_to_end.processes.commands import eventually
from tests.served.home import client_of
from worker.store.api_keys import end_session

CLOSED = 2  # of an EventSource: it comes back no more
FOLLOW = """address => {
  window.heard = [];
  window.source = new EventSource(address);
  for (const name of ["progress", "problem"])
    source.addEventListener(name, (event) => heard.push([name, JSON.parse(event.data)]));
}"""


def paused_job(served: Served, *accounts: str) -> str:
    served.simulator.call(lambda world: add_accounts(world, accounts))
    with client_of(served) as client:
        items = [{"account_id": each, "connector": MAIL, "api_key": "a-key"} for each in accounts]
        answer = client.post("/v1/jobs", json={"items": items, "options": {"first": 1}})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])


def test_a_page_left_open_goes_to_sign_in_and_an_event_source_stays_away(visit: Visit, served: Served):
    job_id = paused_job(served, "signed-out-1", "signed-out-2")
    follower, reader = visit(served.write_key), visit(served.write_key)
    reader.go(f"/jobs/{job_id}")
    follower.go("/jobs/new")
    page = follower.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/events" in request.url else None)
    page.evaluate(FOLLOW, f"/v1/jobs/{job_id}/events")
    eventually(lambda: page.evaluate("heard.length"), "how the job stands was heard")
    with follower.expecting(401):
        for visitor in (follower, reader):
            [cookie] = [
                each["value"]
                for each in visitor.page.context.cookies()
                if each["name"] == "cyclr_bulk_session"
            ]
            end_session(served.place.engine, cookie)
        eventually(lambda: page.evaluate("source.readyState") == CLOSED, "the source stays away")
    last = page.evaluate("heard.at(-1)")
    assert (last[0], last[1]["status"], last[1]["code"]) == ("problem", 401, "access_ended")
    eventually(lambda: len(asked) == 2, "it came back once")
    expect(reader.page.get_by_role("heading", name="Sign in")).to_be_visible()
