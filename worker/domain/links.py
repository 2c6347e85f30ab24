"""Authorisation links: what one says, and how it stands. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Link:
    """What the token of a link says: which item, of which batch of its job's links, until when.

    `batch`: another one as soon as all links of the job are withdrawn. `generation`: counts how often this item's
    link was withdrawn. `expires_at`: whole seconds.
    """

    batch: str
    item_id: int
    generation: int
    expires_at: datetime

    def to_text(self) -> str:
        return f"{self.batch}.{self.item_id}.{self.generation}.{int(self.expires_at.timestamp())}"

    @classmethod
    def from_text(cls, text: str) -> "Link":
        """Raises: ValueError."""
        batch, item_id, generation, expires_at = text.split(".")
        return cls(batch, int(item_id), int(generation), datetime.fromtimestamp(int(expires_at), UTC))


class LinkState(StrEnum):
    """How a link stands when somebody comes with it."""

    UNKNOWN = "unknown"  # not of ours, cut by a mail program, or its job is deleted
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    AUTHORISED = "authorised"  # done: the connector holds a credential
    OPEN = "open"  # waits for the customer
