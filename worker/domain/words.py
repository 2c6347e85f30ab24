"""What states, codes, outcomes, pauses and calls are called, and what to do about them: each text once, for every face. And how
counts, lists, durations and sentences are written.

A message that is stored says what happened to its row; what to do about it stands here, by its code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.domain.states import Code, ItemState, JobState, Outcome, PauseReason
from worker.domain.steps import KINDS


@dataclass(frozen=True, slots=True)
class Words:
    """`title`: what happened, as it stands behind a colon; `meaning`: the same for whoever asks what that is, as docs/states.md
    has it; `advice`: what to do, in whole sentences.
    """

    title: str
    meaning: str
    advice: str


_BY_ITSELF = "There is nothing to do: it is tried again by itself."
_LOOKS_TOO = "then retry, which looks there too before it sends anything."

CODES: dict[Code, Words] = {
    Code.REFUSED_AT_INTAKE: Words(
        "left out, since the row has problems",
        "the row has problems (`--skip-invalid`)",
        "Correct the row in the result file, and hand that in as a new job.",
    ),
    Code.REFUSED: Words(
        "Cyclr refused it for good",
        "Cyclr refused for good; its message says what and why",
        "Mend what the message names, then retry.",
    ),
    Code.NAME_IN_USE: Words(
        "the name is taken in the account",
        "the account has another connector under this Name, or Cyclr says so and does not show it",
        "Give the row another name in the result file, and hand that in as a new job.",
    ),
    Code.ACCOUNT_UNKNOWN: Words(
        "Cyclr has no such account",
        "Cyclr has no such account (any more)",
        "Correct account_id in the result file, or fill in account_name to have the account created, and hand that in as a"
        " new job.",
    ),
    Code.ACCOUNT_REFUSED: Words(
        "Cyclr refuses every call for the account",
        "the account exists, the token is good, and every call for the account is refused",
        "Ask Cyclr what is the matter with the account, then retry.",
    ),
    Code.CONNECTOR_GONE: Words(
        "the connector is not there for the account",
        "the catalogue lists the connector, and Cyclr does not find it for this account",
        "Check in Cyclr's console that the account may use it, then retry.",
    ),
    Code.NOT_TAKEN: Words(
        "Cyclr took a value and still shows the one before it",
        "Cyclr accepted a value twice, and showed the one before it both times; `_differs` names it",
        "Look into the account at Cyclr: the value may be fixed there; then retry.",
    ),
    Code.NOT_AUTHENTICATED: Words(
        "Cyclr took the credential and does not call it authenticated",
        "the row has a credential, Cyclr took it, and the account connector is not authenticated",
        "Check the credential and its method, correct them in the result file, and hand that in as a new job.",
    ),
    Code.UNREACHABLE: Words(
        "it was never sent",
        "not done, and never sent: in no attempt was Cyclr reached, or did it answer what was asked before",
        "Retry when Cyclr can be reached.",
    ),
    Code.NO_ANSWER: Words(
        "Cyclr gave no clear answer, and a look found nothing installed",
        "Cyclr gave no clear answer in any attempt, and a look found nothing",
        "Retry: the account is looked into first, so nothing is installed twice.",
    ),
    Code.OUTCOME_UNKNOWN: Words(
        "it may have been done: no clear answer, and no look succeeded",
        "may be installed: no clear answer, and no look succeeded",
        f"Look into the account at Cyclr; {_LOOKS_TOO}",
    ),
    Code.WORKER_LOST: Words(
        "may be installed: three workers died while they held this row",
        "may be installed: three workers died while they held this row",
        f"Look into the account at Cyclr, and into the logs for what ended the workers; {_LOOKS_TOO}",
    ),
    Code.UNSTORABLE_ANSWER: Words(
        "Cyclr's answer could not be stored",
        "Cyclr refused, in words that the database does not take",
        "Look into the account at Cyclr to see what it says.",
    ),
    Code.CREDENTIAL_LOST: Words(
        "the credentials of the row cannot be read any more",
        "the sealed data of the row cannot be opened: wiped, or its key is gone",
        "Fill them in again in the result file, and hand that in as a new job.",
    ),
    Code.INCOMPLETE: Words(
        "cancelled when a part of it was sent or done",
        "its job was cancelled, and something of the row was sent or done; the message says what",
        "Retry to have the rest of it done.",
    ),
    Code.DIFFERS: Words(
        "left alone: what is there has other values",
        "the account connector is there with other values than the row's, and nothing of it was changed; `_differs` names them",
        "To have the row's values, hand in the result file with --overwrite.",
    ),
    Code.PRESENT_UNDER_OTHER_NAME: Words(
        "left alone: the connector is there under another Name",
        "the account has this connector under another Name, and nothing was changed",
        "To use that one, put its Name into the column name of the result file and hand that in; to install a second one beside it,"
        " hand it in with --beside.",
    ),
    Code.AMBIGUOUS: Words(
        "left alone: two account connectors match",
        "two account connectors match the row, so none was changed",
        "Rename or remove one of them at Cyclr, then retry.",
    ),
    Code.METHOD_UNKNOWN: Words(
        "left alone: Cyclr does not say by which method it was installed",
        "the connector has several methods, and Cyclr does not show which one is in use, so no credential was set",
        "If the row's method is the one in use, hand in the result file with --assume-method.",
    ),
    Code.NOT_THERE: Words(
        "there is nothing to update",
        "the account has no such account connector, and `update` makes none",
        "Correct account_id or name in the result file, or install it with `run`.",
    ),
    Code.THROTTLED: Words(
        "Cyclr asked for fewer calls", "Cyclr asked for fewer calls while the row was tried", _BY_ITSELF
    ),
    Code.RESCUED: Words(
        "its worker was lost",
        "the worker that held the row was lost, so the account is looked into before anything is sent",
        _BY_ITSELF,
    ),
}
_OTHER = Words("it did not work", "a code of another version", "Read the message.")

CANCELLED_UNSENT = "cancelled; nothing was sent"
CANCELLED_ABSENT = "cancelled; a look found nothing installed"
_CANCELLED_ADVICE = "Retry to have it done after all."

# Each advice ends with the resuming: a command puts a colon there and says how.
PAUSES: dict[PauseReason, Words] = {
    PauseReason.PERSON: Words("somebody paused it", "somebody paused it", "When it may go on, resume it."),
    PauseReason.INTERRUPTED: Words(
        "the command was interrupted",
        "Ctrl-C, a signal, or its command was killed",
        "Nothing is lost. When it may go on, resume it.",
    ),
    PauseReason.FIRST_ROWS: Words(
        "the first rows asked for are done",
        "the rows of `--first` are done",
        "Look at what became of them; for the rest, resume it.",
    ),
    PauseReason.TOO_MANY_FAILURES: Words(
        "too many of the rows tried so far have failed",
        "of the rows tried since the start or the last resume (50 at least) more than `CYCLR_PAUSE_ABOVE_PERCENT` (20 %) failed",
        "Read why they failed and mend what that names, then resume it.",
    ),
    PauseReason.PARTNER_CREDENTIALS: Words(
        "Cyclr refuses CYCLR_CLIENT_ID and CYCLR_CLIENT_SECRET",
        "Cyclr refuses the client id or secret",
        "No row failed for it. If the client id has to be another one, hand the file in again: this job stays with the old one."
        " Once the secret is corrected, resume it.",
    ),
    PauseReason.RELEASE_CHANGED: Words(
        "the connector has a new release that the rows do not fit, or is gone",
        "Cyclr has a new release of a connector that the rows do not fit, or has none any more",
        "Check the file against the new release. If rows have to change, cancel this job and hand in the corrected file; if not,"
        " resume it.",
    ),
    PauseReason.WRONG_API_URL: Words(
        "the API answers with a redirect, so CYCLR_API_URL is wrong",
        "the API answers with a redirect",
        "No row failed for it. Correct CYCLR_API_URL and hand the file in again: this job stays with the old address. If that one"
        " is right and the redirect is gone, resume it.",
    ),
}

OUTCOMES: dict[Outcome, str] = {
    Outcome.CREATED: "installed by this job",
    Outcome.RECOVERED: "installed; an answer was lost, and a look found it",
    Outcome.FILLED_IN: "it was there, and what was missing was set",
    Outcome.UPDATED: "it was there, and was changed to what the row asks",
    Outcome.UNCHANGED: "it was there as the row asks",
    Outcome.ADOPTED: "already installed",
}
NOT_SHOWN = " (not shown)"  # behind the name of a field that Cyclr does not show, so that nobody knows whether it differs
OWNER_UNKNOWN = "owner unknown: an answer was lost, and nothing proves that this row made what is there"
WAITS_FOR_CUSTOMER = "waits for the customer's authorisation"
WAITS_FOR_CREDENTIAL = "waits for its credential, which is given at Cyclr"


def no_longer_waiting(message: str | None) -> str | None:
    """What is left to say of a done row that is authenticated by now."""
    waits = (WAITS_FOR_CUSTOMER, WAITS_FOR_CREDENTIAL)
    return "; ".join(part for part in (message or "").split("; ") if part not in waits) or None


# How an attempt ended -> the state of its row then, as the style sheet knows it; what happened, what follows.
VERDICTS = {
    "installed": ("installed", "Done", ""),
    "retry": ("retrying", "Not yet", "It is tried again."),
    "look_first": (
        "retrying",
        "No clear answer: it may be done",
        "The account is looked into before anything is sent again.",
    ),
    "give_up": ("failed", "Failed", ""),
    "called_off": ("cancelled", "Cancelled: a look found nothing installed", ""),
}

# The calls that change nothing, as nouns; a step has its own.
READS = {
    "look": "the look at what the account has installed",
    "account": "the question whether the account exists",
    "connector": "the look at the catalogue",
}
CALLS = READS | {step.call: step.noun for step in KINDS}


def as_list(words: Mapping[Code, Words] | Mapping[PauseReason, Words] | Mapping[Outcome, str]) -> str:
    """What each of them means, as a list in Markdown: for the description of the API."""
    return "\n".join(
        f"- `{name}`: {each if isinstance(each, str) else each.meaning}" for name, each in words.items()
    )


def of_code(code: str | None) -> Words:
    """Also of a code that only another version knows."""
    return CODES[Code(code)] if code in set(Code) else _OTHER


def advice(state: str, code: str | None) -> str | None:
    """What to do about a row; None where nothing is to be done. `code`: that of the row in this state."""
    if state == ItemState.FAILED:
        return of_code(code).advice
    if state == ItemState.CANCELLED:
        return _CANCELLED_ADVICE
    return None


def with_advice(state: str, code: str | None, message: str | None) -> str:
    """The message of a row and what to do about it, in one line."""
    said, to_do = (message or "").strip(), advice(state, code)
    if not to_do:
        return said
    if not said:
        return to_do
    return f"{said} {to_do}" if said.endswith((".", "!", "?")) else f"{said}. {to_do}"


def retried(queued: int, wiped: int, live: int) -> list[str]:
    """What a retry did, in sentences. `queued`: rows that are tried again; `wiped`, `live`: rows that are left out."""
    tried = f"{counted(queued, 'row')} will be tried again; each account is looked into first."
    sentences = [tried if queued else "There is nothing to try again."]
    if wiped:
        sentences.append(
            f"{counted(wiped, 'row')} left out, since the credentials are no longer kept: fill them in again in the result file,"
            " and hand that in as a new job."
        )
    if live:
        sentences.append(
            f"{counted(live, 'row')} left out, since another unfinished job has the account and name."
        )
    return sentences


def pausing(in_hand: int) -> str:
    """What becomes of the rows that workers hold when their job is paused."""
    return f"{counted(in_hand, 'row')} in hand: calls in flight are waited for, the rest goes back."


def cancelling(left: int) -> str:
    """What becomes of the rows that are not final when their job is cancelled."""
    return (
        f"{counted(left, 'row')} left: those in hand are settled, those that may have been sent are looked for, the others are"
        " cancelled."
    )


def outcome_name(outcome: str) -> str:
    """What so many rows are called that came to be done in this way: `filled in`."""
    return outcome.replace("_", " ")


def already_installed(differs: Sequence[str]) -> str:
    """`differs`: names of what the row asks otherwise than it was found."""
    return "; ".join(how_done(Outcome.ADOPTED, differs=differs))


def how_done(
    outcome: str | None,
    *,
    differs: Sequence[str] = (),
    changed: Sequence[str] = (),
    is_ours: bool | None = None,
    is_authenticated: bool | None = None,
    to_authorise: bool = False,
) -> list[str]:
    """How a row came to be done, and what there is to say beside that: each a part of a sentence."""
    how = OUTCOMES[Outcome(outcome)] if outcome in set(Outcome) else DONE
    beside = said_of_done(
        outcome,
        differs=differs,
        changed=changed,
        is_ours=is_ours,
        is_authenticated=is_authenticated,
        to_authorise=to_authorise,
    )
    return [how, *beside]


def said_of_done(
    outcome: str | None,
    *,
    differs: Sequence[str],
    changed: Sequence[str],
    is_ours: bool | None,
    is_authenticated: bool | None,
    to_authorise: bool,
) -> list[str]:
    """What was changed of what was there, what was not, and what is still to be known or done. `is_ours`: it is proven."""
    parts = []
    if changed and outcome in (Outcome.FILLED_IN, Outcome.UPDATED):
        parts.append(f"{joined(changed)} {were(changed)} set")
    hidden = [name.removesuffix(NOT_SHOWN) for name in differs if name.endswith(NOT_SHOWN)]
    if others := [name for name in differs if not name.endswith(NOT_SHOWN)]:
        parts.append(f"{joined(others)} {differ(others)} and {were(others)} not changed")
    if hidden:
        parts.append(f"{joined(hidden)} {were(hidden)} left as Cyclr has it, since it is not shown")
    if outcome == Outcome.RECOVERED and not is_ours:
        parts.append(OWNER_UNKNOWN)
    if is_authenticated is False:
        parts.append(WAITS_FOR_CUSTOMER if to_authorise else WAITS_FOR_CREDENTIAL)
    return parts


def not_authenticated(credential: Sequence[str]) -> str:
    """`credential`: the names of what was set."""
    return f"{joined(credential)} {were(credential)} set, and Cyclr does not call it authenticated"


def joined(names: Sequence[str]) -> str:
    """`api_key, property.Region and description`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def were(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"


def differ(names: Sequence[str]) -> str:
    return "differs" if len(names) == 1 else "differ"


# What people call the state that is stored as `installed`, however the row came to it.
DONE = "done"
# The state of a row as the style sheet knows it -> as people do.
ITEM_STATES = {
    "installed": DONE,
    "to-authorise": "to be authorised",
    "failed": "failed",
    "cancelled": "cancelled",
    "in-hand": "in hand",
    "retrying": "retrying",
    "waiting": "waiting",
    "held": "held back",
}


def item_state(state: str, *, tried: bool, is_held: bool, to_authorise: bool) -> tuple[str, str]:
    """How a row stands, as the style sheet knows it, and for people."""
    if state == ItemState.RUNNING:
        name = "in-hand"
    elif to_authorise:
        name = "to-authorise"
    elif is_held or state == ItemState.HELD:
        name = "held"
    elif state == ItemState.QUEUED:
        name = "retrying" if tried else "waiting"
    else:
        name = state
    return name, ITEM_STATES[name]


BEING_WRITTEN = "its rows are being written"


def job_state(state: JobState, *, is_ending: bool) -> str:
    """In one word. `is_ending`: it is cancelled, and some of its rows are not final yet."""
    return "ending" if is_ending else state


def job_state_and_why(state: JobState, pause_reason: PauseReason | None, *, is_ending: bool) -> str:
    """`running`, `paused (somebody paused it)`."""
    why = PAUSES[pause_reason].title if pause_reason else ""
    if is_ending:
        why = "cancelled, and its last rows are still being settled or looked for"
    word = job_state(state, is_ending=is_ending)
    return f"{word} ({why})" if why else word


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 row`, `1,200 rows`. `many`: where an s does not make it."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(first: Sequence[str], count: int) -> str:
    """`acme, globex and 7 more`. `first`: those of all `count` that are named."""
    more = count - len(first)
    return ", ".join(first) + (f" and {more:,} more" if more > 0 else "")


def in_words(seconds: float) -> str:
    """A duration for people: `8 s`, `2 min 5 s`, `3 h 20 min`."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(whole // 60, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def rate(per_second: float) -> str:
    """`97.4`, `1,200`, `0.05`: never nothing where there is some."""
    return f"{per_second:,.1f}".removesuffix(".0") if per_second >= 1 else f"{per_second:.2g}"


def sentence(text: str) -> str:
    """The text as a sentence: a capital letter first, unless it begins with the name of a field, and one full stop at the end."""
    text = text.strip()
    if not text:
        return ""
    first_word = text.partition(" ")[0].rstrip(".,:;")
    is_name = "_" in first_word or "." in first_word
    return (text if is_name else text[0].upper() + text[1:]) + ("" if text.endswith((".", "!", "?")) else ".")
