"""arq with a message for each account, 100 at a time, on asyncpg and the product's transport."""

import asyncio
import os
import sys
from typing import Any

import aiohttp
import asyncpg
import httpx
from arq import create_pool
from arq.connections import RedisSettings
from httpx_aiohttp import AiohttpTransport

redis = RedisSettings(unix_socket_path=os.environ["REDIS_URL"].removeprefix("unix://"))


async def install(ctx: dict[str, Any], item_id: int) -> None:
    begun = "UPDATE rival SET state = 'running' WHERE id = $1 AND state = 'queued' RETURNING account, api_key"
    found = await ctx["database"].fetchrow(begun, item_id)
    if found is None:
        return
    headers = {"Authorization": "Bearer bench", "X-Cyclr-Account": found["account"]}
    body = {"Name": "Northwind Mail", "AuthValue": found["api_key"], "Properties": []}
    answer = await ctx["http"].post("/v1.0/connectors/77/install", headers=headers, json=body)
    answer.raise_for_status()
    done = "UPDATE rival SET state = 'installed', remote_id = $1 WHERE id = $2"
    await ctx["database"].execute(done, answer.json()["Id"], item_id)


async def start(ctx: dict[str, Any]) -> None:
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100))
    transport = AiohttpTransport(client=session)
    ctx["http"] = httpx.AsyncClient(transport=transport, base_url=os.environ["BENCH_URL"], timeout=30)
    ctx["database"] = await asyncpg.create_pool(os.environ["BENCH_DATABASE"], min_size=10, max_size=10)


class WorkerSettings:
    functions = (install,)
    redis_settings = redis
    on_startup = start
    max_jobs, keep_result, poll_delay, queue_read_limit = 100, 0, 0.05, 500


async def enqueue(count: int) -> None:
    pool = await create_pool(redis)
    for number in range(1, count + 1):
        await pool.enqueue_job("install", number)
    await pool.aclose()


if __name__ == "__main__":
    asyncio.run(enqueue(int(sys.argv[1])))
