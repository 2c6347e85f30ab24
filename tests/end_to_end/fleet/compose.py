"""docker-compose.yml as Compose would read it, where there is no Docker: variables filled in, anchors merged."""

import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from tests.end_to_end.processes.commands import ROOT

COMPOSE = ROOT / "docker-compose.yml"
# $$, ${NAME}, ${NAME:-default}, ${NAME:?error}: all that our file uses. A $ of another form is a fault.
_VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Z_]+)(?::([-?])([^}]*))?\}|)")


class Unset(Exception):
    """Compose would end: a variable that must be set is not. The text: its name, and what the file says to do."""


def read_compose(variables: Mapping[str, str]) -> Any:
    """The whole file with these variables filled in. Raises: Unset."""
    return _filled(YAML(typ="safe").load(COMPOSE), variables)


def variables_of(text: str) -> set[str]:
    return {name for _, name, _, _ in _VARIABLE.findall(text) if name}


def example_of_env() -> dict[str, str]:
    """All names of `.env.example`, also those that are commented out -> the value there."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    return dict(re.findall(r"^#?([A-Z_]+)=(.*)$", text, re.MULTILINE))


def _filled(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {name: _filled(value, variables) for name, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, variables) for value in node]
    return _VARIABLE.sub(lambda found: _value(found, variables), node) if isinstance(node, str) else node


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    dollar, name, sign, text = found.groups()
    if dollar:
        return "$"
    if name is None:
        raise ValueError(f"a $ of an unknown form at {found.string.strip()}")
    value = variables.get(name, "")
    if not value and sign == "?":
        raise Unset(f"{name}: {text}")
    return value or (text if sign == "-" else "")
