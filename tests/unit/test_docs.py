"""What the pages name exists: files, functions, commands, options, settings, codes, columns, links."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from worker.cli.app import COMMANDS, app, load_command
from worker.domain.server_faults import HOPELESS, KNOWN, Server
from worker.domain.states import Outcome
from worker.domain.words import CODES, PAUSES
from worker.intake.columns import INPUT_COLUMNS, RESULT_COLUMNS
from worker.setting_files import SUFFIX
from worker.settings import CyclrSettings, secret_settings
from worker.telemetry import AWAY, BACK, LIBRARY_SAID

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = ("worker", "tests", "migrations", "docs", "scripts", "requirements", "deploy")
OF_THE_COMPOSE_FILE = {"postgres_password", "valkey_password", "web_address"}
# Of each setting that holds a secret, the file of its own.
OF_FILES = {f"{name}{SUFFIX}".lower() for name in secret_settings()}
OPTIONS_OF_OTHER_TOOLS = {
    "--help",
    "--require-hashes",
    "--hypothesis-seed",
    "--universal",
    "--generate-hashes",
}


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code_of(text: str) -> Iterator[str]:
    """The lines of the fenced blocks and the spans between backticks."""
    for part, block in enumerate(re.split(r"^```.*$", text, flags=re.MULTILINE)):
        if part % 2:
            yield from block.splitlines()
        else:
            yield from re.findall(r"`([^`]+)`", block)


def first_cells(text: str, heading: str) -> list[str]:
    """The code in the first cells of the table below a heading."""
    section = text.split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [code for cell in cells for code in re.findall(r"`([^`]+)`", cell)]


def rows_below(text: str, heading: str) -> list[str]:
    """The rows of the table below a heading, whole."""
    section = text.split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def commands() -> dict[str, set[str]]:
    """Subcommand -> its options; of a group, those of all of its commands. What needs no subcommand stands beside them."""
    group = typer.main.get_command(app)
    alone: dict[str, set[str]] = {option: set() for parameter in group.params for option in parameter.opts}
    return alone | {name: options(load_command(name)) for name in COMMANDS}


def options(command: Any) -> set[str]:
    own = {option for parameter in command.params for option in parameter.opts}
    return own.union(*map(options, getattr(command, "commands", {}).values()))


def typed_commands(text: str) -> Iterator[list[str]]:
    for code in code_of(text):
        # Not where it is a folder, an image or a service, and the command comes after it.
        for typed in re.findall(r"(?:^|[\s$]|bin/)cyclr-bulk (?![\"$/.]|cyclr-bulk )([^`\n#>|)]*)", code):
            yield shlex.split(typed.replace("'", ""))


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def default_of(name: str) -> str:
    value = CyclrSettings.model_fields[name].get_default()
    return "" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)


every_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


@every_page
def test_every_file_that_a_page_names_exists(path: Path) -> None:
    pattern = rf"(?<![\w/.])(?:{'|'.join(FOLDERS)})/[\w./-]*"
    named = {name for code in code_of(path.read_text("utf-8")) for name in re.findall(pattern, code)}
    assert {name for name in named if not (ROOT / name).exists()} == set()


@every_page
def test_every_function_that_a_page_names_is_in_its_file(path: Path) -> None:
    missing = []
    for name, function in re.findall(r"`([\w/]+\.py)::(\w+)`", path.read_text("utf-8")):
        tree = ast.parse((ROOT / name).read_text("utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        defined |= {node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef)}
        if function not in defined:
            missing.append(f"{name}::{function}")
    assert missing == []


@every_page
def test_every_link_between_pages_leads_somewhere(path: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, fragment = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        headings = (
            re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            if file.suffix == ".md" and file.is_file()
            else []
        )
        if not file.exists() or (fragment and fragment not in map(anchor, headings)):
            broken.append(target)
    assert broken == []


@every_page
def test_every_command_and_option_that_a_page_types_exists(path: Path) -> None:
    known = commands()
    wrong = []
    for words in typed_commands(path.read_text("utf-8")):
        if not words:
            continue
        options = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
        if words[0] not in known or options - known[words[0]]:
            wrong.append(" ".join(words))
    assert wrong == []


@every_page
def test_every_option_that_a_page_names_alone_exists(path: Path) -> None:
    known = {option for options in commands().values() for option in options} | OPTIONS_OF_OTHER_TOOLS
    spans = re.findall(r"`(--[\w-]+)", path.read_text("utf-8"))
    assert set(spans) - known == set()


def test_the_readme_shows_every_command() -> None:
    shown = {words[0] for words in typed_commands(page("README.md")) if words}
    assert shown == set(commands())


@every_page
def test_every_setting_that_a_page_names_exists(path: Path) -> None:
    named = set(re.findall(r"`((?:CYCLR_|DATABASE_URL|REDIS_URL)[A-Z_]*)", path.read_text("utf-8")))
    known = {*CyclrSettings.model_fields, *OF_FILES, "cyclr_"}
    assert {name for name in named if name.lower() not in known} == set()


def test_the_table_of_settings_is_whole_and_has_their_defaults() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \|([^|]*)\|", page("docs/operations.md"), re.MULTILINE)
    told = {name.lower(): default.strip() for name, default in rows}
    assert set(told) == set(CyclrSettings.model_fields)
    told.pop("cyclr_bulk_home")  # differs between machines
    assert told == {name: default_of(name) for name in told}


def test_the_example_of_env_has_the_settings_and_their_defaults() -> None:
    lines = re.findall(r"^(#?)([A-Z_]+)=(.*)$", page(".env.example"), re.MULTILINE)
    told = {name.lower(): value for _, name, value in lines}
    assert set(told) - OF_THE_COMPOSE_FILE == {*CyclrSettings.model_fields, *OF_FILES}
    optional = {name.lower(): value for mark, name, value in lines if mark and value}
    assert optional == {name: default_of(name) for name in optional}


def test_the_tables_of_states_say_what_the_faces_say() -> None:
    text = page("docs/states.md")
    assert rows_below(text, "## Codes") == [
        f"| `{code}` | {words.meaning} | {words.advice} |" for code, words in CODES.items()
    ]
    assert rows_below(text, "### Why a job is paused") == [
        f"| `{reason}` | {words.meaning} | {words.advice} |" for reason, words in PAUSES.items()
    ]
    assert set(first_cells(text, "### How a row came to be done")) == set(Outcome)


def logged_by(path: Path) -> Iterator[str]:
    """The events that a file names where it logs, also by the name of a constant of its own."""
    tree = ast.parse(path.read_text("utf-8"))
    constants = {
        target.id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        of = ast.unparse(node.func)
        is_event = re.fullmatch(
            r"(log|(structlog\.)?get_logger\(\))\.(info|warning|error|critical)"
            r"|ALARMS\.crashed|write_at_once|(get_logger\(\))\.log",
            of,
        )
        given = node.args[1] if of == "told_in_the_log" else node.args[0] if is_event else None
        if isinstance(given, ast.Constant):
            yield str(given.value)
        elif isinstance(given, ast.Name) and given.id in constants:
            yield str(constants[given.id])


def test_the_page_of_alarms_has_every_event_and_no_other() -> None:
    text = page("docs/alarms.md")
    paths = [path for path in (ROOT / "worker").rglob("*.py") if "simulator" not in path.parts]
    logged = {event for path in paths for event in logged_by(path)}
    logged |= {*AWAY.values(), *BACK.values(), LIBRARY_SAID}
    headings = ("## A server that is away", "## The work", "## The processes")
    assert {event for heading in headings for event in first_cells(text, heading)} == logged


def test_the_page_of_alarms_has_every_class_of_fault_and_no_other() -> None:
    text = page("docs/alarms.md")
    told = {
        Server.DATABASE: first_cells(text, "### PostgreSQL"),
        Server.REDIS: first_cells(text, "### Redis"),
        Server.CYCLR: first_cells(text, "### Cyclr"),
    }
    assert {server: set(kinds) for server, kinds in told.items()} == KNOWN
    assert {
        kind for kind in HOPELESS if f"`{kind.split()[0]}`" not in text.split("## When they start")[1]
    } == set()


def test_the_page_of_the_file_tells_of_every_column() -> None:
    text = page("docs/file-format.md")
    assert {name for name in (*INPUT_COLUMNS, *RESULT_COLUMNS) if f"`{name}`" not in text} == set()
    assert {name for name in INPUT_COLUMNS if f"`{name}`" not in page("README.md")} == set()


def test_the_import_rule_on_its_page_is_the_one_that_is_held() -> None:
    contracts = tomllib.loads(page("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    held = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    text = page("docs/architecture.md")
    told = text.split("## The import rule", 1)[1].split("```")[1].strip().splitlines()
    assert told == [re.sub(r"worker\.|[()]", "", layer) for layer in held]


def test_the_figures_of_never_twice_follow_from_the_defaults() -> None:
    settings = CyclrSettings(cyclr_timeout_s=30, cyclr_settle_s=60)
    text = page("docs/never-twice.md")
    assert (default_of("cyclr_timeout_s"), default_of("cyclr_settle_s")) == ("30", "60")
    assert settings.claim_s == 40
    assert "so 40 s by default" in text
    assert "= 120 s" in text
    assert "= 90 s" in text
