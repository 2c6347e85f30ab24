"""Questions to Cyclr by the command itself; where they fail, the message names who was asked."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from worker.cli.workplace import Workplace
from worker.cyclr.client import CyclrClient
from worker.cyclr.errors import (
    Busy,
    CredentialsRefused,
    CyclrError,
    NeverSent,
    NotFound,
    OutcomeUnknown,
    Redirected,
    Refused,
    Throttled,
    Unauthorised,
)
from worker.cyclr.limiter import Limiter
from worker.domain.failures import ToldFailure

T = TypeVar("T")

WHAT_TO_DO: dict[type[CyclrError], str] = {
    CredentialsRefused: "Check both in Cyclr's console, and that they belong to the region of CYCLR_API_URL.",
    NeverSent: "Check CYCLR_API_URL and the network.",
    Redirected: "Give the API domain of your instance, such as https://api.cyclr.com, not the console's.",
    Unauthorised: "Check the account and that the client id may act for it.",
    NotFound: "Check the account id.",
    Refused: "Check that the client id may do this, and that Cyclr accepts calls from this network.",
    Throttled: "Try again in a minute, or lower CYCLR_CALLS_PER_SECOND.",
    Busy: "Try again in a minute.",
    OutcomeUnknown: "Check CYCLR_API_URL; if it is right, try again, or look at Cyclr's status page.",
}


class NotAnswered(ToldFailure):
    """Cyclr was asked and did not answer as it should. `host`: who was asked."""

    def __init__(self, host: str, error: CyclrError) -> None:
        self.host = host
        self.error = error
        hint = WHAT_TO_DO.get(type(error), "Try again.")
        super().__init__(f"{host}: {error}. {hint}")


def ask(place: Workplace, question: Callable[[CyclrClient, Limiter], Awaitable[T]]) -> T:
    """The answer. Raises: NotAnswered."""
    try:
        return place.ask(question)
    except CyclrError as error:
        raise NotAnswered(place.settings.api_host, error) from None
