"""How a call to Cyclr can fail: one class for each decision that the caller must make.

CyclrError
├── NotStarted              the call was not begun, for a reason of ours; costs no attempt
│   ├── SlotMissed          its time went by, for example while the process was frozen
│   ├── GateClosed          nobody may call before a time that Cyclr (or an outage) has set
│   └── LimiterAway         the limiter cannot be asked, so nobody calls
├── NeverSent               no request was written: Cyclr did not act
├── Throttled               429: Cyclr did not act
├── Busy                    503 with Retry-After: the outcome is unknown
├── Unauthorised            401: the token or the account is refused; Cyclr did not act
├── NameInUse               the account holds an account connector of this Name, perhaps from an earlier call
├── NotFound                404: Cyclr did not act
├── Refused                 400, 403 and other definite 4xx: Cyclr did not act, and says why
├── Redirected              3xx: the API URL is wrong, most likely; the outcome is unknown
├── OutcomeUnknown          anything else: the request may have taken effect
└── CredentialsRefused      the token endpoint refuses client id and secret

Every text of these errors may be shown and stored: messages of Cyclr are made safe (`answers.message_of`) before they
get here, and neither requests nor tokens are held, chained errors included.
"""

from worker.domain.failures import ToldFailure
from worker.domain.server_faults import ServerFault


class CyclrError(ToldFailure):
    """`status`: the HTTP status, where there was an answer. `server_fault`: what ails Cyclr, where no whole answer came.
    `advice`: what to do, for who asked Cyclr and waits for the answer; an attempt's is by the code that it ends with.
    `did_not_act`: what the call asked for is surely not done.
    """

    advice = "Try again."
    status: int | None = None
    server_fault: ServerFault | None = None
    did_not_act = False


class NotStarted(CyclrError):
    did_not_act = True


class SlotMissed(NotStarted):
    def __init__(self) -> None:
        super().__init__("the time reserved for this call went by before it could start")


class GateClosed(NotStarted):
    """`reopens_in_s`: seconds from when this was raised."""

    def __init__(self, reopens_in_s: float) -> None:
        self.reopens_in_s = reopens_in_s
        super().__init__(f"calls are held back for another {reopens_in_s:.1f} s")


class LimiterAway(NotStarted):
    """`fault`: what Redis said, or what became of the connection, as `redis_fault` tells it. None where Redis is not to blame."""

    def __init__(self, fault: str | None = "timeout") -> None:
        self.fault = fault
        why = f" ({fault})" if fault else ""
        super().__init__(f"the shared limiter cannot be asked{why}, so nobody calls Cyclr")


class NeverSent(CyclrError):
    """`reason`: for people, for example `connection refused`."""

    advice = "Check CYCLR_API_URL and the network."
    did_not_act = True

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"Cyclr was not reached: {reason}")


class Throttled(CyclrError):
    """`retry_after_s`: None where Cyclr named no time."""

    advice = "Try again in a minute, or lower CYCLR_CALLS_PER_SECOND."
    did_not_act = True

    def __init__(self, retry_after_s: float | None, status: int = 429) -> None:
        self.status = status
        self.retry_after_s = retry_after_s
        when = "" if retry_after_s is None else f", again in {retry_after_s:.0f} s"
        super().__init__(f"Cyclr asks for fewer calls (status {status}{when})")


class Busy(CyclrError):
    advice = "Try again in a minute."

    def __init__(self, retry_after_s: float, status: int = 503) -> None:
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(f"Cyclr is busy (status {status}, again in {retry_after_s:.0f} s)")


class Unauthorised(CyclrError):
    """`token_id`: names the token that was refused, for `Tokens.renew`; it is not the token."""

    advice = "Check the account and that the client id may act for it."
    did_not_act = True
    status = 401

    def __init__(self, token_id: str) -> None:
        self.token_id = token_id
        super().__init__("Cyclr refuses the token or the account (status 401)")


class NameInUse(CyclrError):
    did_not_act = True

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        self.message = message
        super().__init__(message)


class NotFound(CyclrError):
    advice = "Check the account id."
    did_not_act = True
    status = 404

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(f"Cyclr found nothing (status 404): {message}")


class Refused(CyclrError):
    """`status`: None where the call was refused on our side, since it cannot be written."""

    advice = "Check that the client id may do this, and that Cyclr accepts calls from this network."
    did_not_act = True

    def __init__(self, status: int | None, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(message if status is None else f"Cyclr refused (status {status}): {message}")


class Redirected(CyclrError):
    advice = "Give the API domain of your instance, such as https://api.cyclr.com, not the console's."

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"Cyclr answers with a redirect (status {status}): CYCLR_API_URL is wrong")


class OutcomeUnknown(CyclrError):
    """`reason`: for people, for example `no answer within 30 s`. `status`: None where no whole answer came."""

    advice = "Check CYCLR_API_URL; if it is right, try again, or look at Cyclr's status page."

    def __init__(self, reason: str, status: int | None = None) -> None:
        self.reason = reason
        self.status = status
        super().__init__(f"whether Cyclr acted is unknown: {reason}")


class CredentialsRefused(CyclrError):
    advice = "Check both in Cyclr's console, and that they belong to the region of CYCLR_API_URL."
    did_not_act = True

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"Cyclr refuses CYCLR_CLIENT_ID and CYCLR_CLIENT_SECRET (status {status})")
