"""What another site sends in the name of somebody who has signed in: every page, with every kind of body."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select

from tests.browser.served import Served
from tests.browser.world import CRM
from tests.hostile.visits import Visitor, all_routes, paused_job
from tests.integration.web.routes import Route
from tests.plain_http import AS_OWN_PAGE
from worker.store.session import reading
from worker.store.tables import api_keys, items, jobs, uploads
from worker.web.guards import FORM_TOKEN, FORM_TOKEN_HEADER

FOR_PROGRAMS = ("/v1", "/healthz", "/readyz", "/version", "/metrics")
UNREADABLE = "a charset that is none"
NO_SESSION_NEEDED = ("/sign-in", "/sign-out", "/authorise/{token}")


@dataclass(frozen=True)
class Scene:
    served: Served
    visitor: Visitor
    job_id: str
    token: str

    def address(self, route: Route) -> str:
        values = {
            "job_id": self.job_id,
            "row": 2,
            "row_number": 2,
            "upload_id": "nowhere",
            "token": "nothing",
        }
        return route.address(**values)

    def snapshot(self) -> list[Any]:
        """All that a page could change."""
        with reading(self.served.place.engine) as connection:
            rows: list[Any] = []
            for table in (jobs, items, uploads, api_keys):
                rows += [tuple(row) for row in connection.execute(select(table))]
            return sorted(map(str, rows))


@pytest.fixture(scope="module")
def scene(served: Served) -> Iterator[Scene]:
    with Visitor(served) as visitor:
        yield Scene(served, visitor, paused_job(served, "forged", connector=CRM), visitor.token)


def changing() -> list[Route]:
    return [each for each in all_routes() if each.method != "GET" and not each.path.startswith(FOR_PROGRAMS)]


def bodies(token: str) -> dict[str, dict[str, Any]]:
    """Each kind of body that a form or a script of another site may send."""
    text = f"{FORM_TOKEN}={token}&key=nothing&days=3"
    part = f'--x\r\nContent-Disposition: form-data; name="{FORM_TOKEN}"\r\n\r\n{token}\r\n--x--\r\n'
    return {
        "multipart": {"files": {FORM_TOKEN: (None, token), "days": (None, "3")}},
        "multipart with a file": {
            "files": {FORM_TOKEN: (None, token), "file": ("a.csv", "account_id\nacme\n")}
        },
        "a file before its token": {
            "files": {"file": ("a.csv", "account_id\nacme\n"), FORM_TOKEN: (None, token)}
        },
        "text/plain": {"content": text, "headers": {"Content-Type": "text/plain"}},
        "JSON": {"json": {FORM_TOKEN: token, "days": 3}},
        "urlencoded": {"data": {FORM_TOKEN: token, "days": "3"}},
        UNREADABLE: {
            "content": part,
            "headers": {"Content-Type": "multipart/form-data; boundary=x; charset=undefined"},
        },
        "nothing": {},
    }


def send(scene: Scene, route: Route, body: dict[str, Any], headers: dict[str, str]) -> Any:
    given = body | {"headers": body.get("headers", {}) | headers}
    return scene.visitor.client.request(route.method, scene.address(route), **given)


def test_there_are_pages_that_change_something():
    assert len(changing()) >= 15
    assert {route.path for route in changing() if route.guard is None} == set(NO_SESSION_NEEDED)


@pytest.mark.parametrize("token", ["", "nothing"])
def test_a_form_of_ours_without_the_sessions_token_is_refused_whatever_its_body(scene: Scene, token: str):
    before = scene.snapshot()
    for route in changing():
        if route.path in ("/sign-in", "/authorise/{token}"):
            continue  # nobody has a session there, or needs one
        for kind, body in bodies(token).items():
            answer = send(scene, route, body, AS_OWN_PAGE)
            if kind == UNREADABLE and answer.status_code == 400:
                continue  # where the form is read before anybody asks for its token
            assert (answer.status_code, kind, route.path) == (403, kind, route.path), answer.text
            assert "This form is not of your present session. Load the page again." in answer.text, route
    assert scene.snapshot() == before
    assert scene.visitor.client.get("/jobs").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example.com"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
        {"Origin": "http://evil.example.com", "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example.com", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "something new"},
    ],
    ids=str,
)
def test_what_no_page_of_ours_has_sent_is_refused_though_it_has_the_token(
    scene: Scene, headers: dict[str, str]
):
    before = scene.snapshot()
    for route in changing():
        for kind, body in bodies(scene.token).items():
            answer = send(scene, route, body, headers | {FORM_TOKEN_HEADER: scene.token})
            assert (answer.status_code, kind, route.path) == (403, kind, route.path), answer.text
            words = "Please open your link again" if "/authorise/" in route.path else "another site may have"
            assert words in answer.text, route
            assert "set-cookie" not in answer.headers
    assert scene.snapshot() == before


def test_no_page_changes_anything_by_being_looked_at(scene: Scene):
    before = scene.snapshot()
    for route in all_routes():
        if route.method == "GET" and "events" not in route.path:
            answer = scene.visitor.client.get(scene.address(route), params={"connector": "Northwind Mail"})
            assert answer.status_code < 500, (route, answer.text)
    assert scene.snapshot() == before


def test_the_token_is_taken_from_a_multipart_form_of_ours_and_from_its_own_origin(scene: Scene):
    """So that what is refused above is refused for its reason."""
    steer = f"/jobs/{scene.job_id}"
    resumed = scene.visitor.client.post(
        f"{steer}/resume", files={FORM_TOKEN: (None, scene.token)}, headers=AS_OWN_PAGE
    )
    assert resumed.status_code == 303, resumed.text
    form = {FORM_TOKEN: scene.token}
    cancelled = scene.visitor.client.post(f"{steer}/cancel", data=form, headers={"Origin": scene.served.url})
    assert cancelled.status_code in (303, 409), cancelled.text
