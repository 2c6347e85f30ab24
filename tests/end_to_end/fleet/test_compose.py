"""The files of a deployment agree with each other, and with what the product needs."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from redis import AuthenticationError, Redis

from tests.end_to_end.fleet.compose import COMPOSE, Unset, example_of_env, read_compose, variables_of
from tests.end_to_end.fleet.fleet import Fleet, end, procfile
from tests.end_to_end.fleet.web import launch_web
from tests.end_to_end.processes.commands import ROOT, Command, eventually
from tests.servers import find_valkey
from tests.started import run_process
from worker.settings import CyclrSettings, load_settings

DRAIN_MARGIN_S = 10
OURS = ("migrate", "worker", "sweep", "web", "cyclr-bulk", "simulator")
ALL = (*OURS, "postgres", "valkey")
FILLED_IN = {
    "CYCLR_API_URL": "https://api.cyclr.com",
    "CYCLR_CLIENT_ID": "partner",
    "CYCLR_CLIENT_SECRET": "secret-of-partner",
    "CYCLR_BULK_SEALING_KEYS": "k1:MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=",
    "POSTGRES_PASSWORD": "9f3c01a2",
    "VALKEY_PASSWORD": "77b0e4d5",
}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return read_compose(FILLED_IN)["services"]


def test_the_compose_file_fits_its_schema() -> None:
    program = str(Path(sys.executable).parent / "check-jsonschema")
    schema = "vendor.compose-spec"
    done = run_process(
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
    for name in ("migrate", "worker", "sweep", "web", "cyclr-bulk"):
        assert set(services[name]["environment"]) == known


def test_what_a_process_is_given_are_settings_that_it_can_work_with(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in services["worker"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load_settings(needs_cyclr=True, needs_deployment=True, env_file=None)
    assert settings.database_url is not None
    assert settings.redis_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://cyclr:9f3c01a2@postgres/cyclr"
    assert settings.redis_url.get_secret_value() == "redis://:77b0e4d5@valkey:6379/0"
    assert settings.cyclr_calls_per_second == 10


def test_every_variable_of_the_file_is_in_the_example_and_every_one_of_the_example_arrives() -> None:
    of_the_home = {"CYCLR_BULK_HOME", "DATABASE_URL", "REDIS_URL"}  # the file makes the last two itself
    told = {
        name for name in example_of_env() if not name.endswith("_FILE")
    }  # files of this machine are not theirs
    assert variables_of(COMPOSE.read_text(encoding="utf-8")) == told - of_the_home


@pytest.mark.parametrize("name", FILLED_IN)
def test_what_must_be_set_is_asked_for_by_its_name(name: str) -> None:
    with pytest.raises(Unset, match=f"^{name}: "):
        read_compose(FILLED_IN | {name: ""})


@pytest.mark.parametrize("name", ALL)
def test_no_container_may_do_more_than_it_needs(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ulimits"] == {"core": 0}
    assert service["init"] is True
    assert service["pids_limit"] > 0
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])


def test_only_the_web_process_is_reached_from_outside_and_only_from_this_machine(
    services: dict[str, Any],
) -> None:
    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == {
        "web": ["127.0.0.1:8080:8080"]
    }


def test_no_container_runs_as_root(services: dict[str, Any]) -> None:
    assert {name: services[name]["user"] for name in ("postgres", "valkey")} == {
        "postgres": "999:999",
        "valkey": "999:999",
    }
    assert "USER cyclr" in dockerfile()


def test_commands_and_simulator_are_started_only_where_they_are_asked_for(services: dict[str, Any]) -> None:
    assert services["simulator"]["profiles"] == ["simulator"]
    assert services["simulator"]["environment"] == {}
    assert services["cyclr-bulk"]["profiles"] == ["commands"]
    assert services["cyclr-bulk"]["entrypoint"] == ["cyclr-bulk"]
    assert services["cyclr-bulk"]["volumes"] == ["./files:/files"]
    assert services["cyclr-bulk"]["working_dir"] == "/files"


def test_the_servers_are_of_the_versions_that_the_tests_run_with(
    services: dict[str, Any], fleet: Fleet
) -> None:
    version = run_process([find_valkey(), "--version"], capture_output=True, text=True, check=True).stdout
    assert f"v={services['valkey']['image'].removeprefix('valkey/valkey:')} " in version
    if "TEST_DATABASE_URL" not in os.environ:
        with psycopg.connect(fleet.settings["DATABASE_URL"].replace("+psycopg", "")) as connection:
            [version] = connection.execute("SHOW server_version").fetchone() or [""]
        assert services["postgres"]["image"] == f"postgres:{version}"


# What is typed in the containers, typed here.


@pytest.fixture
def valkey_socket(services: dict[str, Any], tmp_path: Path) -> Iterator[str]:
    """Of the service's own command, with the binary that is here, on a socket of the test's own."""
    service = services["valkey"]
    (tmp_path / "valkey-server").symlink_to(find_valkey())
    path = str(tmp_path / "v.sock")
    shell, option, script = service["command"]
    assert script.startswith("exec valkey-server - <<END\n")
    server = Command(
        [shell, option, script.replace("<<END\n", f"<<END\nport 0\nunixsocket {path}\n")],
        env={**service["environment"], "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        folder=tmp_path,
        name="valkey",
    )
    try:
        eventually(lambda: Path(path).exists(), "Valkey listens")
        argv = " ".join(psutil.Process(server.pid).cmdline())
        assert argv.startswith("valkey-server")
        assert FILLED_IN["VALKEY_PASSWORD"] not in argv
        yield path
    finally:
        server.send(signal.SIGTERM)
        assert server.wait() == 0  # it is the server itself that is asked to end, not a shell before it


def test_the_valkey_asks_for_its_password_and_throws_nothing_away(
    services: dict[str, Any], valkey_socket: str
) -> None:
    with Redis(unix_socket_path=valkey_socket) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    given = urlsplit(services["worker"]["environment"]["REDIS_URL"])
    with Redis(unix_socket_path=valkey_socket, password=given.password) as redis:
        assert redis.ping()
        asked = redis.config_get("maxmemory-policy", "maxmemory", "save", "appendonly")
    assert asked == {
        "maxmemory-policy": "noeviction",
        "maxmemory": str(64 * 1024 * 1024),
        "save": "",
        "appendonly": "no",
    }


def test_the_check_of_a_worker_is_a_command_that_works(services: dict[str, Any], fleet: Fleet) -> None:
    kind, *words = services["worker"]["healthcheck"]["test"]
    assert kind == "CMD"
    eventually(lambda: run(words, fleet).returncode == 0, "the worker has said that it lives")


def test_the_check_of_the_web_process_is_a_command_that_works(services: dict[str, Any], fleet: Fleet) -> None:
    kind, program, option, script = services["web"]["healthcheck"]["test"]
    assert (kind, program, option) == ("CMD", "python", "-c")
    web, port = launch_web(fleet)
    assert ":8080/" in script
    words = [sys.executable, option, script.replace(":8080/", f":{port}/")]
    assert run(words, fleet).returncode == 0
    end(web)
    assert run(words, fleet).returncode != 0


def run(words: list[str], fleet: Fleet) -> subprocess.CompletedProcess[str]:
    return run_process(
        words, env=fleet.environment(), cwd=fleet.folder, capture_output=True, text=True, check=False
    )


# The image.


def dockerfile() -> list[str]:
    return (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "").splitlines()


def test_the_image_holds_what_alembic_needs() -> None:
    assert [line for line in dockerfile() if line.startswith("COPY alembic.ini")] == [
        "COPY alembic.ini /app/"
    ]
    assert [line for line in dockerfile() if line.startswith("WORKDIR")][-1] == "WORKDIR /app"


def test_the_image_is_made_of_full_versions() -> None:
    bases = {line.split()[1] for line in dockerfile() if line.startswith("FROM")}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases.pop())
    pinned = re.findall(r"^uv==(\S+)", (ROOT / "requirements" / "dev.txt").read_text("utf-8"), re.MULTILINE)
    assert re.findall(r"uv==(\S+)", "\n".join(dockerfile())) == pinned


def test_what_is_installed_in_the_image_is_hashed() -> None:
    installs = [line for line in dockerfile() if "uv pip install" in line]
    assert len(installs) == 2
    assert "--require-hashes -r requirements/runtime.txt" in installs[0]
    assert "--no-deps --build-constraints requirements/dev.txt ." in installs[1]


def test_nothing_in_the_image_is_compiled_at_its_start() -> None:
    text = "\n".join(dockerfile())
    assert "UV_COMPILE_BYTECODE=1" in text.split("uv venv")[0]
    assert text.count("python -m compileall -q") == 2
