"""What can keep the embedded mode from running.

EmbeddedModeError
├── HomeUnusable        the home folder cannot be used as it is: choose another or mend it
├── LeftoverAlive       a process of an earlier command cannot be ended: a person has to
└── ServiceNotStarted   Valkey or the workers did not start: its log says why
"""

from pathlib import Path

from worker.domain.failures import ToldFailure


class EmbeddedModeError(ToldFailure):
    """The embedded mode cannot run."""


class HomeUnusable(EmbeddedModeError):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"home folder {path}: {reason}")
        self.path = path
        self.reason = reason


class LeftoverAlive(EmbeddedModeError):
    def __init__(self, name: str, pid: int) -> None:
        super().__init__(
            f"{name} (process {pid}) was left behind by an earlier command and does not end; end it, then try again"
        )
        self.name = name
        self.pid = pid


class ServiceNotStarted(EmbeddedModeError):
    def __init__(self, name: str, reason: str, log_path: Path) -> None:
        super().__init__(f"{name} did not start: {reason}; its log is {log_path}")
        self.name = name
        self.reason = reason
        self.log_path = log_path
