from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.served import Served


def test_the_api_is_documented_with_files_of_our_own(visit: Visit, served: Served):
    visitor = visit(served.read_key)
    visitor.page.get_by_role("link", name="API").click()
    expect(visitor.page.get_by_text("/v1/jobs/{job_id}/events")).to_be_visible()
