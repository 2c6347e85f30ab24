"""What a job was begun with, as far as that makes the job what it is: one value, in the database too."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any


class IfPresent(StrEnum):
    INSTALL = "install"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class JobOptions:
    """`look_first`: look into each account before its first call. `if_present`: where the connector is there under another Name."""

    skip_invalid: bool = False
    look_first: bool = False
    if_present: IfPresent = IfPresent.INSTALL

    @property
    def looks_first(self) -> bool:
        return self.look_first or self.if_present is IfPresent.SKIP

    def of_job(self) -> "JobOptions":
        """Nothing but these, of a value that holds more."""
        return JobOptions(**{field.name: getattr(self, field.name) for field in fields(JobOptions)})

    def to_json(self) -> dict[str, Any]:
        return asdict(self.of_job())

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "JobOptions":
        """`kept`: what `to_json` gave, in this version or another one, which may know fewer options, or more."""
        return JobOptions(
            skip_invalid=kept.get("skip_invalid", False),
            look_first=kept.get("look_first", False),
            if_present=IfPresent(kept.get("if_present", IfPresent.INSTALL)),
        )
