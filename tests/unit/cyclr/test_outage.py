from worker.cyclr.slots import Streak


def test_ten_failures_in_a_row_over_three_accounts_are_an_outage() -> None:
    streak = Streak()
    assert [streak.failure(f"account-{n % 3}") for n in range(10)] == [False] * 9 + [True]


def test_one_or_two_broken_accounts_are_never_an_outage() -> None:
    streak = Streak()
    assert not any(streak.failure(f"account-{n % 2}") for n in range(100))


def test_a_third_account_completes_an_outage_that_had_failures_enough() -> None:
    streak = Streak()
    for n in range(20):
        streak.failure(f"account-{n % 2}")
    assert streak.failure("account-3")


def test_a_success_in_between_starts_the_count_anew() -> None:
    streak = Streak()
    for n in range(9):
        streak.failure(f"account-{n}")
    streak.success()
    assert not any(streak.failure(f"account-{n}") for n in range(9))


def test_counts_anew_after_an_outage() -> None:
    streak = Streak()
    for n in range(10):
        streak.failure(f"account-{n}")
    assert not streak.failure("account-1")
