"""`make audit` finds what was withdrawn and what has a known fault, and never passes over what it could not ask."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.audit.__main__ import Findings, read_faults
from tests.end_to_end.processes.commands import ROOT
from tests.started import run_process

pytestmark = pytest.mark.slow

NOBODY = "http://127.0.0.1:1"
WHEEL = "{name}-1.0-py3-none-any.whl"


def wheel_of(folder: Path, name: str) -> bytes:
    path = folder / WHEEL.format(name=name)
    with zipfile.ZipFile(path, "w") as wheel:
        info = f"{name}-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path.read_bytes()


@dataclass
class Index:
    """A package index and a database of known faults. `withdrawn`: name -> reason; `faults`: name -> the fixed version, None
    where there is none."""

    folder: Path
    wheels: dict[str, bytes] = field(default_factory=dict)
    withdrawn: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str | None] = field(default_factory=dict)
    url: str = ""

    def pin(self, *names: str) -> Path:
        """A file of requirements as ours are, hashes and all."""
        path = self.folder / "pinned.txt"
        lines = []
        for name in names:
            wheel = wheel_of(self.folder, name)
            lines.append(f"{name}==1.0 --hash=sha256:{hashlib.sha256(wheel).hexdigest()}")
            self.wheels[name] = wheel
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def page(self, name: str) -> bytes:
        file = {
            "filename": WHEEL.format(name=name),
            "url": f"{self.url}/files/{name}",
            "hashes": {"sha256": hashlib.sha256(self.wheels[name]).hexdigest()},
            "yanked": self.withdrawn.get(name, False),
        }
        return json.dumps({"meta": {"api-version": "1.0"}, "name": name, "files": [file]}).encode()

    def faults_of(self, name: str) -> dict[str, Any]:
        if name not in self.faults:
            return {}
        fixed = self.faults[name]
        events: list[dict[str, str]] = [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]
        affected = {
            "package": {"name": name, "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": events}],
            "versions": ["1.0"],
        }
        return {"vulns": [{"id": f"FAULT-{name}", "summary": "bad", "affected": [affected]}]}


@contextmanager
def served(index: Index) -> Iterator[Index]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, name = self.path.strip("/").partition("/")
            if name not in index.wheels:
                self.send_error(404)
            elif kind == "simple":
                self.answer(index.page(name), "application/vnd.pypi.simple.v1+json")
            else:
                self.answer(index.wheels[name], "application/octet-stream")

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(json.dumps(index.faults_of(asked["package"]["name"])).encode(), "application/json")

        def answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        index.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with served(Index(tmp_path)) as running:
        yield running


def audit(
    index: Index, file: Path, *words: str, index_url: str = "", osv_url: str = ""
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    ours = {
        "UV_DEFAULT_INDEX": f"{index_url or index.url}/simple",
        "UV_CACHE_DIR": str(index.folder / "cache"),
        "XDG_CACHE_HOME": str(index.folder / "cache-of-faults"),
        "UV_HTTP_RETRIES": "0",
        "NO_PROXY": "127.0.0.1",
    }
    return run_process(
        [sys.executable, "-m", "tests.audit", str(file), "--osv-url", osv_url or f"{index.url}/osv", *words],
        cwd=ROOT,
        env=kept | ours,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_neither_withdrawn_nor_faulty_passes(index: Index) -> None:
    done = audit(index, index.pin("sound", "solid"))
    assert done.stdout.splitlines() == [
        "2 pins of pinned.txt",
        "None is withdrawn, and no fault is known that a newer version mends.",
    ]
    assert done.returncode == 0


def test_what_was_withdrawn_is_named_with_its_reason(index: Index) -> None:
    file = index.pin("sound", "regretted")
    index.withdrawn["regretted"] = "deletes your home"
    done = audit(index, file, "--if-reached")
    assert "withdrawn: regretted==1.0: deletes your home" in done.stdout.splitlines()
    assert "sound" not in done.stdout
    assert done.returncode == 1


def test_what_the_index_has_no_more_is_named(index: Index) -> None:
    file = index.pin("sound", "deleted")
    del index.wheels["deleted"]
    done = audit(index, file, "--if-reached")
    assert "not in the index any more: deleted" in done.stdout.splitlines()
    assert done.returncode == 1


def test_a_known_fault_that_a_newer_version_mends_is_named_with_that_version(index: Index) -> None:
    file = index.pin("sound", "faulty")
    index.faults["faulty"] = "1.1"
    done = audit(index, file, "--if-reached")
    assert "known fault: faulty==1.0: FAULT-faulty, mended in 1.1" in done.stdout.splitlines()
    assert done.returncode == 1


def test_a_known_fault_that_nothing_mends_is_told_and_stops_nobody(index: Index) -> None:
    file = index.pin("faulty")
    index.faults["faulty"] = None
    done = audit(index, file)
    assert "known fault: faulty==1.0: FAULT-faulty, which no version mends yet" in done.stdout.splitlines()
    assert done.returncode == 0


@pytest.mark.parametrize(("words", "code"), [((), 3), (("--if-reached",), 0)])
def test_an_index_that_does_not_answer_is_no_pass_and_only_ci_goes_on(
    index: Index, words: tuple[str, ...], code: int
) -> None:
    done = audit(index, index.pin("sound"), *words, index_url="http://user:hunter2@127.0.0.1:1")
    assert "not asked whether anything of pinned.txt is withdrawn: error: " in done.stdout
    assert done.stdout.splitlines()[-1] == "NOT ALL OF IT WAS ASKED, so this is no pass."
    assert done.returncode == code
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize(("words", "code"), [((), 3), (("--if-reached",), 0)])
def test_faults_that_cannot_be_asked_for_are_no_pass_and_only_ci_goes_on(
    index: Index, words: tuple[str, ...], code: int
) -> None:
    done = audit(index, index.pin("sound"), *words, osv_url=NOBODY)
    assert "not asked for known faults: " in done.stdout
    assert done.returncode == code


def test_what_the_database_of_faults_does_not_know_is_no_pass() -> None:
    left_out = {
        "name": "unknown",
        "skip_reason": "Dependency not found and could not be audited: unknown (1.0)",
    }
    answers = {"dependencies": [left_out, {"name": "sound", "version": "1.0", "vulns": []}], "fixes": []}
    found = Findings()
    read_faults(json.dumps(answers), found, otherwise="")
    assert found.unasked == {
        "not asked for known faults of 1 of 2 pins: the database of faults does not know them here"
    }
    assert (found.bad, found.told) == (set(), set())


def test_what_was_found_counts_though_the_rest_cannot_be_asked(index: Index) -> None:
    file = index.pin("regretted")
    index.withdrawn["regretted"] = ""
    done = audit(index, file, "--if-reached", osv_url=NOBODY)
    assert "not asked for known faults: " in done.stdout
    assert done.returncode == 1


def test_ci_asks_too() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "make audit AUDIT=--if-reached" in lines
