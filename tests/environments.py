"""Virtual environments for programs whose pins clash with ours, made once in `.bench/` beside the checkout's `.venv`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.end_to_end.processes.commands import ROOT
from tests.started import run_process

FOLDER = ROOT / ".bench"


def bin_folder(name: str, packages: Sequence[str]) -> Path:
    """The `bin` of the environment `name`, with exactly these packages and what they need."""
    folder = FOLDER / name
    stamp = folder / "installed"
    wanted = "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        uv = str(Path(sys.executable).parent / "uv")
        run_process([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        python = str(folder / "bin" / "python")
        run_process([uv, "pip", "install", "--quiet", "--python", python, *packages], check=True)
        stamp.write_text(wanted)
    return folder / "bin"
