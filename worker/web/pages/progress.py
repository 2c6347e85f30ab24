"""How a job stands, for people: counts that add up to its rows, a bar of them, rate and time left."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import accumulate

from worker.domain import words
from worker.domain.states import JobState
from worker.domain.words import counted, in_words, listed, rate, sentence
from worker.jobs.views import Going
from worker.store.jobs import InHand, JobStatus
from worker.store.tallies import FailureReason, OutcomeCount, PacePoint
from worker.web.pages.rendering import Notice

STANDS_STILL_AFTER = timedelta(seconds=5)
LEAST_WIDTH = 0.6  # per cent of the bar: one row of 100,000 is to be seen
SHOWN_REASONS = 10
SHOWN_FIELDS = 10
NOBODY = InHand(0, 0)
NOT_WELL = ("to-authorise", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a job in one state. `name`: for the style sheet. `x`, `width`: where its part of the bar begins and how wide it is,
    in per cent."""

    name: str
    label: str
    count: int
    x: float = 0.0
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class PaceKnown:
    """What of the chart a page has already: points of so many seconds each, the last one from `at` on. As a text: `1-1764511200`."""

    over_s: int
    at: int

    @classmethod
    def from_text(cls, text: str) -> "PaceKnown | None":
        """None where there is none."""
        over_s, _, at = text.partition("-")
        are_numbers = all(part.isascii() and part.isdigit() and len(part) < 12 for part in (over_s, at))
        return cls(int(over_s), int(at)) if are_numbers else None


