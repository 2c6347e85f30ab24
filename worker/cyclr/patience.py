"""How a reading of the catalogue goes on through what passes: waiting, throttling, a lost answer, a revoked token."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from worker.cyclr.client import Blame, CyclrClient
from worker.cyclr.errors import (
    Busy,
    CredentialsRefused,
    CyclrError,
    GateClosed,
    LimiterAway,
    NeverSent,
    NotFound,
    NotStarted,
    OutcomeUnknown,
    Refused,
    Throttled,
    Unauthorised,
)
from worker.cyclr.exchange import NextPermit, Permit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on. `pauses_s`: before each further try of a call that failed; then its error is raised.

    `throttled_tries`: how often one call may be turned away by 429 or 503 (the gate holds the next permit back).
    `away_tries`: how often, `away_pause_s` apart, the limiter may be found away.
    """

    pauses_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    throttled_tries: int = 20
    away_tries: int = 60
    away_pause_s: float = 0.5
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


PATIENCE = Patience()


async def read_patiently(
    client: CyclrClient,
    next_permit: NextPermit,
    call: Callable[[Permit], Awaitable[T]],
    *,
    account_id: str | None,
    patience: Patience = PATIENCE,
) -> T:
    """What a call that changes nothing answers, tried again as long as that makes sense.

    `account_id`: in whose name the call is; None for a call of the partner's own.
    Raises: NotFound where Cyclr does not know the account; Refused where it exists and is refused all the same;
    CredentialsRefused; LimiterAway; the last error of a call that goes on failing.
    """
    tries = _Tries(client, next_permit, account_id, patience)
    refused: Unauthorised | None = None
    while True:
        try:
            if refused is not None:
                await tries.clear_up(refused)
                refused = None
            return await call(await next_permit())
        except Unauthorised as error:
            refused = error
        except (NotStarted, NeverSent, Throttled, Busy, OutcomeUnknown) as error:
            pause_s = tries.pause_after(error)
            if pause_s is None:
                raise
            await patience.sleep(pause_s)


@dataclass(slots=True)
class _Tries:
    client: CyclrClient
    next_permit: NextPermit
    account_id: str | None
    patience: Patience
    failed: int = 0
    throttled: int = 0
    away: int = 0
    unauthorised: int = 0
    account_refused: int = 0

    def pause_after(self, error: CyclrError) -> float | None:
        """Seconds until the next try; None: enough."""
        match error:
            case LimiterAway():
                self.away += 1
                return self.patience.away_pause_s if self.away <= self.patience.away_tries else None
            case GateClosed():
                return error.reopens_in_s
            case NotStarted():
                return 0.0
            case Throttled() | Busy():
                self.throttled += 1
                return 0.0 if self.throttled <= self.patience.throttled_tries else None
        self.failed += 1
        pauses_s = self.patience.pauses_s
        return pauses_s[self.failed - 1] if self.failed <= len(pauses_s) else None

    async def clear_up(self, refused: Unauthorised) -> None:
        """Find out what a 401 is about. Returns where the call is worth another try."""
        self.unauthorised += 1
        if self.unauthorised > 3:
            raise CredentialsRefused(401)
        if self.account_id is None:
            await self.client.renew_token(refused.token_id)
            return
        blame = await self.client.blame(await self.next_permit(), self.account_id, refused)
        if blame is Blame.ACCOUNT_UNKNOWN:
            raise NotFound(f"there is no account {self.account_id}")
        if blame is Blame.ACCOUNT_REFUSED:
            self.account_refused += 1
            if self.account_refused > 1:
                raise Refused(401, f"account {self.account_id} exists, but calls for it are refused")
