"""What an item overwrites: kept, sealed, so that it can be put back."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from worker.domain.comparing import shown_value
from worker.domain.connectors import AccountConnector
from worker.store.claiming import ClaimedItem
from worker.store.sealing import SealBroken, Sealer


class Overwritten:
    """`former`: field -> what was shown of it before the item's first call that set it, None for nothing."""

    def __init__(self, item: ClaimedItem, sealer: Sealer) -> None:
        self.former: dict[str, str | None] = {}
        self._sealer = sealer
        self._belongs_to: dict[str, Any] = {"job_id": item.job_id, "row_number": item.row_number}
        if item.notes.undo is not None:
            try:
                self.former = sealer.open_undo(item.notes.undo, **self._belongs_to)["former"]
            except SealBroken:
                self.former = {}  # of what cannot be opened nothing is known

    def note(self, shown: AccountConnector, names: Iterable[str]) -> None:
        """Before these fields are set. The first former values stay."""
        for name in names:
            self.former.setdefault(name, shown_value(shown, name))

    def sealed(self, shown: AccountConnector) -> bytes:
        """With the whole as it was shown last."""
        return self._sealer.seal_undo({"former": self.former, "shown": asdict(shown)}, **self._belongs_to)
