"""When Cyclr is taken to be down: many failures in a row, over several accounts."""

FAILURES = 10
ACCOUNTS = 3


class Streak:
    """The failures in a row that this process has seen: connect errors, timeouts and 5xx."""

    def __init__(self) -> None:
        self._failures = 0
        self._accounts: set[str] = set()

    def success(self) -> None:
        self._failures = 0
        self._accounts.clear()

    def failure(self, account_id: str) -> bool:
        """Whether that makes an outage; if so, counting starts anew.

        One broken account may fail for ever without being an outage: other accounts must fail with it.
        """
        self._failures += 1
        if len(self._accounts) < ACCOUNTS:
            self._accounts.add(account_id)
        is_outage = self._failures >= FAILURES and len(self._accounts) >= ACCOUNTS
        if is_outage:
            self.success()
        return is_outage