@dataclass(slots=True)
class JobShown:
    """A job as a page shows it. `parts` add up to all of its rows."""

    job: JobStatus
    now: datetime
    in_hand: InHand = NOBODY
    going: Going = Going()  # noqa: RUF009 - it cannot be changed
    other_host: str | None = None
    pace_points: Sequence[PacePoint] = ()
    outcomes: Sequence[OutcomeCount] = ()
    earlier: Sequence[str] = ()
    failures: Sequence[FailureReason] = ()
    pace_known: PaceKnown | None = None
    asks_customers: bool = False
    calls: str | None = None
    calls_note: str = ""
    why: str | None = None
    parts: list[Part] = field(init=False)

    def __post_init__(self) -> None:
        self.parts = _parts(self.job, self.in_hand)

    @property
    def handed_in_by(self) -> str:
        return self.job.handed_in_by or "the command line"

    @property
    def state_name(self) -> str:
        return str(self.job.state)

    @property
    def badge(self) -> tuple[str, str]:
        """The state as the style sheet knows it and the words for it: completed is green only where all is well."""
        if self.job.state is JobState.COMPLETED and self.job.failed:
            return "failed", "completed with failures"
        if self.job.state is JobState.COMPLETED and self.job.refused:
            return "refused", "completed, rows left out"
        if self.job.state is JobState.COMPLETED and self.job.to_authorise:
            return "to-authorise", "completed, to be authorised"
        return self.state_name, words.job_state(self.job.state, is_ending=self.job.is_ending)

    @property
    def is_over(self) -> bool:
        return self.job.finished_at is not None

    @property
    def bar(self) -> list[Part]:
        """Widths in proportion, but none too small to be seen: the largest part gives what that takes."""
        shown = [part for part in self.parts if part.count]
        if not shown:
            return []
        widths = [max(LEAST_WIDTH, 100 * part.count / self.job.total) for part in shown]
        widths[widths.index(max(widths))] -= sum(widths) - 100
        begins = accumulate(widths, initial=0.0)
        return [
            replace(part, x=round(x, 3), width=round(width, 3))
            for part, x, width in zip(shown, begins, widths, strict=False)
        ]

    @property
    def in_words(self) -> str:
        """The bar for those who do not see it."""
        return ", ".join(f"{part.count:,} {part.label}" for part in self.parts) or "no rows yet"

    @property
    def stands_still(self) -> bool:
        """Whether something is left to do and no row has ended lately."""
        if self.job.state is not JobState.RUNNING and not self.job.is_ending:
            return False
        ended = [point.at + timedelta(seconds=point.over_s) for point in self.pace_points[-1:]]
        return all(self.now - at > STANDS_STILL_AFTER for at in ended)

    @property
    def summary(self) -> str:
        done, pause = self.job.done_in_words, self.job.pause_message
        return f"{done} · {pause}" if pause else done

    @property
    def not_well(self) -> list[Part]:
        """What is over and still wants somebody: for the list, where there is no room for all parts."""
        return [part for part in self.parts if part.name in NOT_WELL and part.count]

    @property
    def is_loading(self) -> bool:
        return self.job.state is JobState.LOADING

    @property
    def percent_done(self) -> str:
        """Never 100 % while a row is left."""
        final, total = self.job.final, self.job.total
        if not total:
            return "0 %"
        percent = 100 * final / total
        return f"{percent:.0f} %" if final == total else f"{min(99.9, percent):.1f} %"

    @property
    def rate(self) -> str:
        per_second = self.going.rows_per_second
        return f"{rate(per_second)}/s" if per_second else "–"

    @property
    def rate_note(self) -> str:
        if self.job.finished_at is not None:
            return "rows, on average"
        return "rows, in the last half minute" if self.going.rows_per_second else "no row ended lately"

    @property
    def time_left(self) -> str | None:
        """None where it is not known, or would mean nothing yet."""
        seconds_left = self.going.seconds_left
        return None if seconds_left is None else f"about {in_words(seconds_left)}"

    @property
    def time_left_note(self) -> str:
        return f"{self.job.left - self.job.held:,} to go"

    @property
    def took(self) -> str:
        """The time in which it was running."""
        return in_words(self.job.worked_for_s(self.now))

    @property
    def advice(self) -> Notice | None:
        job = self.job
        if job.pause_message and job.pause_advice:
            return Notice("warn", job.pause_advice, heading=sentence(job.pause_message))
        if job.state is JobState.LOADING:
            return Notice("", "It begins when all of them are.", heading="The rows are being written.")
        if job.is_ending:
            return Notice("", words.cancelling(job.left), heading="Cancelled.")
        return _how_it_ended(job) if job.state is JobState.COMPLETED else None

    @property
    def said(self) -> str:
        """For a screen reader: changes at each quarter and with the state, not with each row."""
        job = self.job
        quarter = 25 * (4 * job.final // job.total) if job.total else 0
        return f"The job is {self.badge[1]}, {quarter} % of its rows are done."

    @property
    def can_retry(self) -> bool:
        return bool(self.job.failed or self.job.cancelled) and self.job.can_be_retried

    @property
    def deeds(self) -> list[tuple[str, str, str]]:
        """What may be asked of it now: the address, the label, the kind of button."""
        match self.job.state:
            case JobState.RUNNING:
                return [("pause", "Pause", ""), ("cancel", "Cancel", "danger")]
            case JobState.PAUSED:
                return [("resume", "Resume", "primary"), ("cancel", "Cancel", "danger")]
        if self.can_retry and self.job.state is JobState.CANCELLED:
            return [("retry", "Retry", "")]
        return []

    @property
    def came_to_be_done(self) -> list[tuple[str, int, str, str]]:
        """How rows did: the outcome, how many, in words, and which fields were changed of how many of them."""
        return [
            (each.outcome, each.count, words.outcome_name(each.outcome), _changed(each))
            for each in self.outcomes
        ]

    @property
    def other_failures(self) -> int:
        """Failed rows of no reason that is shown."""
        return max(0, self.job.failed - sum(group.count for group in self.failures))

    @property
    def pace(self) -> dict[str, object]:
        """Rows a second, for the chart: every moment from the first to the last, also those in which nothing ended; or only those
        that are not known to the page, and the last one of these, which may have grown.
        """
        points, known = self.pace_points, self.pace_known
        if not points:
            return {"over_s": 0, "is_whole": True, "at": [], "installed": [], "failed": [], "words": ""}
        over_s, until = points[0].over_s, self.job.finished_at or self.now
        known_points = {int(point.at.timestamp()): point for point in points}
        first = int(points[0].at.timestamp())
        last = max(int(points[-1].at.timestamp()), int(until.timestamp()) // over_s * over_s - over_s)
        # A job that waits for days is cut to what a chart can show.
        moments = list(range(first, last + 1, over_s))[-600:]
        is_whole = known is None or known.over_s != over_s or known.at not in moments
        shown = moments if known is None or is_whole else moments[moments.index(known.at) :]
        found = [known_points.get(at) for at in shown]
        installed = [round(point.installed / over_s, 2) if point else 0 for point in found]
        failed = [round(point.failed / over_s, 2) if point else 0 for point in found]
        most = round(max(point.installed for point in points) / over_s, 2)
        text = f"Rows a second, one point for every {in_words(over_s)}; {most:g} done a second at most."
        return {
            "over_s": over_s,
            "is_whole": is_whole,
            "at": shown,
            "installed": installed,
            "failed": failed,
            "words": text,
        }


def _parts(job: JobStatus, in_hand: InHand) -> list[Part]:
    in_hand_now = min(in_hand.fresh + in_hand.tried, job.left)
    retrying = max(0, min(job.retrying - in_hand.tried, job.left - in_hand_now))
    held = min(job.held, job.left - in_hand_now - retrying)
    all_parts = (
        Part("installed", words.ITEM_STATES["installed"], job.installed - job.to_authorise),
        Part("to-authorise", f"{words.DONE}, {words.ITEM_STATES['to-authorise']}", job.to_authorise),
        Part("failed", words.ITEM_STATES["failed"], job.failed),
        Part("cancelled", words.ITEM_STATES["cancelled"], job.cancelled),
        Part("in-hand", words.ITEM_STATES["in-hand"], in_hand_now),
        Part("retrying", words.ITEM_STATES["retrying"], retrying),
        Part("waiting", words.ITEM_STATES["waiting"], job.left - in_hand_now - retrying - held),
        Part("held", words.ITEM_STATES["held"], held),
    )
    always = {"failed"} if job.to_authorise else {"installed", "failed"}
    return [part for part in all_parts if part.count or part.name in always]


def _changed(outcome: OutcomeCount) -> str:
    """`api_key (310 rows), property.Region (12 rows)`; the most frequent first."""
    ranked = sorted(outcome.changed.items(), key=lambda each: (-each[1], each[0]))
    return listed([f"{name} ({counted(count, 'row')})" for name, count in ranked[:SHOWN_FIELDS]], len(ranked))


def _how_it_ended(job: JobStatus) -> Notice:
    if job.failed:
        text = "The reasons stand below, each with what to do."
        return Notice("bad", text, heading=f"Ended: {job.failed:,} of {counted(job.total, 'row')} failed.")
    if job.cancelled:
        return Notice("", "", heading=f"Ended: {job.cancelled:,} of {counted(job.total, 'row')} cancelled.")
    if job.refused:
        text = "They are in the result file, each with what is wrong."
        return Notice("warn", text, heading=f"Ended: {counted(job.refused, 'row')} of the file left out.")
    if job.to_authorise:
        who = "its customer" if job.to_authorise == 1 else "their customers"
        count = "all" if 1 < job.to_authorise == job.total else f"{job.to_authorise:,}"
        heading = f"Every row is done; {count} still to be authorised by {who}."
        return Notice("", "Authorisations has a link for each of them.", heading=heading)
    return Notice("good", "", heading="Every row is done.")
