"""What a person may ask of a run beside the file."""

import hashlib
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`first`: so many rows, then pause. `as_written`: columns whose values are taken as they stand. `is_list`: the file was
    made here of a list of values.

    None of these is part of a job's identity: once it is loaded, rows go on in any number, and nothing is judged any more.
    """

    connector: str | None = None
    skip_invalid: bool = False
    look_first: bool = False
    skip_if_present: bool = False
    first: int | None = None
    as_written: frozenset[str] = frozenset()
    is_list: bool = False

    @property
    def identity(self) -> "RunOptions":
        """Those that make the job what it is."""
        return replace(self, first=None, as_written=frozenset(), is_list=False)

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
