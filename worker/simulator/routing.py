"""Which function answers a path. Trailing slashes and another case of a path work. Source: reference section 1 [live-test]."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from worker.simulator.api import NO_SUCH_PATH, ROUTES, Route


class Way(NamedTuple):
    """A route, and the parts of the path by name, decoded."""

    route: Route
    parts: Mapping[str, str]


class Router:
    """Finds the first route that fits, in the order of `ROUTES`."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, int], list[tuple[Route, Sequence[str]]]] = {}
        for route in ROUTES:
            pattern = _segments(route.path)
            self._routes.setdefault((route.method, len(pattern)), []).append((route, pattern))

    def find(self, method: str, raw_path: str) -> Way:
        """`raw_path`: as it was sent, so that an encoded slash is no other part."""
        segments = _segments(raw_path)
        for route, pattern in self._routes.get((method, len(segments)), ()):
            if all(_fits(*pair) for pair in zip(pattern, segments, strict=True)):
                named = zip(pattern, segments, strict=True)
                return Way(route, {part[1:-1]: unquote(text) for part, text in named if _is_variable(part)})
        return Way(NO_SUCH_PATH, {})


def _segments(path: str) -> list[str]:
    return path.rstrip("/").split("/")


def _is_variable(part: str) -> bool:
    return part.startswith("{")


def _fits(part: str, text: str) -> bool:
    return bool(text) if _is_variable(part) else part == text.lower()
