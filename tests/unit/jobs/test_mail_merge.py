from datetime import UTC, datetime

from worker.jobs.authorising import ROWS_AT_ONCE, iter_mail_merge
from worker.store.desks import Desk, DeskItem

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DESK = Desk("261121-k3x9qd", "b", AT, datetime(2026, 1, 16, 3, 4, 5, tzinfo=UTC), 0, 0, 0, None, None, False)


def item(number: int, *, account_id: str = "acme", name: str = "Acme CRM") -> DeskItem:
    return DeskItem(number, number, account_id, name, "Harbour CRM", 0, None, None, None, None)


def test_the_file_opens_in_the_spreadsheet_of_the_jobs_file():
    text = "".join(iter_mail_merge(DESK, [(item(2), "https://x.example/authorise/t")], delimiter=";"))
    assert text == (
        "\ufeffaccount_id;name;connector;link;expires_at\r\n"
        "acme;Acme CRM;Harbour CRM;https://x.example/authorise/t;2026-01-16T03:04:05Z\r\n"
    )


def test_no_cell_is_run_as_a_formula():
    row = item(2, account_id="@SUM(1)", name="=1+1")
    text = "".join(iter_mail_merge(DESK, [(row, "https://x.example/t")], delimiter=","))
    assert text.splitlines()[1].startswith("'@SUM(1),'=1+1,")


def test_a_long_file_comes_in_pieces_and_whole():
    rows = [(item(number), f"https://x.example/{number}") for number in range(2, 2 * ROWS_AT_ONCE + 3)]
    pieces = list(iter_mail_merge(DESK, rows, delimiter=","))
    assert len(pieces) == 3
    lines = "".join(pieces).splitlines()
    assert len(lines) == 2 * ROWS_AT_ONCE + 2
    assert [line.split(",")[3] for line in lines[1:]] == [url for _, url in rows]
