"""Cyclr's catalogue, as this process last read it."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from worker.bootstrap.place import Place
from worker.clock import Moment
from worker.cyclr.catalogue import CatalogueReader
from worker.domain.connectors import Connector
from worker.web.api.parameters import Text
from worker.web.guards import Reader
from worker.web.http_errors import HttpError, error_answers

KEPT_S = 60.0

router = APIRouter(tags=["connectors"])


class Method(BaseModel):
    id: str
    name: str
    auth_type: str
    oauth2_type: str | None


class Property(BaseModel):
    """An account property: given as `property.<target_name>`."""

    target_name: str
    label: str
    required: bool
    sensitive: bool
    choices: list[str]


class ConnectorOut(BaseModel):
    """A release in Cyclr's catalogue."""

    release_id: int
    name: str
    version: str | None
    status: str
    methods: list[Method]
    account_properties: list[Property]


class Connectors(BaseModel):
    connectors: list[ConnectorOut]


class Catalogue:
    """The catalogue, read from Cyclr once a minute at most: reading it takes calls from the jobs."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = asyncio.Lock()
        self._read: tuple[Moment, list[Connector]] | None = None

    async def read(self) -> list[Connector]:
        """Raises: CyclrError; HttpError (409) where Cyclr has no account yet."""
        async with self._lock:
            if self._read is None or self._place.clock.since(self._read[0]) > KEPT_S:
                read_at = self._place.clock.moment()
                reader, account_id = await self.open()
                self._read = (read_at, [each async for each in reader.iter_connectors(account_id)])
            return self._read[1]

    async def open(self) -> tuple[CatalogueReader, str]:
        """Who reads it from Cyclr now, and an account to read it for. Raises: CyclrError; HttpError (409) where there is none yet."""
        client, limiter = await self._place.cyclr()
        reader = CatalogueReader(client, limiter.one)
        account_id = await reader.first_account()
        if account_id is None:
            detail = "Cyclr shows its catalogue to existing accounts only, and this instance has none yet."
            raise HttpError(409, "no_accounts", detail)
        return reader, account_id


def _catalogue(request: Request) -> Catalogue:
    catalogue: Catalogue = request.app.state.catalogue
    return catalogue


GivenCatalogue = Annotated[Catalogue, Depends(_catalogue)]


@router.get(
    "/v1/connectors",
    operation_id="listConnectors",
    summary="List Cyclr's catalogue",
    responses=error_answers(409),
)
async def list_connectors(caller: Reader, catalogue: GivenCatalogue, query: Text = None) -> Connectors:
    """Names, versions, methods and account properties; it may be a minute old. `query`: part of a name."""
    wanted = (query or "").strip().casefold()
    found = [each for each in await catalogue.read() if wanted in each.name.casefold()]
    return Connectors(connectors=[ConnectorOut.model_validate(each.to_json()) for each in found])
