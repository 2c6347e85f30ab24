"""Virtual environments of the rivals whose pins clash with ours, made once in `.bench/` beside the checkout's `.venv`."""

import subprocess
import sys
from pathlib import Path

from tests.end_to_end.processes.commands import ROOT

FOLDER = ROOT / ".bench"
_SHARED = ["asyncpg==0.32.0", "hiredis==3.5.0", "httpx==0.28.1", "httpx-aiohttp==0.2.0", "aiohttp==3.14.5"]
PACKAGES = {"saq": ["saq[redis]==0.26.4", *_SHARED], "arq": ["arq==0.28.0", *_SHARED]}


def bin_folder(rival: str) -> Path:
    """The rival's own `bin`, with exactly these packages and what they need."""
    folder = FOLDER / rival
    stamp = folder / "installed"
    wanted = "\n".join(PACKAGES[rival])
    if not stamp.exists() or stamp.read_text() != wanted:
        uv = str(Path(sys.executable).parent / "uv")
        subprocess.run(
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True
        )
        python = str(folder / "bin" / "python")
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *PACKAGES[rival]], check=True)
        stamp.write_text(wanted)
    return folder / "bin"
