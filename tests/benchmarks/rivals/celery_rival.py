"""Celery with a message for each account: one httpx client and one database connection for each worker thread."""

import os
import sys
import threading

import httpx
import psycopg
from celery import Celery

app = Celery("rival", broker=os.environ["REDIS_URL"].replace("unix://", "redis+socket://"))
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=4, worker_hijack_root_logger=False)
mine = threading.local()


def connections() -> tuple[httpx.Client, psycopg.Connection]:
    if not hasattr(mine, "http"):
        mine.http = httpx.Client(base_url=os.environ["BENCH_URL"], timeout=30)
        mine.database = psycopg.connect(os.environ["BENCH_DATABASE"], autocommit=True)
    return mine.http, mine.database


@app.task(name="install")
def install(item_id: int) -> None:
    http, database = connections()
    begun = "UPDATE rival SET state = 'running' WHERE id = %s AND state = 'queued' RETURNING account, api_key"
    found = database.execute(begun, [item_id]).fetchone()
    if found is None:
        return
    headers = {"Authorization": "Bearer bench", "X-Cyclr-Account": found[0]}
    body = {"Name": "Northwind Mail", "AuthValue": found[1], "Properties": []}
    answer = http.post("/v1.0/connectors/77/install", headers=headers, json=body)
    answer.raise_for_status()
    done = "UPDATE rival SET state = 'installed', remote_id = %s WHERE id = %s"
    database.execute(done, [answer.json()["Id"], item_id])


if __name__ == "__main__":
    with app.producer_pool.acquire() as producer:
        for number in range(1, int(sys.argv[1]) + 1):
            install.apply_async([number], producer=producer)
