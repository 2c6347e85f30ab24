import signal
import subprocess
import sys

import pytest

from tests.plain_http import http_client
from tests.started import start_process

SERVE = "from worker.simulator.server import serve; serve(0, latency_s=0.05, ready=lambda url: print(url, flush=True))"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_on_loopback_until_a_signal_and_ends_clean(number: signal.Signals) -> None:
    process = start_process(
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        with http_client(base_url=url) as http:
            http.get("/v1.0/accounts")
            (call,) = http.get("/_sim/ledger").json()["calls"]
        assert call["status"] == 401
        assert call["answered_at"] - call["received_at"] >= 0.04
        process.send_signal(number)
        _, errors = process.communicate(timeout=90)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
