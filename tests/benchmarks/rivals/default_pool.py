"""The bare limit with httpx as it comes: one shared client, 100 connections in its own pool."""

import asyncio
import sys
from collections.abc import Iterator

import httpx


async def install(http: httpx.AsyncClient, numbers: Iterator[int]) -> None:
    for number in numbers:
        headers = {"Authorization": "Bearer bench", "X-Cyclr-Account": f"acct-{number:07d}"}
        body = {"Name": "Northwind Mail", "AuthValue": f"key-{number}", "Properties": []}
        answer = await http.post("/v1.0/connectors/77/install", headers=headers, json=body)
        answer.raise_for_status()
        assert answer.json()["Id"]


async def main(url: str, count: int) -> None:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(limits=limits, base_url=url, timeout=30) as http:
        numbers = iter(range(count))
        await asyncio.gather(*(install(http, numbers) for _ in range(100)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
