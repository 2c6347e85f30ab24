"""What Cyclr answers, or does not, and what it does all the same."""

import time

from tests.end_to_end.fleet.fleet import CONNECTOR
from tests.faults.classes.fault import Fault
from tests.faults.deployment import SETTLE_S

AWAY_S, AWAY_BRIEFLY_S = 60.0, 8.0
PAGE_SIZE = 2
PAGE_SHIFTS, MOVES = 50, 8
PAGES_ARE_READ_WITHIN_S = 30.0


class Answers(Fault):
    """So many installs are answered like that. Its evidence: how often the simulator did."""

    kind: str
    arguments: dict[str, object]
    count = 6
    share = 0.5  # not all in a row, which would be taken for an outage

    def strike(self) -> None:
        self.rule = self.at.cyclr.add_fault(
            self.kind,
            count=self.count,
            share=self.share,
            seed=self.rng.randrange(1_000_000),
            **self.arguments,
        )

    def took_place(self) -> bool:
        return self.at.cyclr.hits(self.rule) > 0


class ThrottledForSeconds(Answers):
    name = "429 with Retry-After in seconds"
    kind, arguments, count = "throttled", {"retry_after": 4}, 1


class ThrottledUntilADate(Answers):
    name = "429 with Retry-After as a date"
    kind, arguments, count = "throttled", {"retry_after": 4, "as_date": True}, 1


class ThrottledWithoutATime(Answers):
    name = "429 without Retry-After"
    kind, arguments, count = "throttled", {}, 2


class ErrorBeforeTheEffect(Answers):
    name = "5xx before the effect"
    kind, arguments = "server_error", {"status": 500, "after_effect": False}


class ErrorAfterTheEffect(Answers):
    name = "5xx after the effect"
    kind, arguments = "server_error", {"status": 503, "after_effect": True}


class ResetAfterTheEffect(Answers):
    name = "reset after the effect"
    kind, arguments = "reset", {"after_effect": True}


class BodyCut(Answers):
    name = "body cut"
    kind, arguments = "cut_body", {}


class Silence(Answers):
    name = "silence"
    kind, arguments = "silence", {"after_effect": True}


class LateEffect(Answers):
    name = "effect after the answer, within CYCLR_SETTLE_S"
    kind, arguments = "late_effect", {"later_s": 0.7 * SETTLE_S, "status": 504}


class GatewayPage(Answers):
    name = "gateway's HTML"
    kind, arguments = "gateway_page", {"status": 502, "after_effect": True}


class TokenRevoked(Fault):
    name = "token revoked"

    def strike(self) -> None:
        self.struck_at = time.time()
        self.at.cyclr.control("revoke_tokens")

    def took_place(self) -> bool:
        later = [call for call in self.at.cyclr.read_on().calls if call.received_at > self.struck_at]
        return any(call.status == 401 for call in later) and any(call.kind == "token" for call in later)


class NewRelease(Fault):
    name = "new release"

    def strike(self) -> None:
        self.release_id = str(self.at.cyclr.control("release", connector=CONNECTOR)["id"])
        self.struck_at = time.time()

    def took_place(self) -> bool:
        installs = [call for call in self.at.cyclr.installs() if call.received_at > self.struck_at]
        went_on = [call for call in installs if call.connector == self.release_id and call.status == 200]
        return bool(went_on) and any(call.status == 404 for call in installs)


class PagesThatShift(Answers):
    """Lists of several pages that move while they are read, and installs that need a look."""

    name = "pages that shift"
    kind, arguments, count = "server_error", {"status": 500, "after_effect": True}, 8

    looked = False

    def strike(self) -> None:
        usual = self.at.cyclr.switches()
        size = {"default_page_size": PAGE_SIZE, "max_page_size": PAGE_SIZE}
        self.at.cyclr.switches(page_shifts=PAGE_SHIFTS, **size)
        super().strike()
        self.looked = self.at.comes_true(
            lambda: self.at.cyclr.switches()["page_shifts"] <= PAGE_SHIFTS - MOVES, PAGES_ARE_READ_WITHIN_S
        )
        # The list of all accounts has pages too, which whoever submits the next job reads.
        self.at.cyclr.switches(page_shifts=0, **{name: usual[name] for name in size})

    def took_place(self) -> bool:
        return self.looked and any(call.page == "2" for call in self.at.cyclr.read_on().calls_of("look"))


class CyclrAway(Fault):
    name = "Cyclr away"

    def strike(self) -> None:
        self.began = time.time()
        self.at.cyclr.switches(away=self.rng.choice(("reset", "503")))
        self.at.pass_time(AWAY_BRIEFLY_S if self.is_brief else AWAY_S)
        self.at.cyclr.switches(away=None)
        self.ended = time.time()

    def took_place(self) -> bool:
        calls = [call for call in self.at.cyclr.read_on().calls if self.began < call.received_at < self.ended]
        return sum(call.fault in ("reset", "server_error") for call in calls) > 0
