"""What an API key allows."""

from enum import StrEnum


class Scope(StrEnum):
    """`read`: see jobs and their results. `write`: hand in and steer jobs as well."""

    READ = "read"
    WRITE = "write"

    @property
    def can_write(self) -> bool:
        return self is Scope.WRITE
