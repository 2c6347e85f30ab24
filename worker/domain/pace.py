"""How fast Cyclr is called, as people are told it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """`per_second`: the calls a second that are in force, for all together. `own_per_second`: what this process was set to."""

    per_second: float
    own_per_second: float

    def __str__(self) -> str:
        """`10 calls/s`; where it is another process's limit, in words."""
        return f"{self.per_second:g} {'call' if self.per_second == 1 else 'calls'}/s{self.whose}"

    @property
    def is_own(self) -> bool:
        return self.per_second == self.own_per_second

    @property
    def whose(self) -> str:
        """What is to be said behind the figure; nothing where it is this process's own."""
        if self.is_own:
            return ""
        return f" (set by another process that shares the limit; this one has {self.own_per_second:g})"
