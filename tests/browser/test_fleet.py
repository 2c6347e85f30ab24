"""The same pages of a deployment: PostgreSQL, a Redis, and the processes of the Procfile."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.served import make_keys
from tests.end_to_end.fleet.fleet import Fleet, open_fleet
from tests.end_to_end.fleet.web import launch_web
from tests.postgres import open_databases


@pytest.fixture
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with open_databases() as databases, open_fleet(tmp_path_factory.mktemp("fleet"), databases) as opened:
        opened.release()
        opened.launch("sweep")
        opened.launch("worker", "--concurrency", "2")
        yield opened
        opened.assert_never_twice()
        opened.assert_no_secret_was_said()


def test_a_file_is_handed_in_watched_and_steered_in_a_deployment(visit: Visit, fleet: Fleet):
    accounts = [f"deployed-{number:04}" for number in range(1, 1_501)]
    _, port = launch_web(fleet)
    url = f"http://127.0.0.1:{port}"
    write_key, _ = make_keys(fleet)
    visitor = visit(write_key, url=url)
    page = visitor.page
    visitor.upload(fleet.file(accounts))
    expect(page.get_by_text("1,500 rows, no problems.")).to_be_visible()
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator(".legend")).to_contain_text("in hand")
    page.get_by_role("link", name="Pause").click()
    visitor.confirm("Pause")
    expect(page.get_by_text("Somebody paused it.")).to_be_visible()
    page.get_by_role("link", name="Resume").click()
    visitor.confirm("Resume")
    expect(page.get_by_text("Every row is done.")).to_be_visible()
