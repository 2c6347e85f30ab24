"""How much one process takes in hand: as many items as will really begin, and slots for as many calls. Pure arithmetic."""

from collections import deque

PACE_OVER_S = 1.0  # what a pace is measured over
# How far ahead slots are taken: what is taken cannot be given to another job, and hears of a pause only at its claim.
AHEAD_S = 0.5
# So many items as end within this time are claimed before there is room for their calls: a claim takes that long on a
# busy machine.
ROOM_AHEAD_S = 0.1
FIRST = 25  # items, before anything is known of the pace
# An item that waits for so much longer than a claim takes was claimed too early.
PATIENT_S = 0.5
# Slots are taken for so long ahead where some were missed lately: less than one may be late.
CAREFUL_S = 0.2


class Window:
    """The items in hand whose first call has not begun are the window; it follows the pace at which first calls begin.

    It doubles where it ran dry, and falls to what begins within a claim's time where items wait for longer than that.
    All moments are seconds of one monotonic clock.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._size = FIRST
        self._claim_s = 0.0
        self._begun: deque[float] = deque()
        self._ended: deque[float] = deque()
        self._missed: deque[float] = deque()

    def note_begun(self, at: float) -> None:
        """The first call of an item has begun."""
        self._begun.append(at)

    def note_ended(self, at: float) -> None:
        """An item's attempt is over: there is room for another."""
        self._ended.append(at)

    def note_missed(self, at: float) -> None:
        """A slot went by unused."""
        self._missed.append(at)

    def note_claim(self, took_s: float) -> None:
        """How long the last claim took."""
        self._claim_s = took_s

    def items(self, now: float, *, in_hand: int, waiting: int, waits_s: float) -> int:
        """How many items to claim now, where the limiter has slots for them.

        `waiting`: those of the items in hand whose first call has not begun; the oldest of them has waited for `waits_s`.
        """
        lead_s = AHEAD_S + self._claim_s
        begun = _within(self._begun, now)
        if waits_s > lead_s + PATIENT_S:
            # Where none begins, what the pace is cannot be told.
            self._size = max(1, min(self._size, round(begun * lead_s))) if begun else self._size
        elif not waiting and begun:
            self._size = min(2 * self._size, 2 * self._concurrency)
        ahead = round(_within(self._ended, now) * max(ROOM_AHEAD_S, min(self._claim_s, AHEAD_S)))
        room = self._concurrency + ahead - in_hand
        if waiting > self._size // 2 or room <= ahead // 2:
            return 0  # a claim costs about the same for one item as for many
        return min(room, self._size - waiting)

    def slots(self, now: float, calls: int) -> int:
        """For how many of so many calls to take slots at once: what is not used in time is lost to everybody."""
        if not _within(self._missed, now):
            return calls
        return min(calls, max(1, round(_within(self._begun, now) * CAREFUL_S)))


def _within(moments: deque[float], now: float) -> int:
    """How many of these were within PACE_OVER_S before `now`; forgets the others."""
    while moments and now - moments[0] > PACE_OVER_S:
        moments.popleft()
    return len(moments)
