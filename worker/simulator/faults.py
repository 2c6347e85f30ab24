"""Faults on request. All of them are fiction: nobody has recorded how Cyclr's API fails.

A `Fault` says two things: whether Cyclr acts (never, before the answer, some time later), and what the caller gets
instead of the usual answer. There is one constructor for each. A `Rule` says which calls it befalls.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from enum import StrEnum
from typing import Generic, TypeVar

from worker.simulator.exchange import HTML, JSON, Refused, Reply

CALL_KINDS = frozenset(
    {
        "token",
        "install",
        "look",
        "account",
        "accounts",
        "create_account",
        "change_account",
        "delete_account",
        "connectors",
        "methods",
        "account_connector",
        "change_account_connector",
        "remove_account_connector",
        "deauthenticate",
        "properties",
        "property",
        "add_property",
        "change_property",
        "remove_property",
        "sign_in",
        "authorise",
        "other",
    }
)
ANY = "any"

T = TypeVar("T")

GATEWAY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class Acts(StrEnum):
    """Whether Cyclr does what was asked."""

    NEVER = "never"
    FIRST = "first"
    LATER = "later"


class Gets(StrEnum):
    """What the caller gets."""

    USUAL = "usual"
    REPLY = "reply"
    RESET = "reset"
    CUT = "cut"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail. Made by the constructors below only.

    `latency_s`: passes before anything happens. `later_s`: from the request to an effect that comes later.
    """

    kind: str
    acts: Acts
    gets: Gets
    reply: Reply | None = None
    retry_after: float | str | None = None
    retry_after_is_date: bool = False
    latency_s: float = 0.0
    later_s: float = 0.0

    def reply_at(self, now: float) -> Reply:
        """The reply instead of the usual one, with its Retry-After counted from `now`."""
        if self.reply is None:
            raise ValueError(f"a fault of kind {self.kind} has no reply of its own")
        if self.retry_after is None:
            return self.reply
        return replace(self.reply, headers={**self.reply.headers, "Retry-After": self._retry_after(now)})

    def _retry_after(self, now: float) -> str:
        if isinstance(self.retry_after, str) or self.retry_after is None:
            return str(self.retry_after)
        if self.retry_after_is_date:
            return formatdate(math.ceil(now + self.retry_after), usegmt=True)
        return f"{self.retry_after:g}"


def slow(latency_s: float) -> Fault:
    """The usual answer, late. A caller that has left in the meantime does not stop the effect."""
    return Fault("slow", Acts.FIRST, Gets.USUAL, latency_s=latency_s)


def throttled(retry_after: float | str | None = None, *, as_date: bool = False) -> Fault:
    """429. `retry_after`: seconds; a text is sent as it is; None sends no header."""
    reply = _message(429, "Too many requests.")
    return Fault("throttled", Acts.NEVER, Gets.REPLY, reply, retry_after, as_date)


def busy(retry_after: float | str | None = 1, *, as_date: bool = False, after_effect: bool = False) -> Fault:
    """503 with Retry-After."""
    reply = _message(503, "The service is unavailable.")
    return Fault("busy", _acts(after_effect=after_effect), Gets.REPLY, reply, retry_after, as_date)


def server_error(status: int = 500, *, after_effect: bool = False) -> Fault:
    reply = _message(status, "An error has occurred.")
    return Fault("server_error", _acts(after_effect=after_effect), Gets.REPLY, reply)


def refused(status: int, message: str) -> Fault:
    """A definite refusal such as 400 or 403, with the message given."""
    return Fault("refused", Acts.NEVER, Gets.REPLY, _message(status, message))


def reset(*, after_effect: bool = False) -> Fault:
    """The connection is reset (RST) after the request was read."""
    return Fault("reset", _acts(after_effect=after_effect), Gets.RESET)


def cut_body() -> Fault:
    """After the effect: half of the answer, then the connection is closed."""
    return Fault("cut_body", Acts.FIRST, Gets.CUT)


def silence(*, after_effect: bool = True) -> Fault:
    """No answer ever; the connection stays open until the caller leaves."""
    return Fault("silence", _acts(after_effect=after_effect), Gets.SILENCE)


def late_effect(later_s: float, *, status: int | None = None) -> Fault:
    """Cyclr acts `later_s` after the request. The caller gets `status` at once, or nothing where that is None."""
    if status is None:
        return Fault("late_effect", Acts.LATER, Gets.SILENCE, later_s=later_s)
    reply = _message(status, "The gateway timed out.")
    return Fault("late_effect", Acts.LATER, Gets.REPLY, reply, later_s=later_s)


