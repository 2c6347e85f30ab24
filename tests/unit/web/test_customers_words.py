import pytest

from worker.jobs.authorising import NotSent
from worker.store.links import LinkState
from worker.web.desk.customer import DONE, page_of

OURS = (
    "cyclr",
    "bulk",
    "token",
    "job",
    "item",
    "row",
    "account connector",
    "instance",
    "error",
    "oauth",
    "api",
)


@pytest.mark.parametrize("state", [*LinkState, *NotSent])
def test_a_customer_reads_no_word_of_ours_and_what_to_do(state: LinkState | NotSent):
    page = page_of(state, "Harbour CRM")
    said = " ".join((page.heading, *page.sentences, page.button or "", page.small or ""))
    assert [word for word in OURS if word in said.casefold().split()] == []
    assert page.heading
    assert all(sentence.endswith(".") for sentence in page.sentences)


@pytest.mark.parametrize(
    ("state", "status", "has_button"),
    [
        (LinkState.OPEN, 200, True),
        (LinkState.AUTHORISED, 200, False),
        (LinkState.UNKNOWN, 404, False),
        (LinkState.EXPIRED, 410, False),
        (LinkState.WITHDRAWN, 410, False),
        (NotSent.TOO_OFTEN, 429, False),
        (NotSent.AWAY, 503, True),
        (NotSent.REFUSED, 502, False),
    ],
)
def test_only_what_may_lead_on_has_a_button(state: LinkState | NotSent, status: int, *, has_button: bool):
    page = page_of(state, "Harbour CRM")
    assert (page.status, page.button is not None) == (status, has_button)


def test_thanks_are_given_to_nobody_in_particular():
    assert (DONE.status, DONE.button) == (200, None)
