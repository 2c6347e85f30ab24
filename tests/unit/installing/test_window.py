"""How much a process takes in hand, on a clock that the test holds."""

from worker.installing.run import FIRST_ITEMS, Window


def begin(window: Window, *moments: float) -> None:
    for moment in moments:
        window.note_begun(moment)


def test_the_first_claim_is_a_small_one_whatever_there_is_room_for() -> None:
    assert Window(250).items(0.0, in_hand=0, waiting=0, waits_s=0.0) == FIRST_ITEMS == 25
    assert Window(8).items(0.0, in_hand=0, waiting=0, waits_s=0.0) == 8


def test_it_doubles_where_all_that_was_claimed_has_begun() -> None:
    window = Window(250)
    begin(window, *[0.01] * 25)
    assert window.items(0.02, in_hand=25, waiting=0, waits_s=0.0) == 50
    assert window.items(0.03, in_hand=75, waiting=0, waits_s=0.0) == 100


def test_it_never_grows_beyond_twice_the_calls_at_a_time() -> None:
    window = Window(10)
    begin(window, 0.0)
    for _ in range(20):
        window.items(0.1, in_hand=0, waiting=0, waits_s=0.0)
    assert window.items(0.1, in_hand=0, waiting=0, waits_s=0.0) == 10


def test_it_falls_to_what_begins_within_a_claims_time_where_items_wait() -> None:
    window = Window(250)
    window.note_claim(0.5)
    begin(window, *[9.5] * 10)  # within the last second
    # 10 a second, for the half second that slots are taken ahead and the half second of a claim.
    assert window.items(10.0, in_hand=20, waiting=20, waits_s=1.6) == 0
    assert window.items(10.0, in_hand=4, waiting=4, waits_s=1.6) == 6


def test_nothing_is_claimed_while_half_of_the_window_waits() -> None:
    window = Window(250)
    assert window.items(0.0, in_hand=13, waiting=13, waits_s=0.1) == 0
    assert window.items(0.0, in_hand=12, waiting=12, waits_s=0.1) == 13


def test_items_are_claimed_ahead_of_their_room_by_what_ends_within_a_claims_time() -> None:
    window = Window(10)
    for _ in range(100):
        window.note_ended(9.9)
    assert window.items(10.0, in_hand=10, waiting=0, waits_s=0.0) == 10  # a tenth of a second's
    window.note_claim(0.2)
    assert window.items(10.0, in_hand=10, waiting=0, waits_s=0.0) == 20


def test_what_happened_long_ago_counts_for_nothing() -> None:
    window = Window(10)
    for _ in range(100):
        window.note_ended(1.0)
    assert window.items(10.0, in_hand=10, waiting=0, waits_s=0.0) == 0


def test_slots_are_taken_for_all_until_one_goes_by_and_then_for_what_really_begins() -> None:
    window = Window(250)
    assert window.slots(0.0, 80) == 80
    begin(window, *[5.0] * 50)
    window.note_missed(5.1)
    assert window.slots(5.2, 80) == 10  # 50 a second, 0.2 s ahead
    assert window.slots(5.2, 3) == 3
    assert window.slots(6.2, 80) == 80


def test_there_is_always_a_slot_to_be_taken() -> None:
    window = Window(250)
    window.note_missed(0.0)
    assert window.slots(0.1, 80) == 1
