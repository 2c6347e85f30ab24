"""Smaller answers for whoever takes gzip. Streams are compressed piece by piece, and events as they are."""

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

LEAST_BYTES = 1_000
LEVEL = 5
# Where a customer's link stands beside what an address asks for, its size would tell how much of a guess is right
# (BREACH). The token of a form is another one each time.
WITH_LINKS = "/authoris"


class Compression:
    """ASGI middleware: all but what holds links of customers."""

    def __init__(self, app: ASGIApp) -> None:
        self._plain = app
        self._compressing = GZipMiddleware(app, minimum_size=LEAST_BYTES, compresslevel=LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_plain = scope["type"] != "http" or WITH_LINKS in scope["path"]
        await (self._plain if is_plain else self._compressing)(scope, receive, send)
