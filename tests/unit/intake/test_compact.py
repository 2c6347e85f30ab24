from worker.intake.findings import Accounts, FirstRows, SurveyedAccount


def test_names_the_first_row_of_each_key():
    rows = FirstRows()
    assert rows.add("a", 2) is None
    assert rows.add("b", 3) is None
    assert rows.add("a", 9) == 2
    assert (rows.find("b"), rows.find("c"), len(rows)) == (3, None, 2)


def test_forgets_nothing_while_it_grows():
    rows = FirstRows()
    assert all(rows.add(f"k{n}", n) is None for n in range(20_000))
    assert all(rows.find(f"k{n}") == n for n in range(20_000))


def test_accounts_keep_their_order_and_text():
    accounts = Accounts()
    accounts.add("zoë", 2, has_columns=False)
    accounts.add("acme", 3, has_columns=False)
    accounts.add("zoë", 4, has_columns=True)
    assert len(accounts) == 2
    assert list(accounts) == [SurveyedAccount("zoë", 2, True), SurveyedAccount("acme", 3, False)]
