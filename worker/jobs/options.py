"""What a person may ask of a run beside the file."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`first`: so many rows, then pause; not part of a job's identity."""

    connector: str | None = None
    skip_invalid: bool = False
    look_first: bool = False
    skip_if_present: bool = False
    first: int | None = None

    @property
    def looks_first(self) -> bool:
        return self.look_first or self.skip_if_present


def fingerprint(content_hash: str, options: RunOptions, instance_id: str) -> str:
    """The identity of a job: `run` goes on with an unfinished one of the same content, options and instance."""
    parts = (
        content_hash,
        options.connector or "",
        str(options.skip_invalid),
        str(options.look_first),
        str(options.skip_if_present),
        instance_id,
    )
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
