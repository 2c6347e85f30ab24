"""Templates become answers."""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from worker.domain.wording import counted
from worker.web.files import address_of
from worker.web.guards import FORM_TOKEN, form_token

INDENTATION = re.compile(r"\n\s+")  # a fifth of what is sent; no template has a text that keeps its spaces
TEMPLATES = Path(__file__).parents[1] / "templates"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals["static"] = address_of
    environment.filters |= {"number": "{:,}".format, "counted": counted, "moment": moment, "tag": _tag}
    return environment


def _tag(parts: list[str]) -> str:
    """The same for the same texts: whoever has the one with this tag need not be sent it again."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]


def moment(at: datetime) -> str:
    """`2026-11-22 01:20 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def with_names(sentence: str, *names: str) -> Markup:
    """A sentence of ours, with what others have named in place of each `{}`: no name can turn around what stands beside it."""
    return escape(sentence).format(*(Markup("<bdi>{}</bdi>").format(name) for name in names))


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """The page. `section`: the entry of the navigation that it belongs to."""
    caller = getattr(request.state, "caller", None)
    token = form_token(request) if caller else ""

    def token_field() -> Markup:
        return Markup('<input type="hidden" name="{}" value="{}">').format(FORM_TOKEN, token)

    known: dict[str, Any] = {
        "section": "",
        "known": frozenset(),
        "caller": caller,
        "api_host": request.app.state.place.settings.api_host if caller else "",
        "token": token_field,
    }
    html = INDENTATION.sub("\n", _environment().get_template(template).render(known | values))
    return HTMLResponse(html, status_code=status, headers=dict(headers or {}))
