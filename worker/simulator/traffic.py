"""One call's way through: into the ledger, past the faults, to its answer, onto the wire."""

import asyncio
import socket
import struct
from contextlib import suppress

from aiohttp import web

from worker.simulator.admin import Admin
from worker.simulator.api import Route, Router
from worker.simulator.binding import Unbindable
from worker.simulator.exchange import JSON, Asked, Refused, Reply
from worker.simulator.faults import Acts, Fault, Gets, reset, server_error, slow
from worker.simulator.ledger import Call, Ledger, fingerprint
from worker.simulator.naming import named_by
from worker.simulator.world import World

NOSNIFF = {"x-content-type-options": "nosniff"}
LINGER_OFF = struct.pack("ii", 1, 0)  # closing discards what is unsent and sends RST
LEFT_CHECK_S = 0.1

UNHARMED = slow(0.0)
AWAY = {"reset": reset(), "503": server_error(503)}


class Traffic:
    """Handles the calls of one Simulator while it is up."""

    def __init__(self, world: World, ledger: Ledger, admin: Admin) -> None:
        self._world = world
        self._ledger = ledger
        self._admin = admin
        self._closing = asyncio.Event()
        self._late: set[asyncio.Task[None]] = set()
        self._router = Router()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """What aiohttp calls for each request."""
        route, parts = self._router.find(request.method, request.rel_url.raw_path)
        asked = Asked.read(parts, request.query, request.headers, await request.read())
        call = self._received(route, request, asked)
        try:
            return await self._respond(route, request, asked, call)
        finally:
            call.ended_at = self._world.now()

    async def end_silences(self, _: web.Application) -> None:
        self._closing.set()

    async def drop_late_effects(self, _: web.Application) -> None:
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def _respond(
        self, route: Route, request: web.Request, asked: Asked, call: Call
    ) -> web.StreamResponse:
        fault = self._fault(call)
        wait_s = self._world.faults.latency() + fault.latency_s
        if wait_s:
            # Nothing cancels this when the caller leaves: Cyclr goes on working too.
            await asyncio.sleep(wait_s)
        call.fault = None if fault is UNHARMED else fault.kind
        self._world.refresh_tokens(call.account_id)
        self._admin.act("before", call.kind, call.account_id)
        if fault.acts is Acts.LATER:
            self._act_later(route, asked, call, fault.later_s - wait_s)
        usual = self._answer(route, asked, call) if fault.acts is Acts.FIRST else None
        self._admin.act("after", call.kind, call.account_id)
        return await self._reply(request, call, fault, usual)

    def _fault(self, call: Call) -> Fault:
        away = self._world.switches.away
        return AWAY[away] if away else self._world.faults.pick(call.kind, call.account_id) or UNHARMED

    def _answer(self, route: Route, asked: Asked, call: Call) -> Reply:
        try:
            with self._ledger.answering(call):
                return route.answer(self._world, asked)
        except Refused as refusal:
            return refusal.reply()
        except Unbindable:
            return Refused(400, "The request is invalid.").reply()

    async def _reply(
        self, request: web.Request, call: Call, fault: Fault, usual: Reply | None
    ) -> web.StreamResponse:
        if fault.gets is Gets.REPLY:
            return self._written(request, call, fault.reply_at(self._world.now()))
        if fault.gets is Gets.USUAL and usual is not None:
            return self._written(request, call, usual)
        if fault.gets is Gets.CUT and usual is not None:
            _cut(request, usual)
        elif fault.gets is Gets.SILENCE:
            await self._until_caller_leaves(request)
        else:
            _reset(request)
        return web.Response()  # never written: the connection is gone

    def _written(self, request: web.Request, call: Call, reply: Reply) -> web.StreamResponse:
        if request.transport is not None:
            call.status, call.answered_at = reply.status, self._world.now()
            call.retry_after = reply.headers.get("Retry-After")
        return web.Response(
            status=reply.status,
            body=reply.body.encode("utf-8", "replace"),
            content_type=reply.content_type,
            charset="utf-8",
            headers={**NOSNIFF, **reply.headers},
        )

    def _act_later(self, route: Route, asked: Asked, call: Call, wait_s: float) -> None:
        task = asyncio.create_task(self._late_effect(route, asked, call, wait_s))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _late_effect(self, route: Route, asked: Asked, call: Call, wait_s: float) -> None:
        await asyncio.sleep(max(wait_s, 0.0))
        self._answer(route, asked, call)

    async def _until_caller_leaves(self, request: web.Request) -> None:
        while request.transport is not None and not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), LEFT_CHECK_S)
        _reset(request)

    def _received(self, route: Route, request: web.Request, asked: Asked) -> Call:
        call = self._ledger.receive(request.method, request.rel_url.raw_path, route.kind)
        call.account_id = asked.path.get("account_id") or asked.header_account_id or None
        if route.kind == "create_account":
            call.account_id, call.name = asked.find_text("id"), asked.find_text("name")
        if route.kind == "install":
            call.connector, call.name = asked.path["reference"], asked.find_text("name")
        call.named = named_by(route.kind, asked, self._world)
        call.auth_value_sha256 = fingerprint(call.named.get("AuthValue"))
        connector_id = asked.path.get("connector_id", "")
        call.account_connector_id = int(connector_id) if connector_id.isdecimal() else None
        call.page = asked.query.get("page")
        if request.transport is not None:
            call.caller_port = request.transport.get_extra_info("peername")[1]
        return call


def _reset(request: web.Request) -> None:
    if request.transport is None:
        return
    connection: socket.socket = request.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_OFF)
    request.transport.abort()


def _cut(request: web.Request, reply: Reply) -> None:
    if request.transport is None:
        return
    body = reply.body.encode("utf-8", "replace")
    head = f"HTTP/1.1 {reply.status} OK\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
    request.transport.write(head.encode() + body[: len(body) // 2])
    request.transport.close()
