"""The stand-in for Cyclr that every contender calls: one bare asyncio protocol, so that it is never what is measured.

`python -m tests.benchmarks.server` prints its port. It checks nothing; each answer comes after the latency. Paths of
its own: `/reset?latency_s=0.05&accounts=1000` forgets all calls, `/count` tells how many installs came,
`/ledger` gives the times of all calls in seconds, those of the bench itself left out.
"""

import asyncio
import json
import re
import time
from array import array
from urllib.parse import parse_qs, urlsplit

CONNECTOR = {
    "Id": 77,
    "Name": "Northwind Mail",
    "Version": "3.0",
    "Status": "Released",
    "Authentication": [{"Id": "m1", "AuthName": "API key", "AuthType": "ApiKey", "OAuth2Type": None}],
    "Parameters": [
        {
            "Id": 1,
            "Name": "Signing secret",
            "TargetName": "WebhookSecret",
            "IsAccountConnectorProperty": True,
            "IsSensitive": True,
            "IsOptional": True,
            "Values": None,
        }
    ],
}
TOKEN = b'{"access_token":"bench","token_type":"bearer","expires_in":1209600}'
PAGE = 1_000
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def account_id(number: int) -> str:
    return f"acct-{number:07d}"


class State:
    """What the calls have left behind."""

    def __init__(self) -> None:
        self.latency_s = 0.05
        self.accounts = 0
        self.installs = 0
        self.times = array("d")

    def reset(self, query: dict[str, list[str]]) -> bytes:
        self.__init__()  # type: ignore[misc]
        self.latency_s = float(query.get("latency_s", ["0.05"])[0])
        self.accounts = int(query.get("accounts", ["0"])[0])
        return b"{}"


class Conversation(asyncio.Protocol):
    """One connection: a request at a time, as HTTP/1.1 without pipelining."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._received[:head_end]
        length = LENGTH.search(head)
        whole = head_end + 4 + (int(length[1]) if length else 0)
        if len(self._received) >= whole:
            body, self._received = self._received[head_end + 4 : whole], self._received[whole:]
            self._answer(head.split(b" ", 2)[1], body)

    def _answer(self, target: bytes, body: bytes) -> None:
        state = self._state
        if target.endswith(b"/install"):
            state.times.append(time.monotonic())
            state.installs += 1
            asked = json.loads(body)
            # As Cyclr does, it shows what it was sent: a caller may look again for what an answer leaves out.
            shown = [
                {**each, "Id": number, "AccountConnectorId": state.installs}
                for number, each in enumerate(asked.get("Properties", []), start=1)
            ]
            answer = json.dumps(
                {
                    "Id": state.installs,
                    "Name": asked["Name"],
                    "Authenticated": True,
                    "Connector": {"Id": 77, "Name": "Northwind Mail"},
                    "Properties": shown,
                }
            ).encode()
            self._loop.call_later(state.latency_s, self._send, answer)
            return
        parts = urlsplit(target.decode())
        query = parse_qs(parts.query)
        if parts.path == "/reset":
            self._send(state.reset(query))
        elif parts.path == "/count":
            self._send(b"%d" % state.installs)
        elif parts.path == "/ledger":
            self._send(json.dumps(list(state.times)).encode())
        else:
            state.times.append(time.monotonic())
            self._loop.call_later(state.latency_s, self._send, *self._other(parts.path, query))

    def _other(self, path: str, query: dict[str, list[str]]) -> tuple[bytes, bytes]:
        if path == "/oauth/token":
            return TOKEN, b""
        if path == "/v1.0/accounts":
            page, size = int(query["page"][0]), int(query["pageSize"][0])
            first, last = (page - 1) * size, min(page * size, self._state.accounts)
            ids = [{"Id": account_id(number)} for number in range(first, last)]
            pages = -(-self._state.accounts // size)
            return json.dumps(ids).encode(), b"Total-Pages: %d\r\n" % pages
        if path.startswith("/v1.0/accounts/"):
            return json.dumps({"Id": path.rpartition("/")[2]}).encode(), b""
        if path == "/v1.0/account/connectors":
            return b"[]", b"Total-Pages: 1\r\n"
        if path == "/v1.0/connectors":
            return json.dumps([CONNECTOR]).encode(), b"Total-Pages: 1\r\n"
        return json.dumps([CONNECTOR]).encode(), b""

    def _send(self, body: bytes, headers: bytes = b"") -> None:
        if not self._transport.is_closing():
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
            self._transport.write(head + headers + b"\r\n" + body)


async def serve() -> None:
    state = State()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Conversation(state), "127.0.0.1", 0, backlog=1_000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
