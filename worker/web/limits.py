"""The largest body that an address reads into memory. What is larger is refused before anybody is asked for a key."""

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.web.http_errors import HttpError, answer_error

MOST_BODY_BYTES = 1_000_000
STREAMED = (
    "/v1/jobs",
    "/jobs/new",
)  # these take files: as a stream, with limits of their own, from those who may


class BodyLimit:
    """ASGI middleware. A body that says how long it is is refused unread; another one when it has become too long; and one that
    says it in two ways in any case."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Request(scope).headers
        if "transfer-encoding" in headers and ("content-length" in headers or scope["http_version"] == "1.0"):
            # A proxy may believe the other one, and take the end of this body for somebody's next request.
            answer = await answer_error(Request(scope, receive), _two_lengths())
            await answer(scope, receive, send)
            return
        if scope["path"] in STREAMED:
            await self._app(scope, receive, send)
            return
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > MOST_BODY_BYTES:
            answer = await answer_error(Request(scope, receive), _too_large())
            await answer(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MOST_BODY_BYTES:
                # Of this kind, since FastAPI makes a 400 of any other that it meets while it reads a body.
                raise HTTPException(413, _too_large().detail, headers=_too_large().headers)
            return message

        await self._app(scope, receive_limited, send)


def _two_lengths() -> HttpError:
    detail = "Expected one way to tell where the body ends: Content-Length, or Transfer-Encoding in HTTP/1.1."
    return HttpError(400, "bad_request", detail, headers={"Connection": "close"})


def _too_large() -> HttpError:
    detail = f"Expected at most {MOST_BODY_BYTES:,} bytes, got more."
    return HttpError(413, "too_large", detail, headers={"Connection": "close"})
