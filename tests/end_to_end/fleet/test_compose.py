"""The files of a deployment agree with each other, and with what the product needs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.end_to_end.fleet.fleet import procfile
from tests.end_to_end.processes.commands import ROOT
from worker.settings import CyclrSettings

COMPOSE = ROOT / "docker-compose.yml"
DRAIN_MARGIN_S = 10


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return YAML(typ="safe").load(COMPOSE)["services"]


def test_the_compose_file_fits_its_schema() -> None:
    program = str(Path(sys.executable).parent / "check-jsonschema")
    schema = "vendor.compose-spec"
    done = subprocess.run(
        [program, "--builtin-schema", schema, str(COMPOSE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("service", "process"), [("migrate", "release"), ("worker", "worker"), ("sweep", "sweep"), ("web", "web")]
)
def test_the_compose_file_runs_what_the_procfile_runs(
    services: dict[str, Any], service: str, process: str
) -> None:
    assert services[service]["command"] == procfile()[process]


def test_a_worker_may_drain_before_it_is_killed(services: dict[str, Any]) -> None:
    timeout_s = CyclrSettings.model_fields["cyclr_timeout_s"].default
    assert int(services["worker"]["stop_grace_period"].removesuffix("s")) > timeout_s + DRAIN_MARGIN_S


def test_nothing_starts_before_the_schema_is_there(services: dict[str, Any]) -> None:
    for name in ("worker", "sweep", "web"):
        waits_for = {service: how["condition"] for service, how in services[name]["depends_on"].items()}
        assert waits_for == {"migrate": "service_completed_successfully", "valkey": "service_healthy"}
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_every_process_has_all_settings(services: dict[str, Any]) -> None:
    known = {name.upper() for name in CyclrSettings.model_fields} - {"CYCLR_BULK_HOME"}
    for name in ("worker", "sweep", "web"):
        assert set(services[name]["environment"]) == known


def test_the_simulator_is_started_only_where_it_is_asked_for(services: dict[str, Any]) -> None:
    assert services["simulator"]["profiles"] == ["simulator"]
    assert services["simulator"]["environment"] == {}


def test_the_image_runs_as_nobody_special_and_holds_what_alembic_needs() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert "USER cyclr" in lines
    assert [line for line in lines if line.startswith("COPY alembic.ini")] == ["COPY alembic.ini /app/"]