def garbage(body: str = "{}", *, content_type: str = JSON, after_effect: bool = True) -> Fault:
    """200 with a body that is not the answer expected: HTML, empty, `{}`, anything."""
    return Fault("garbage", _acts(after_effect=after_effect), Gets.REPLY, Reply(200, body, content_type))


def other_success(status: int = 202, body: str = "", *, after_effect: bool = False) -> Fault:
    """A 2xx that is not 200."""
    return Fault("other_success", _acts(after_effect=after_effect), Gets.REPLY, Reply(status, body))


def redirected(location: str, status: int = 302) -> Fault:
    reply = Reply(status, "", HTML, {"Location": location})
    return Fault("redirected", Acts.NEVER, Gets.REPLY, reply)


def gateway_page(status: int = 502, *, after_effect: bool = False) -> Fault:
    """A gateway's HTML page."""
    return Fault(
        "gateway_page", _acts(after_effect=after_effect), Gets.REPLY, Reply(status, GATEWAY_PAGE, HTML)
    )


FAULTS: dict[str, Callable[..., Fault]] = {
    made.__name__: made
    for made in (
        slow, throttled, busy, server_error, refused, reset, cut_body, silence, late_effect, garbage,
        other_success, redirected, gateway_page,
    )
}  # fmt: skip


@dataclass(slots=True)
class Rule(Generic[T]):
    """Something that befalls calls, and which.

    `what`: a fault, or what the admin does. `call`: one of `CALL_KINDS` or `any`. `share`: 0 to 1, drawn with a dice of
    its own. `spared`: how many calls pass before the first. `left`: how many times more, None for always.
    """

    id: int
    what: T
    call: str = ANY
    account_id: str | None = None
    share: float = 1.0
    spared: int = 0
    left: int | None = None
    dice: random.Random = field(default_factory=lambda: random.Random(1), repr=False)
    hits: int = 0

    def __post_init__(self) -> None:
        if self.call != ANY and self.call not in CALL_KINDS:
            raise ValueError(f"call: expected any or one of {', '.join(sorted(CALL_KINDS))}, got {self.call}")

    def befalls(self, call: str) -> bool:
        """Whether it befalls this call of its account, which is counted."""
        if self.call not in (ANY, call) or self.left == 0:
            return False
        if self.spared:
            self.spared -= 1
            return False
        if self.share < 1 and self.dice.random() >= self.share:
            return False
        self.hits += 1
        if self.left is not None:
            self.left -= 1
        return True


class FaultPlan:
    """The rules in force. An account's own rules are asked first, then those for all; the first that fits is taken."""

    def __init__(self, seed: int = 1) -> None:
        self.latency_s = (0.0, 0.0)  # every call takes a time between these, beside its fault
        self._random = random.Random(seed)
        self._by_account: dict[str, list[Rule[Fault]]] = {}
        self._for_all: list[Rule[Fault]] = []
        self._made = 0

    def add(
        self,
        fault: Fault,
        *,
        call: str = ANY,
        account_id: str | None = None,
        share: float = 1.0,
        nth: int = 1,
        count: int | None = None,
        seed: int = 1,
    ) -> Rule[Fault]:
        """Puts a rule in force; see `Rule`. `nth`: the first of these calls that it befalls. `count`: how often, None for always."""
        self._made += 1
        rule = Rule(self._made, fault, call, account_id, share, nth - 1, count, random.Random(seed))
        (self._for_all if account_id is None else self._by_account.setdefault(account_id, [])).append(rule)
        return rule

    def rules(self) -> list[Rule[Fault]]:
        """Those in force, in the order in which they were added."""
        own = [rule for rules in self._by_account.values() for rule in rules]
        return sorted([*own, *self._for_all], key=lambda rule: rule.id)

    def clear(self) -> None:
        self._by_account.clear()
        self._for_all.clear()

    def pick(self, call: str, account_id: str | None) -> Fault | None:
        """The fault that befalls this call, counted as used; None for none."""
        own = self._by_account.get(account_id, ()) if account_id is not None else ()
        for rules in (own, self._for_all):
            for rule in rules:
                if rule.befalls(call):
                    return rule.what
        return None

    def latency(self) -> float:
        low, high = self.latency_s
        return low if low == high else self._random.uniform(low, high)


def _acts(*, after_effect: bool) -> Acts:
    return Acts.FIRST if after_effect else Acts.NEVER


def _message(status: int, message: str) -> Reply:
    return Refused(status, message).reply()
