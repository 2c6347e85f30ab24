"""The units for systemd run what the Procfile runs, and may do no more than they need; the page shows what it shows rightly."""

import configparser
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.end_to_end.fleet.compose import example_of_env
from tests.end_to_end.fleet.fleet import procfile
from tests.end_to_end.processes.commands import ROOT
from tests.started import run_process
from worker.settings import CyclrSettings
from worker.simulator.sample import sample_credentials

UNITS = ROOT / "deploy" / "systemd"
CONFINED = UNITS / "cyclr-bulk-.service.d" / "confined.conf"
BIN = "/opt/cyclr-bulk/.venv/bin/"
DRAIN_MARGIN_S = 10
PROCESSES = ("release", "worker", "sweep", "web")


class Unit(configparser.RawConfigParser):
    def __init__(self, path: Path) -> None:
        super().__init__(comment_prefixes=("#",), strict=True)
        self.optionxform = str  # type: ignore[assignment, method-assign]
        self.read_string(path.read_text(encoding="utf-8"))

    @property
    def service(self) -> dict[str, str]:
        return dict(self["Service"])


def unit(process: str) -> Unit:
    return Unit(UNITS / f"cyclr-bulk-{process}.service")


def page() -> str:
    return (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


def test_each_process_of_the_procfile_has_its_unit_and_no_other_has() -> None:
    assert {path.name for path in UNITS.glob("*.service")} == {
        f"cyclr-bulk-{name}.service" for name in procfile()
    }


@pytest.mark.parametrize(
    ("process", "more"),
    [
        ("release", ["--config", "/opt/cyclr-bulk/alembic.ini"]),
        ("worker", []),
        ("sweep", []),
        ("web", ["--host", "127.0.0.1"]),
    ],
)
def test_a_unit_runs_what_the_procfile_runs(process: str, more: list[str]) -> None:
    words = unit(process).service["ExecStart"].split()
    assert [word for word in words if word not in more] == [
        BIN + procfile()[process][0],
        *procfile()[process][1:],
    ]
    assert [word for word in words if word in more] == more


def test_what_lasts_is_started_again_whenever_it_ends() -> None:
    restarts = {name: unit(name).service.get("Restart") for name in PROCESSES}
    assert restarts == {"release": None, "worker": "always", "sweep": "always", "web": "always"}
    assert Unit(CONFINED)["Unit"]["StartLimitIntervalSec"] == "0"
    # Nobody of them tells systemd that it lives: a watchdog would end what is well.
    assert [name for name in PROCESSES if "WatchdogSec" in unit(name).service] == []


def test_a_worker_may_drain_before_it_is_killed() -> None:
    timeout_s = CyclrSettings.model_fields["cyclr_timeout_s"].default
    assert int(unit("worker").service["TimeoutStopSec"]) > timeout_s + DRAIN_MARGIN_S
    assert unit("worker").service["KillMode"] == "mixed"


def test_no_unit_may_do_more_than_it_needs() -> None:
    held = Unit(CONFINED).service
    assert held["User"] == "cyclr-bulk"
    assert held["CapabilityBoundingSet"] == ""
    assert held["LimitCORE"] == "0"
    assert held["ProtectSystem"] == "strict"
    assert held["UMask"] == "0077"
    assert {held[name] for name in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome")} == {
        "yes"
    }
    # What is held for all of them is let go by none: a unit says only what is its own.
    assert [name for name in PROCESSES if held.keys() & unit(name).service.keys()] == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian: systemd)")
@pytest.mark.parametrize("process", PROCESSES)
def test_systemd_understands_every_line(process: str, tmp_path: Path) -> None:
    shutil.copytree(UNITS, tmp_path, dirs_exist_ok=True)
    path = tmp_path / f"cyclr-bulk-{process}.service"
    path.write_text(path.read_text("utf-8").replace(BIN, f"{Path(sys.executable).parent}/"), encoding="utf-8")
    done = run_process(
        ["systemd-analyze", "verify", "--man=no", str(path)],
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "cyclr-bulk" in line]
    assert ours == []


def test_the_page_uses_the_credentials_that_the_simulator_takes() -> None:
    made_up = sample_credentials()
    ids = set(re.findall(r"^CYCLR_CLIENT_ID=(.*)$", page(), re.MULTILINE))
    secrets = set(re.findall(r"^CYCLR_CLIENT_SECRET=(.*)$", page(), re.MULTILINE))
    assert (ids, secrets) == ({made_up.client_id}, {made_up.client_secret})


def test_the_page_sets_all_that_compose_asks_for_and_nothing_that_is_unknown() -> None:
    by_compose = page().split("## With compose")[1]
    told = set(re.findall(r"^([A-Z_]+)=", by_compose, re.MULTILINE)) - {"JOB"}
    needed = {
        "POSTGRES_PASSWORD",
        "VALKEY_PASSWORD",
        "CYCLR_BULK_SEALING_KEYS",
        "CYCLR_API_URL",
        "CYCLR_CLIENT_ID",
        "CYCLR_CLIENT_SECRET",
    }
    assert needed <= told <= set(example_of_env())


def test_the_page_names_units_and_files_that_are_there() -> None:
    named = set(re.findall(r"cyclr-bulk-(\w+)", page())) - {""}
    assert named == set(PROCESSES)
    for path in re.findall(r"/opt/cyclr-bulk/((?:deploy|worker|migrations)[\w./-]*)", page()):
        assert (ROOT / path.rstrip(".")).exists(), path


def test_the_proxy_says_who_calls_and_never_takes_it_from_the_caller() -> None:
    text = (ROOT / "deploy" / "nginx" / "cyclr-bulk.conf").read_text(encoding="utf-8")
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in text
    assert "proxy_set_header X-Forwarded-Proto $scheme;" in text
    assert "proxy_set_header Host $host;" in text
    assert "proxy_add_x_forwarded_for" not in text
    assert "access_log off;" in text
    assert "proxy_request_buffering off;" in text


def test_nginx_understands_every_line(tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if nginx is None:
        pytest.skip("needs nginx (Debian: nginx)")
    key, certificate = tmp_path / "key", tmp_path / "pem"
    run_process(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=connect",
            ),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    text = (ROOT / "deploy" / "nginx" / "cyclr-bulk.conf").read_text(encoding="utf-8")
    text = re.sub(r"/etc/ssl/private/\S+(?=;)", str(key), text)
    text = re.sub(r"/etc/ssl/certs/\S+(?=;)", str(certificate), text)
    whole = tmp_path / "nginx.conf"
    whole.write_text(
        f"error_log stderr;\npid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{text}\n}}\n", encoding="utf-8"
    )
    done = run_process(
        [nginx, "-t", "-q", "-c", str(whole), "-p", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    # Newer ones say that HTTP/2 is switched on elsewhere now, and take it all the same.
    said = [line for line in done.stderr.splitlines() if "listen ... http2" not in line]
    assert (done.returncode, said) == (0, [])
