import re

import pytest

from worker.domain.states import Code, JobState, Outcome, PauseReason
from worker.domain.words import (
    CODES,
    OUTCOMES,
    PAUSES,
    VERDICTS,
    advice,
    already_installed,
    cancelling,
    how_done,
    item_state,
    job_state,
    job_state_and_why,
    of_code,
    pausing,
    retried,
    with_advice,
)


def test_every_code_and_every_pause_has_its_words_and_its_advice() -> None:
    assert list(CODES) == list(Code)
    assert list(PAUSES) == list(PauseReason)
    for words in (*CODES.values(), *PAUSES.values()):
        assert re.fullmatch(r"[a-zC][^.]*[^.,:; ]", words.title)
        assert re.fullmatch(r"[a-zC][^.]*[^.,:; ]", words.meaning)
        assert re.fullmatch(r"[A-Z].*[^.]\.", words.advice)


def test_every_advice_on_a_pause_ends_with_the_resuming() -> None:
    assert [words.advice for words in PAUSES.values() if not words.advice.endswith(" resume it.")] == []


def test_every_outcome_and_every_verdict_has_words() -> None:
    assert set(OUTCOMES) == set(Outcome)
    assert set(VERDICTS) == {"installed", "retry", "look_first", "give_up", "called_off"}


def test_a_lost_worker_is_told_the_same_way_everywhere() -> None:
    words = CODES[Code.WORKER_LOST]
    assert words.title == words.meaning == "may be installed: three workers died while they held this row"
    assert words.advice == (
        "Look into the account at Cyclr, and into the logs for what ended the workers; then retry, which looks there too before"
        " it sends anything."
    )


def test_a_job_that_stays_with_another_cyclr_is_not_to_be_resumed() -> None:
    """Address and client id are the instance of a job: with others no worker takes it."""
    assert "Correct CYCLR_API_URL and hand the file in again" in PAUSES[PauseReason.WRONG_API_URL].advice
    assert "hand the file in again" in PAUSES[PauseReason.PARTNER_CREDENTIALS].advice


@pytest.mark.parametrize("code", [None, "a_later_one"])
def test_a_code_of_another_version_has_words_too(code: str | None) -> None:
    assert (of_code(code).title, of_code(code).advice) == ("it did not work", "Read the message.")


@pytest.mark.parametrize(
    ("state", "tried", "is_held", "words"),
    [
        ("queued", False, False, ("waiting", "waiting")),
        ("queued", True, False, ("retrying", "retrying")),
        ("queued", False, True, ("held", "held back")),
        ("held", False, False, ("held", "held back")),
        ("running", True, False, ("in-hand", "in hand")),
        ("failed", True, False, ("failed", "failed")),
    ],
)
def test_a_row_is_called_what_people_call_it(
    state: str, tried: bool, is_held: bool, words: tuple[str, str]
) -> None:
    assert item_state(state, tried=tried, is_held=is_held, to_authorise=False) == words


def test_an_installed_row_whose_customer_has_still_to_authorise_is_called_so() -> None:
    found = item_state("installed", tried=True, is_held=False, to_authorise=True)
    assert found == ("to-authorise", "to be authorised")


@pytest.mark.parametrize(
    ("differing", "sentence"),
    [
        ((), "already installed"),
        (("api_key",), "already installed; api_key differs and was not changed"),
        (
            ("api_key", "description"),
            "already installed; api_key and description differ and were not changed",
        ),
    ],
)
def test_names_of_what_differs_make_a_sentence(differing: tuple[str, ...], sentence: str) -> None:
    assert already_installed(differing) == sentence


def test_how_a_row_was_installed_says_what_is_still_to_be_done() -> None:
    assert how_done("created", is_authenticated=True) == ["installed by this job"]
    assert how_done("recovered", is_ours=True, is_authenticated=False, to_authorise=True) == [
        "installed; an answer was lost, and a look found it",
        "waits for the customer's authorisation",
    ]
    assert how_done("adopted", differs=["api_key"], is_authenticated=False) == [
        "already installed",
        "api_key differs and was not changed",
        "waits for its credential, which is given at Cyclr",
    ]
    assert how_done("updated", changed=["api_key", "property.Region"], is_authenticated=True) == [
        "it was there, and was changed to what the row asks",
        "api_key and property.Region were set",
    ]
    assert how_done("created", changed=["property.ClientId"]) == ["installed by this job"]
    assert how_done("unchanged", differs=["description", "property.Key (not shown)"]) == [
        "it was there as the row asks",
        "description differs and was not changed",
        "property.Key was left as Cyclr has it, since it is not shown",
    ]
    assert how_done(None, is_authenticated=None) == ["done"]


@pytest.mark.parametrize(
    ("state", "reason", "is_ending", "word", "said"),
    [
        (JobState.RUNNING, None, False, "running", "running"),
        (JobState.PAUSED, PauseReason.PERSON, False, "paused", "paused (somebody paused it)"),
        (JobState.CANCELLED, None, False, "cancelled", "cancelled"),
        (
            JobState.CANCELLED,
            None,
            True,
            "ending",
            "ending (cancelled, and its last rows are still being settled or looked for)",
        ),
    ],
)
def test_the_state_of_a_job_is_one_word_and_why(
    state: JobState, reason: PauseReason | None, is_ending: bool, word: str, said: str
) -> None:
    assert job_state(state, is_ending=is_ending) == word
    assert job_state_and_why(state, reason, is_ending=is_ending) == said


def test_a_row_has_advice_where_something_can_be_done() -> None:
    assert advice("failed", "refused") == "Mend what the message names, then retry."
    assert advice("failed", "a_later_one") == "Read the message."
    assert advice("cancelled", None) == "Retry to have it done after all."
    assert [advice("queued", "throttled"), advice("running", None), advice("installed", None)] == [
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("state", "code", "message", "text"),
    [
        ("failed", "refused", "No.", "No. Mend what the message names, then retry."),
        ("failed", "refused", "no such plan", "no such plan. Mend what the message names, then retry."),
        ("failed", "refused", None, "Mend what the message names, then retry."),
        (
            "cancelled",
            None,
            "cancelled; nothing was sent",
            "cancelled; nothing was sent. Retry to have it done after all.",
        ),
        ("installed", None, None, ""),
        ("queued", "rescued", "its worker was lost", "its worker was lost"),
    ],
)
def test_the_message_of_a_row_goes_before_its_advice(
    state: str, code: str | None, message: str | None, text: str
) -> None:
    assert with_advice(state, code, message) == text


def test_what_was_asked_of_a_job_is_told_in_numbers() -> None:
    assert pausing(1) == "1 row in hand: calls in flight are waited for, the rest goes back."
    assert cancelling(1_200) == (
        "1,200 rows left: those in hand are settled, those that may have been sent are looked for, the others are cancelled."
    )
    assert retried(0, 0, 0) == ["There is nothing to try again."]
    assert retried(2, 0, 0) == ["2 rows will be tried again; each account is looked into first."]


@pytest.mark.parametrize("is_ours", [False, None])
def test_what_is_not_proven_to_be_ours_is_not_said_to_be(is_ours: bool | None) -> None:
    assert how_done("recovered", is_ours=is_ours, is_authenticated=True) == [
        "installed; an answer was lost, and a look found it",
        "owner unknown: an answer was lost, and nothing proves that this row made what is there",
    ]
    assert how_done("adopted", is_ours=is_ours, is_authenticated=True) == ["already installed"]
