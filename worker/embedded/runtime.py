"""What the owner of a home runs just now, written down for the next command."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from worker.embedded.processes import ProcessMark


@dataclass(frozen=True, slots=True)
class Runtime:
    """`redis_url`: for redis-py. `children`: service name -> its process. `workers_began_at`: when the workers were started,
    or were started again after they had lived for a while; None: they were not."""

    owner: ProcessMark
    socket_folder: Path
    redis_url: str
    children: dict[str, ProcessMark] = field(default_factory=dict)
    workers_began_at: datetime | None = None

    def with_child(self, name: str, mark: ProcessMark) -> "Runtime":
        """The same with this process in the place of the service's earlier one."""
        return replace(self, children={**self.children, name: mark})

    def to_text(self) -> str:
        children = {name: [mark.pid, mark.started] for name, mark in self.children.items()}
        return json.dumps(
            {
                "owner": [self.owner.pid, self.owner.started],
                "children": children,
                "socket_folder": str(self.socket_folder),
                "redis_url": self.redis_url,
                "workers_began_at": self.workers_began_at and self.workers_began_at.isoformat(),
            }
        )


def read_runtime(text: str) -> Runtime | None:
    """The runtime in a text that `to_text` made; None for any other text: a file that nobody can read binds nobody."""
    try:
        found = json.loads(text)
        return Runtime(
            owner=_mark(found["owner"]),
            children={str(name): _mark(pair) for name, pair in found["children"].items()},
            socket_folder=Path(found["socket_folder"]),
            redis_url=str(found["redis_url"]),
            workers_began_at=_moment(found.get("workers_began_at")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _mark(pair: list[object]) -> ProcessMark:
    pid, started = pair
    return ProcessMark(int(str(pid)), str(started))


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
