"""Virtual environments of the rivals whose pins clash with ours."""

from pathlib import Path

from tests import environments

_SHARED = ["asyncpg==0.32.0", "hiredis==3.5.0", "httpx==0.28.1", "httpx-aiohttp==0.2.0", "aiohttp==3.14.5"]
PACKAGES = {"saq": ["saq[redis]==0.26.4", *_SHARED], "arq": ["arq==0.28.0", *_SHARED]}


def bin_folder(rival: str) -> Path:
    """The rival's own `bin`, with exactly these packages and what they need."""
    return environments.bin_folder(rival, PACKAGES[rival])
