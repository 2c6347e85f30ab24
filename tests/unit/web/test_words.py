from datetime import UTC, datetime

import pytest

from worker.domain.states import Code, Outcome, PauseReason
from worker.store.listing import Item
from worker.web.pages.notices import notice_of
from worker.web.pages.signing_in import _own_path
from worker.web.pages.words import OUTCOMES, PAUSE_ADVICE, REASONS, item_state, sentence

# Not failures: why an attempt is made again, or what stands beside an installed row.
NOT_FAILURES = {
    Code.THROTTLED,
    Code.OUTAGE,
    Code.RESCUED,
    Code.PRESENT_UNDER_OTHER_NAME,
    Code.CANCELLED,
}


def test_every_code_of_a_failed_row_has_words_and_advice():
    assert set(REASONS) == set(Code) - NOT_FAILURES
    assert all(reason.advice.endswith(".") for reason in REASONS.values())


def test_every_outcome_and_every_pause_has_words():
    assert set(OUTCOMES) == set(Outcome)
    assert set(PAUSE_ADVICE) == set(PauseReason)


def item(state: str, *, tried: bool, is_due: bool = False, to_authorise: bool = False) -> Item:
    nothing = dict.fromkeys(Item.model_fields)
    known = {"row": 2, "account_id": "acme", "name": "CRM", "attempts": 0, "must_look": False}
    known |= {"account_created": False, "due_at": datetime(2026, 11, 21, tzinfo=UTC) if is_due else None}
    return Item(**nothing | known | {"state": state, "tried": tried, "to_authorise": to_authorise})


@pytest.mark.parametrize(
    ("state", "tried", "is_held", "words"),
    [
        ("queued", False, False, ("waiting", "waiting")),
        ("queued", True, False, ("retrying", "retrying")),
        ("queued", False, True, ("held", "held back")),
        ("running", True, False, ("in-hand", "in hand")),
        ("failed", True, False, ("failed", "failed")),
    ],
)
def test_a_row_is_called_what_people_call_it(state, tried, is_held, words):
    assert item_state(item(state, tried=tried, is_due=state == "queued" and not is_held)) == words


def test_an_installed_row_whose_customer_has_still_to_authorise_is_called_so():
    found = item_state(item("installed", tried=True, to_authorise=True))
    assert found == ("to-authorise", "to be authorised")


@pytest.mark.parametrize(
    ("text", "said"),
    [("the name is taken", "The name is taken."), ("Refused.", "Refused."), ("Why?", "Why?"), ("  ", "")],
)
def test_a_message_becomes_one_sentence(text, said):
    assert sentence(text) == said


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
    assert notice.text == "There was nothing that could be tried again."


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
