"""What intake asks of our own past: whether a target was tried before, and the secrets still kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from worker.domain.rows import StoredRow

StoredAt = tuple[str, int]  # the job id and the row number of an item


@dataclass(frozen=True, slots=True)
class KnownTarget:
    """A target that an item had before. `live`: queued or running now; `installed`: that is how it ended;
    `tried`: ended otherwise, or however it ended in a job that is deleted. `job_id`, `row_number`: the item; empty and 0 then.
    """

    state: Literal["live", "installed", "tried"]
    job_id: str
    row_number: int


class Memory(Protocol):
    """The database, as far as intake needs it. Asked for about 1,000 rows at a time."""

    def targets(self, keys: Sequence[str]) -> Mapping[str, KnownTarget]:
        """Target key -> what is known of it; a key that is not known is left out."""

    def stored_rows(self, rows: Sequence[StoredAt]) -> Mapping[StoredAt, StoredRow | None]:
        """The items; None for a row that was refused at intake, of which nothing is stored, but if it referred to an item
        itself: that item without its secrets then. One that is not known is left out."""

    def namesakes(self, targets: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], int]:
        """(job id, target key) -> the row of that job which has this target; left out where none has."""
