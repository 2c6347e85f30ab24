"""Settings in files: `.env` beside the commands, which may hold secrets, and secrets in files of their own.

`NAME_FILE` names a secret setting's file, as orchestrators hand it over (`/run/secrets/...`).
"""

import io
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

ENV_FILE = Path(".env")
_READ_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH


class UnreadableFile(Exception):
    """The file cannot be read as settings; the text says why, and what to do, and nothing of what is in the file."""


@dataclass(frozen=True, slots=True)
class EnvFile:
    """What the file says. `values`: name as typed -> value; None where there is no `=`. `doubts`: what may be wrong, in words."""

    values: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    doubts: tuple[str, ...] = ()


def read_env_file(path: Path) -> EnvFile:
    """What is in it; nothing where there is no such file. It is read once: it may be a pipe. Raises: UnreadableFile."""
    try:
        if not path.exists() or path.is_dir():  # a folder of this name is a virtual environment of Python's
            return EnvFile()
        content = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        raise UnreadableFile(f"{path}: it cannot be read: {error.strerror}") from None
    lines = list(parse_stream(io.StringIO(_decoded(path, content))))
    # Of those that are no settings we tell ourselves: the library would, without the name of the file.
    text = "".join(line.original.string for line in lines if not line.error)
    values = dotenv_values(stream=io.StringIO(text))
    return EnvFile(values, (*_unread(path, lines), *_open_to_others(path, mode, values)))


def _decoded(path: Path, content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        raise UnreadableFile(f"{path}: expected text in UTF-8, got UTF-16: save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + content[: error.start].count(b"\n")
        raise UnreadableFile(
            f"{path}, line {line}: expected text in UTF-8, got other bytes: save it as UTF-8"
        ) from None


def _unread(path: Path, lines: list[Binding]) -> list[str]:
    # Never the line itself: it may hold a secret.
    return [
        f"{path}, line {line.original.line}: expected NAME=value, got another text, which is ignored"
        for line in lines
        if line.error
    ]


def _open_to_others(path: Path, mode: int, values: Mapping[str, str | None]) -> list[str]:
    is_open = os.name == "posix" and stat.S_ISREG(mode) and mode & _READ_BY_OTHERS and any(values.values())
    return (
        [f"{path}: its mode {stat.S_IMODE(mode):o} lets others read what is in it; run chmod 600 {path}"]
        if is_open
        else []
    )


SUFFIX = "_FILE"
MOST_BYTES = 65_536


def read_secret_files(
    secrets: Iterable[str], places: Iterable[Mapping[str, str | None]]
) -> tuple[dict[str, str], list[str]]:
    """Secret setting -> what its file says, and what is wrong with files, a line for each. No content is in a line.

    `secrets`: names as the settings' fields. `places`: name -> value, the one that goes first first; who sets a secret in one way
    in one place has set it, whatever a later place says.
    """
    values: dict[str, str] = {}
    problems: list[str] = []
    named = [{name.upper(): value for name, value in place.items() if value} for place in places]
    for secret in secrets:
        name = secret.upper()
        place = next((place for place in named if name in place or name + SUFFIX in place), {})
        path = place.get(name + SUFFIX)
        if path is None:
            continue
        if name in place:
            problems.append(f"{name} and {name}{SUFFIX} are both set: set one of them")
            continue
        try:
            values[secret] = _read(Path(path))
        except UnreadableFile as error:
            problems.append(f"{name}{SUFFIX}: {path}: {error}")
    return values, problems


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UnreadableFile(f"it cannot be read: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise UnreadableFile(f"expected a secret of at most {MOST_BYTES} bytes, got more")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableFile("expected text in UTF-8, got other bytes") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise UnreadableFile("it is empty")
    return text
