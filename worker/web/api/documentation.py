"""What the API is: its OpenAPI document, and a page to read it and to try it."""

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel

from worker.web.api.submitting import NewJobForm, NewJobItems
from worker.web.files import address_of
from worker.web.http_errors import ProblemDetails
from worker.web.middleware import POLICY

router = APIRouter(include_in_schema=False)
REF = "#/components/schemas/{model}"
NAMED_ONLY: tuple[type[BaseModel], ...] = (
    ProblemDetails,
    NewJobItems,
    NewJobForm,
)  # no route returns or takes these by itself
DESCRIPTION = (
    "Hand in jobs, watch them, steer them, fetch their results. An API key goes into the header"
    " `Authorization: Bearer ...`; `cyclr-bulk api-keys create` makes one. Every error is a problem of RFC 9457."
)
TAGS = [
    {"name": "jobs", "description": "Hand in, watch, steer, results."},
    {"name": "accounts", "description": "What was done in an account, over all jobs."},
    {"name": "connectors", "description": "Cyclr's catalogue."},
    {"name": "authorisations", "description": "Links for customers who authorise a connector themselves."},
    {"name": "health", "description": "For those who run the server."},
]
LICENSE = {"name": "MIT", "identifier": "MIT"}

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API: cyclr-bulk</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{style}">
</head>
<body>
<div id="api"></div>
<script src="{bundle}"></script>
<script src="{script}"></script>
</body>
</html>
"""


@router.get("/docs")
def docs(_request: Request) -> Response:
    """From vendored files. Swagger UI draws its icons from `data:` addresses, which only this page allows."""
    page = PAGE.format(
        style=address_of("vendor/swagger-ui/swagger-ui.css"),
        bundle=address_of("vendor/swagger-ui/swagger-ui-bundle.js"),
        script=address_of("docs.js"),
    )
    return HTMLResponse(page, headers={"Content-Security-Policy": f"{POLICY}; img-src 'self' data:"})


def document(app: FastAPI, *, server_url: str = "/") -> None:
    """Have `app` describe itself, with what its routes only name. `server_url`: where it is reached; `/`: where the
    document came from."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=DESCRIPTION,
                license_info=LICENSE,
                tags=TAGS,
                servers=[{"url": server_url}],
                routes=app.routes,
            )
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            for model in NAMED_ONLY:
                described = model.model_json_schema(ref_template=REF)
                schemas.update(described.pop("$defs", {}))
                schemas[described["title"]] = described
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
