"""The accounts that Cyclr has, as it lists them."""

from dataclasses import asdict, dataclass
from typing import Any

from worker.domain.targets import fold


@dataclass(frozen=True, slots=True)
class ListedAccount:
    """An account as Cyclr's lists show it. `parent_id`: of a sub-account, the account that it is a part of.

    A sub-account can use what is installed in its parent, so a row for it makes a connector that nobody needs.
    """

    id: str
    name: str
    parent_id: str | None = None

    def has(self, query: str) -> bool:
        """Whether the id or the name holds the text, compared as Cyclr compares Names."""
        wanted = fold(query)
        return wanted in fold(self.id) or wanted in fold(self.name)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
