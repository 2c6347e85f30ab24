"""The states of an item and of a job, and how an item ended. `docs/states.md` draws them, `words.py` says them to people."""

from enum import StrEnum


class ItemState(StrEnum):
    HELD = "held"  # until something else has happened (`held_for`); nothing writes it yet
    QUEUED = "queued"
    RUNNING = "running"
    INSTALLED = "installed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in FINAL_ITEM_STATES


FINAL_ITEM_STATES = frozenset({ItemState.INSTALLED, ItemState.FAILED, ItemState.CANCELLED})


class JobState(StrEnum):
    LOADING = "loading"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """How a done item came to be as its row asks."""

    CREATED = "created"  # we hold Cyclr's 200
    RECOVERED = "recovered"  # an answer was lost, and a look found it
    FILLED_IN = "filled_in"  # it was there, and what was missing of it was set
    UPDATED = "updated"  # it was there, and what it had otherwise was set too
    UNCHANGED = "unchanged"  # it was there as asked
    ADOPTED = (
        "adopted"  # it was there, and what differed was left alone: of jobs of a version before this one
    )


class PauseReason(StrEnum):
    """Why a job is paused."""

    PERSON = "person"
    INTERRUPTED = "interrupted"
    FIRST_ROWS = "first_rows"
    TOO_MANY_FAILURES = "too_many_failures"
    PARTNER_CREDENTIALS = "partner_credentials"
    RELEASE_CHANGED = "release_changed"
    WRONG_API_URL = "wrong_api_url"


class Code(StrEnum):
    """Stable codes: why a row failed, or is tried again, or what stands beside an installed one."""

    # the file's fault
    REFUSED_AT_INTAKE = "refused_at_intake"
    # Cyclr refused, for good
    REFUSED = "refused"
    NAME_IN_USE = "name_in_use"
    ACCOUNT_UNKNOWN = "account_unknown"
    ACCOUNT_REFUSED = "account_refused"
    CONNECTOR_GONE = "connector_gone"
    NOT_TAKEN = "not_taken"  # it took a value and still shows the one before it
    NOT_AUTHENTICATED = "not_authenticated"  # it took the credential and shows none
    # tried to the end
    UNREACHABLE = "unreachable"  # never sent, every time
    NO_ANSWER = "no_answer"  # unknown every time, and a look found nothing
    OUTCOME_UNKNOWN = "outcome_unknown"  # unknown, and the looks failed too: may be installed
    # ours
    WORKER_LOST = "worker_lost"
    UNSTORABLE_ANSWER = "unstorable_answer"
    CREDENTIAL_LOST = "credential_lost"  # the sealed data of the row cannot be opened
    INCOMPLETE = "incomplete"  # cancelled, and something of the row was sent or done
    # what is there is left alone
    DIFFERS = "differs"
    PRESENT_UNDER_OTHER_NAME = "present_under_other_name"
    AMBIGUOUS = "ambiguous"
    METHOD_UNKNOWN = "method_unknown"
    NOT_THERE = "not_there"
    # not failures
    THROTTLED = "throttled"
    RESCUED = "rescued"


# Decisions of a rule of ours: they say nothing against the file or Cyclr, so they do not count for the share of failures at
# which a job pauses.
RULED = frozenset(
    {
        Code.NAME_IN_USE,
        Code.PRESENT_UNDER_OTHER_NAME,
        Code.INCOMPLETE,
        Code.DIFFERS,
        Code.AMBIGUOUS,
        Code.METHOD_UNKNOWN,
        Code.NOT_THERE,
    }
)
