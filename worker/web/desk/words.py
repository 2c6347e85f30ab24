"""What a customer reads. They know neither us nor Cyclr: no word of ours stands here, and no account's name."""

from dataclasses import dataclass, replace

from worker.domain.links import LinkState
from worker.jobs.authorising import NotSent


@dataclass(frozen=True, slots=True)
class CustomerPage:
    """`button`: what the customer may do; None: nothing. `way_in`: what the link for those who work here is called."""

    status: int
    heading: str
    sentences: tuple[str, ...]
    button: str | None = None
    small: str | None = None
    way_in: str | None = None


AWAY = CustomerPage(
    503,
    "Just a moment",
    (
        "We cannot take you to the next page right now. Please try again in a few minutes.",
        "Your link stays good.",
    ),
    "Try again",
)
DONE = CustomerPage(
    200,
    "Thank you",
    (
        "If you approved the access, you are done and can close this page.",
        "If you did not, or if something went wrong, open the link in your message again.",
    ),
)
_UNKNOWN = CustomerPage(
    404,
    "This link does not work",
    (
        "It may be incomplete: mail programs sometimes break a long link in two. Copy the whole link from your"
        " message into the address line of your browser.",
        "If that does not help, please ask whoever sent it to you for a new one.",
    ),
)
FRONT = CustomerPage(
    200,
    "A part of the address is missing",
    (
        "If a message brought you here, its link was cut: mail programs sometimes break a long link in two. Copy the"
        " whole link from your message into the address line of your browser.",
        "If that does not help, please ask whoever sent it to you for a new one.",
    ),
    way_in="Sign in, if you work here",
)
_EXPIRED = CustomerPage(
    410,
    "This link has ended",
    ("It was good for a limited time. Please ask whoever sent it to you for a new one.",),
)
_WITHDRAWN = CustomerPage(
    410,
    "This link is no longer in use",
    (
        "There may be a newer message with another link: please use that one.",
        "If there is none, please ask whoever sent you the link.",
    ),
)
_TOO_OFTEN = CustomerPage(
    429,
    "Please wait a little",
    ("This link has been used many times just now. Please try again in ten minutes.",),
)
_REFUSED = CustomerPage(
    502,
    "This cannot be finished yet",
    (
        "Something is not set up as it should be, and trying again will not help.",
        "Please tell whoever sent you the link.",
    ),
)
_FROM_ELSEWHERE = CustomerPage(
    403,
    "Please open your link again",
    (
        "Your browser did not say that you came from our own page. Open the link in your message, and go on from there.",
    ),
)


def error_in_words(status: int) -> CustomerPage:
    """What somebody sees whose request could not be carried out."""
    if status == _TOO_OFTEN.status:
        return _TOO_OFTEN
    if status == 403:
        return _FROM_ELSEWHERE
    # No button: what was asked for may not be a link.
    return replace(AWAY, button=None) if status >= 500 else _UNKNOWN


def page_of(state: LinkState | NotSent, connector_name: str) -> CustomerPage:
    """What somebody sees who comes with a link, or has clicked on it."""
    match state:
        case LinkState.OPEN:
            return CustomerPage(
                200,
                f"Connect {connector_name}",
                (
                    f"You have been asked to give access to your {connector_name} account, so that it can be"
                    " connected.",
                    f"On the next page you sign in to {connector_name} and approve the access. You can stop there"
                    " at any time.",
                ),
                f"Go on to {connector_name}",
                "If you did not expect this, close this page. Nothing happens unless you go on.",
            )
        case LinkState.AUTHORISED:
            return CustomerPage(
                200,
                "Already connected",
                (f"{connector_name} is connected. There is nothing left to do; you can close this page.",),
            )
        case LinkState.EXPIRED:
            return _EXPIRED
        case LinkState.WITHDRAWN:
            return _WITHDRAWN
        case LinkState.UNKNOWN:
            return _UNKNOWN
        case NotSent.TOO_OFTEN:
            return _TOO_OFTEN
        case NotSent.REFUSED:
            return _REFUSED
        case NotSent.AWAY:
            return AWAY
