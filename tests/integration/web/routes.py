"""Every route of the application, so that no test can forget a new one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi.routing import iter_route_contexts

GUARDS = ("reader", "reader_of_figures", "writer", "page_reader", "page_writer", "page_uploader")


@dataclass(frozen=True)
class Route:
    """One method at one address. `guards`: what it asks of its caller; a page for writers is one for readers too.
    `parameters`: what it takes in its address, or as a form.
    """

    method: str
    path: str
    guards: frozenset[str]
    parameters: frozenset[str] = frozenset()

    @property
    def guard(self) -> str | None:
        """The strictest; None where everybody may call."""
        for name in ("page_uploader", "page_writer", "writer", "page_reader", "reader"):
            if name in self.guards:
                return name
        return None

    def address(self, **values: Any) -> str:
        # Any account will do: which ones there are is no secret, and what is said of one that no row was for neither.
        address = self.path.replace(":path}", "}")
        for name, value in ({"account_id": "acme"} | values).items():
            address = address.replace(f"{{{name}}}", str(value))
        assert "{" not in address, f"{self.path}: a parameter that this test does not know"
        return address


def routes_of(app: Any) -> list[Route]:
    found = []
    for context in iter_route_contexts(app.routes):
        dependant = getattr(context, "dependant", None)
        guards, parameters = frozenset(_guards(dependant)), frozenset(_parameters(dependant))
        for method in sorted((context.methods or {"GET"}) - {"HEAD"}):
            found.append(Route(method, context.path or "", guards, parameters))
    return found


def _guards(dependant: Any) -> Iterator[str]:
    if dependant is None:
        return
    name = getattr(dependant.call, "__name__", "")
    if name in GUARDS:
        yield "reader" if name == "reader_of_figures" else name
    for each in dependant.dependencies:
        yield from _guards(each)


def _parameters(dependant: Any) -> Iterator[str]:
    if dependant is None:
        return
    for each in (*dependant.query_params, *dependant.body_params):
        yield each.alias
    for each in dependant.dependencies:
        yield from _parameters(each)
