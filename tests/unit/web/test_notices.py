import pytest

from worker.web.pages.rendering import notice_of
from worker.web.pages.signing_in import _own_path


def test_a_retry_says_what_was_left_out_and_why():
    notice = notice_of({"done": "retried", "queued": "12", "wiped": "1", "live": "2"})
    assert notice is not None
    assert notice.kind == "warn"
    assert notice.text == (
        "12 rows will be tried again; each account is looked into first. 1 row left out, since the credentials are"
        " no longer kept: fill them in again in the result file, and hand that in as a new job. 2 rows left out,"
        " since another unfinished job has the account and name."
    )


@pytest.mark.parametrize("told", [{"done": "<b>hello</b>"}, {}, {"queued": "7"}])
def test_a_deed_that_nobody_knows_says_nothing(told):
    assert notice_of(told) is None


@pytest.mark.parametrize("number", ["-1", "1e9", "٣", "9" * 20, "x"])
def test_a_number_that_is_none_counts_nothing(number):
    notice = notice_of({"done": "retried", "queued": number})
    assert notice is not None
    assert notice.text == "There is nothing to try again."


@pytest.mark.parametrize(
    ("then", "path"),
    [
        ("/jobs/261122-abc?state=failed", "/jobs/261122-abc?state=failed"),
        ("", "/jobs"),
        ("https://elsewhere.example/", "/jobs"),
        ("//elsewhere.example", "/jobs"),
        ("/\\elsewhere.example", "/jobs"),
        ("/\t/elsewhere.example", "/jobs"),
        ("/sign-in?then=/sign-in", "/jobs"),
    ],
)
def test_signing_in_never_leads_to_another_site(then, path):
    assert _own_path(then) == path
