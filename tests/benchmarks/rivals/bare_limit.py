"""The bare limit: one asyncio loop on the product's transport, 100 calls in flight, no queue and no database.

With `looks` as a third argument it looks into each account before the install: two calls a row.
"""

import asyncio
import sys
from collections.abc import Iterator

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport


async def install(http: httpx.AsyncClient, numbers: Iterator[int], has_looks: bool) -> None:
    for number in numbers:
        headers = {"Authorization": "Bearer bench", "X-Cyclr-Account": f"acct-{number:07d}"}
        if has_looks:
            there = await http.get("/v1.0/account/connectors?page=1&pageSize=100", headers=headers)
            there.raise_for_status()
            assert not [each for each in there.json() if each["Name"] == "Northwind Mail"]
        body = {"Name": "Northwind Mail", "AuthValue": f"key-{number}", "Properties": []}
        answer = await http.post("/v1.0/connectors/77/install", headers=headers, json=body)
        answer.raise_for_status()
        assert answer.json()["Id"]


async def main(url: str, count: int, has_looks: bool) -> None:
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100))
    transport = AiohttpTransport(client=session)
    async with httpx.AsyncClient(transport=transport, base_url=url, timeout=30) as http:
        numbers = iter(range(count))
        await asyncio.gather(*(install(http, numbers, has_looks) for _ in range(100)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), has_looks="looks" in sys.argv[3:]))
