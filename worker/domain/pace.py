"""How fast Cyclr is called, and why a job waits: values, and the one sentence for each."""

from dataclasses import dataclass

from worker.domain.server_faults import ServerFault
from worker.domain.states import JobState
from worker.domain.words import BEING_WRITTEN, counted, in_words, rate

WORKERS_START_WITHIN_S = 60.0  # two seconds on a machine with nothing else to do
UNTAKEN_AFTER_S = 5.0  # what is due for so long, with no call forbidden, should have been taken
SEEN_LATELY_S = 30.0  # a worker says every 10 s that it lives


@dataclass(frozen=True, slots=True)
class Pace:
    """`per_second`: the calls a second that are in force, for all together. `own_per_second`: what this process was set to."""

    per_second: float
    own_per_second: float

    def __str__(self) -> str:
        """`10 calls/s`; where it is another process's limit, in words."""
        return f"{self.per_second:g} {'call' if self.per_second == 1 else 'calls'}/s{self.whose}"

    @property
    def is_own(self) -> bool:
        return self.per_second == self.own_per_second

    @property
    def whose(self) -> str:
        """What is to be said behind the figure; nothing where it is this process's own."""
        if self.is_own:
            return ""
        return f" (set by another process that shares the limit; this one has {self.own_per_second:g})"


@dataclass(frozen=True, slots=True)
class LimiterState:
    """`rate_per_second`: what a gate of Cyclr has left of `pace`. `outage_level`: outages in a row, 0 when Cyclr answers;
    `outage`: what a caller met last then, None where it is not known."""

    rate_per_second: float
    pace: Pace
    gate_closed_for_s: float
    outage_level: int
    outage: ServerFault | None = None

    @property
    def may_call(self) -> bool:
        return not self.outage_level and self.gate_closed_for_s <= 0

    @property
    def holds_back(self) -> str:
        """Why fewer calls are made just now than the limit allows; nothing where it is used in full."""
        if self.outage_level:
            return f"{self.outage or 'Cyclr does not answer'}; it is tried again in {in_words(self.gate_closed_for_s)}"
        if self.gate_closed_for_s > 0:
            return f"{nobody_calls_for(self.gate_closed_for_s)}, as Cyclr asked"
        if self.rate_per_second < 0.98 * self.pace.per_second:
            return f"slowed to {rate(self.rate_per_second)} of {self.pace.per_second:g} calls/s for a while, as Cyclr asked"
        return ""


def nobody_calls(fault: ServerFault) -> str:
    """`fault`: of a server of ours, without which nobody may call."""
    return f"{fault}, so nobody calls Cyclr"


def nobody_calls_for(seconds: float) -> str:
    return f"nobody calls Cyclr for another {in_words(seconds)}"


@dataclass(frozen=True, slots=True)
class NextStep:
    """What the job waits for, in seconds from now; below 0: that time has come.

    `in_hand`: items that workers hold; `in_hand_for_s`: until the last of these claims runs out, None where there is none.
    `due_in_s`, `last_due_in_s`: until the next item may be tried, and until all may; None where none waits.
    `is_anybody_working`: whether any item of the database is in hand. `gate_closed_for_s`: until somebody may call Cyclr.
    `seen_ago_s`: since a worker of the instance was last seen, None where none was or nothing is due.
    `workers_began_ago_s`: since the workers of a home were started; None: it is not known, or there is no home.
    """

    in_hand: int
    in_hand_for_s: float | None
    due_in_s: float | None
    gate_closed_for_s: float
    is_anybody_working: bool
    last_due_in_s: float | None = None
    seen_ago_s: float | None = None
    workers_began_ago_s: float | None = None

    @property
    def are_workers_starting(self) -> bool:
        """Whether the workers of the home have not been seen yet, and have not had the time to be."""
        began_ago_s, seen_ago_s = self.workers_began_ago_s, self.seen_ago_s
        if began_ago_s is None or began_ago_s > WORKERS_START_WITHIN_S:
            return False
        return seen_ago_s is None or seen_ago_s > began_ago_s

    @property
    def was_worker_seen(self) -> bool:
        return self.seen_ago_s is not None and self.seen_ago_s <= SEEN_LATELY_S


def why_it_waits(state: JobState, step: NextStep) -> str:
    """One line for people; nothing where nothing is to be said."""
    match state:
        case JobState.LOADING:
            return BEING_WRITTEN
        case JobState.PAUSED | JobState.COMPLETED:
            return ""
    if step.gate_closed_for_s > 0:
        return nobody_calls_for(step.gate_closed_for_s)
    if step.in_hand and step.in_hand_for_s is not None:
        return _what_is_in_hand(step.in_hand, step.in_hand_for_s)
    if step.due_in_s is None:
        return ""
    if step.due_in_s > 0:
        return f"next try in {in_words(step.due_in_s)}"
    return "" if step.is_anybody_working else _why_nobody_takes_it(step, untaken_for_s=-step.due_in_s)


def _why_nobody_takes_it(step: NextStep, *, untaken_for_s: float) -> str:
    if step.are_workers_starting:
        return "the workers are starting"
    if step.was_worker_seen:
        # Seen, so it is about to take them; unless it has no limiter to ask, or is never rung.
        text = "rows are due and no worker takes them, though one is running: does its Redis answer?"
        return text if untaken_for_s > SEEN_LATELY_S else ""
    text = "rows are due and no worker takes them: is one running, for this Cyclr, and does its Redis answer?"
    return text if untaken_for_s > UNTAKEN_AFTER_S else ""


def _what_is_in_hand(count: int, for_s: float) -> str:
    rows = counted(count, "row")
    if for_s > 0:
        return f"{rows} in hand: answered, or taken back from a lost worker, within {in_words(for_s)}"
    return f"{rows} of a lost worker, about to be taken back"
