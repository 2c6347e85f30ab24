"""Cyclr's catalogue."""

from fastapi import APIRouter

from worker.web.api.models import Connectors, to_connector
from worker.web.api.parameters import Text
from worker.web.catalogue import GivenCatalogue
from worker.web.guards import Reader
from worker.web.http_errors import error_answers

router = APIRouter(tags=["connectors"])


@router.get(
    "/v1/connectors",
    operation_id="listConnectors",
    summary="List Cyclr's catalogue",
    responses=error_answers(409),
)
async def list_connectors(caller: Reader, catalogue: GivenCatalogue, query: Text = None) -> Connectors:
    """Names, versions, methods and account properties; it may be a minute old. `query`: part of a name."""
    wanted = (query or "").strip().casefold()
    found = await catalogue.read()
    return Connectors(connectors=[to_connector(each) for each in found if wanted in each.name.casefold()])
