"""A web server in this process: the real application on a loopback port."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from worker.bootstrap.installer import make_limiter
from worker.bootstrap.place import Place
from worker.clock import Clock
from worker.cyclr.limiter_rule import Rule
from worker.settings import CyclrSettings
from worker.store.session import Engine
from worker.web.app import create_app, furnish
from worker.web.serving import WebServer

# FastAPI works out each route of an application when it is asked for it first, which takes more CPU than most tests do:
# so one that nobody serves any more is given the next place.
_idle: list[FastAPI] = []


@contextmanager
def serving(place: Place) -> Iterator[tuple[FastAPI, WebServer]]:
    """Serves this place while the context lasts."""
    if _idle:
        app = _idle.pop()
        furnish(app, place)
    else:
        app = create_app(place)
    with WebServer(app, "127.0.0.1", 0) as server:
        yield app, server
    if not server.is_alive:
        _idle.append(app)


def declare_idle(settings: CyclrSettings, engine: Engine, broker: str | Rule) -> None:
    """No process has a call reserved: a new limiter waits some seconds for those of others."""

    async def declare() -> None:
        limiter = make_limiter(settings, engine, clock=Clock(), broker=broker)
        await limiter.declare_idle()
        await limiter.aclose()

    asyncio.run(declare())
