"""What states, codes and attempts are called for the people who look after an onboarding."""

from dataclasses import dataclass

from worker.domain.states import PAUSE_MESSAGES, Code, ItemState, Outcome, PauseReason
from worker.jobs.standing import is_ending
from worker.store.jobs import JobStatus
from worker.store.listing import Item


@dataclass(frozen=True, slots=True)
class Reason:
    """Why rows failed. `heading`: what happened; `advice`: what to do next."""

    heading: str
    advice: str


REASONS: dict[str, Reason] = {
    Code.REFUSED: Reason("Cyclr refused the install", "Mend what the message names, then retry."),
    Code.NAME_IN_USE: Reason(
        "the name is taken in the account",
        "Give the row another name in the result file, and hand that in as a new job.",
    ),
    Code.ACCOUNT_UNKNOWN: Reason(
        "Cyclr has no such account",
        "Correct the account id in the result file, or fill in account_name to have the account created.",
    ),
    Code.ACCOUNT_REFUSED: Reason(
        "Cyclr refuses every call for the account",
        "Ask Cyclr what is the matter with the account, then retry.",
    ),
    Code.CONNECTOR_GONE: Reason(
        "the connector is not there for the account",
        "Check in Cyclr's console that the account may use it, then retry.",
    ),
    Code.UNREACHABLE: Reason("Cyclr was not reached; nothing was sent", "Retry when the network is well."),
    Code.NO_ANSWER: Reason(
        "Cyclr gave no clear answer, and a look found nothing installed",
        "Retry: nothing can be installed twice.",
    ),
    Code.OUTCOME_UNKNOWN: Reason(
        "may be installed: nobody could find out",
        "Look into the account at Cyclr; a retry looks there too before it sends anything.",
    ),
    Code.WORKER_LOST: Reason(
        "the program that worked on it ended twice",
        "Retry; if it happens again, show the row to whoever runs cyclr-bulk.",
    ),
    Code.UNSTORABLE_ANSWER: Reason(
        "Cyclr's answer could not be stored", "Look into the account at Cyclr to see what it says."
    ),
    Code.CREDENTIAL_LOST: Reason(
        "the credentials of the row cannot be read any more",
        "Fill them in again in the result file, and hand that in as a new job.",
    ),
}
_OTHER = Reason("it did not work", "Read the message.")

PAUSE_ADVICE: dict[PauseReason, str] = {
    PauseReason.PERSON: "Resume it when it may go on.",
    PauseReason.INTERRUPTED: "Nothing is lost. Resume it when it may go on.",
    PauseReason.FIRST_ROWS: "Look at what became of them, then resume the rest.",
    PauseReason.TOO_MANY_FAILURES: "Read the reasons below and mend what they name at Cyclr, then resume.",
    PauseReason.PARTNER_CREDENTIALS: "No row failed for it. Whoever runs cyclr-bulk has to correct them; then resume.",
    PauseReason.RELEASE_CHANGED: "Check the file once more against the new release: hand it in as a new job.",
    PauseReason.WRONG_API_URL: "No row failed for it. Whoever runs cyclr-bulk has to correct it; then resume.",
}

OUTCOMES: dict[str, str] = {
    Outcome.CREATED: "Installed by this job",
    Outcome.RECOVERED: "Installed by this job; the answer was lost, and a look found it",
    Outcome.ADOPTED: "It was there already, and nothing was changed",
}

CALLS = {
    "install": "installing the connector",
    "look": "looking into the account",
    "account": "asking whether the account exists",
    "create_account": "creating the account",
    "connector": "asking for the connector in Cyclr's catalogue",
}


def reason(code: str | None) -> Reason:
    return REASONS.get(code or "", _OTHER)


def state_in_words(job: JobStatus) -> str:
    """`running`, `paused`, `ending`: for a badge."""
    return "ending" if is_ending(job) else str(job.state)


def pause_in_words(job: JobStatus) -> str | None:
    """Why it is paused; None where it is not."""
    return PAUSE_MESSAGES[job.pause_reason] if job.pause_reason else None


def item_state(item: Item) -> tuple[str, str]:
    """The name of a row's state, as the style sheet knows it, and the word for people."""
    if item.state is ItemState.RUNNING:
        return "in-hand", "in hand"
    if item.to_authorise:
        return "to-authorise", "to be authorised"
    if item.state is not ItemState.QUEUED:
        return item.state, item.state
    if item.is_held:
        return "held", "held back"
    return ("retrying", "retrying") if item.tried else ("waiting", "waiting")


def sentence(text: str) -> str:
    """The message as a sentence: a capital letter first, one full stop at the end."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".") if text else ""
