"""What others called their files, columns and connectors is shown at a terminal, and never obeyed by it."""

import ast
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.processes.commands import Terminal
from tests.end_to_end.processes.site import CLIENT_ID, CLIENT_SECRET, CONNECTOR, Site
from worker.cli.terminal import LastingStream, say, tell, visible, visible_line
from worker.simulator.catalogue import Parameter, method
from worker.simulator.server import SimulatorThread
from worker.simulator.world import World

CLI = Path(__file__).parents[2] / "worker" / "cli"
TITLE = "\x1b]0;owned\x07"
CLEAR = "\x1b[2J\x1b[1;1H"
TURNED = "\u202egpj.exe\u2066"
HOSTILE = f"Mail{TITLE}{CLEAR}{TURNED}\x9b31m\x7f\u200b\u2028end"
SHOWN = r"Mail\u001b]0;owned\u0007\u001b[2J\u001b[1;1H\u202egpj.exe\u2066\u009b31m\u007f\u200b\u2028end"
# What no text of others may bring to a terminal: all controls but tab, newline and carriage return, and what turns a line.
OBEYED = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, and ünïcode 漢字 😀\t\n", "plain, and ünïcode 漢字 😀\t\n"),
        (HOSTILE, SHOWN),
        ("a\rb", r"a\u000db"),
        ("\0\x08\x0b\x0c\x1f", r"\u0000\u0008\u000b\u000c\u001f"),
        ("\x80\x85\x9d\xad", r"\u0080\u0085\u009d\u00ad"),
        ("\u061c\u200e\u200f\u202a\u202b\u202c\u202d", r"\u061c\u200e\u200f\u202a\u202b\u202c\u202d"),
        ("\u2066\u2067\u2068\u2069\u2060\ufeff", r"\u2066\u2067\u2068\u2069\u2060\ufeff"),
        ("\u2029\u3164\ud800", r"\u2029\u3164\ud800"),
        ("\U000e0041", r"\udb40\udc41"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert OBEYED.search(shown) is None


def test_a_name_cannot_make_a_line_of_its_own() -> None:
    assert visible_line("a\nAll 5 rows installed.") == r"a\nAll 5 rows installed."


def test_what_is_said_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("connector a\nAll rows are installed.")
    tell("connector b\nAll rows are installed.")
    out, err = capsys.readouterr()
    assert (out, err) == (
        "connector b\\nAll rows are installed.\n",
        "connector a\\nAll rows are installed.\n",
    )


def test_json_says_the_same_after_it() -> None:
    value = {HOSTILE: [HOSTILE, "\n\t\r\\u001b", "\U000e0041"]}
    shown = visible(json.dumps(value, ensure_ascii=False, indent=2))
    assert OBEYED.search(shown) is None
    assert json.loads(shown) == value


def test_whatever_is_written_to_a_stream_of_the_command_is_made_visible() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, encoding="utf-8") as read:
        lasting: Any = LastingStream(stream)
        assert lasting.write(f"{HOSTILE}\n") == len(HOSTILE) + 1
        lasting.flush()
        assert read.readline() == f"{SHOWN}\n"
        # Nothing can be written past it, by click neither.
        assert not hasattr(lasting, "buffer")


def test_no_command_writes_past_the_one_place() -> None:
    """All goes through `say`, `tell`, `tell_json` and `write_data`, or through the streams' own `write`, which cleans too."""
    found: list[str] = []
    for path in sorted(CLI.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("print", "Console") or called.endswith(
                    (".echo", ".secho", ".prompt", ".confirm", ".write_as_it_is", ".buffer.write", "os.write")
                ):
                    found.append(f"{path.name}: {called}({', '.join(k.arg or '' for k in node.keywords)})")
            elif isinstance(node, ast.Attribute) and ast.unparse(node) in (
                "sys.__stdout__",
                "sys.__stderr__",
                "sys.stdout.buffer",
                "sys.stderr.buffer",
            ):
                found.append(f"{path.name}: {ast.unparse(node)}")
    # The bar and the line of what goes on, whose texts are made visible where they are put in.
    assert found == [
        "terminal.py: self.write_as_it_is()",
        "watching.py: Console(file)",
        "watching.py: Console(file, highlight)",
    ]


def hostile_world() -> World:
    world = World(credentials={CLIENT_ID: CLIENT_SECRET})
    world.add_account("acme")
    world.add_connector(CONNECTOR, "3.0", methods=[method("ApiKey", seed="mail")])
    world.add_connector(
        HOSTILE,
        version=f"1{CLEAR}",
        methods=[method("ApiKey", seed="hostile", name=f"Key{TITLE}")],
        parameters=[Parameter(41, f"Region{TURNED}", f"Region{TITLE}", choices=(f"EU{CLEAR}",))],
    )
    return world


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with SimulatorThread(hostile_world()) as simulator:
        yield Site(tmp_path_factory.mktemp("hostile"), simulator)


def at_terminal(site: Site, *arguments: str) -> str:
    """What comes on the screen of a terminal."""
    line = shlex.join([sys.executable, "-m", "worker.cli", *arguments])
    terminal = Terminal(line, env=site.environment(), folder=site.folder)
    terminal.wait()
    return terminal.screen


def lines_of(screen: str) -> str:
    """The screen without what the command's own bar and cursor are made of; nothing else of a terminal may be left."""
    own = re.sub(r"\x1b\[(?:\?25[lh]|[0-9;]*[mKAGJ])", "", screen)
    assert OBEYED.search(own) is None, own
    assert "\x1b" not in own, own
    return own


def test_the_catalogue_is_shown(site: Site) -> None:
    screen = at_terminal(site, "connectors")
    assert TITLE not in screen
    text = lines_of(screen).replace("\r\n", "")
    assert SHOWN in text
    assert r"Region\u202egpj.exe\u2066" in text


def test_the_catalogue_as_json_has_the_values_themselves(site: Site) -> None:
    command = site.start("connectors", "--json")
    assert command.wait() == 0
    assert OBEYED.search(command.out) is None
    assert HOSTILE in [connector["name"] for connector in json.loads(command.out)]


def test_a_template_is_data_for_a_file_and_shown_to_a_person(site: Site) -> None:
    screen = at_terminal(site, "template", HOSTILE)
    assert r"Region\u202egpj.exe\u2066" in lines_of(screen).replace("\r\n", "")
    command = site.start("template", HOSTILE)
    assert command.wait() == 0
    assert f"property.Region{TURNED}" in command.out


def test_a_file_and_its_columns_are_shown(site: Site) -> None:
    path = site.folder / f"acc{TURNED}\x1b[2J\nounts.csv"
    column = f"no{CLEAR}te"
    path.write_text(
        f'account_id,connector,"{column}","a\nb"\nacme,"{HOSTILE}x",1,2\nnowhere{CLEAR},Northwind Mail,1,2\n',
        encoding="utf-8",
    )
    for arguments in (("check", path.name), ("run", path.name, "--yes"), ("check", f"gone{CLEAR}.csv")):
        text = lines_of(at_terminal(site, *arguments)).replace("\r\n", "")
        assert r"\u001b[2J" in text, text


def test_an_argument_that_is_wrong_is_shown(site: Site) -> None:
    for arguments in (
        (f"no{CLEAR}such",),
        ("status", f"{TITLE}"),
        ("run", "a.csv", f"--no{TITLE}"),
        ("check", "a.csv", "--as-written", HOSTILE),
        ("simulator", "--port", "0", "--host", f"a{CLEAR}{TURNED}"),
        ("serve", "--port", "0", "--host", f"a{CLEAR}{TURNED}"),
    ):
        text = lines_of(at_terminal(site, *arguments))
        assert "Traceback" not in text, text
        assert r"u001b" in text or "x1b" in text, (arguments, text)


def test_a_job_is_shown_by_the_name_that_somebody_gave_its_file(site: Site) -> None:
    name = f"acc{CLEAR}{TURNED}.csv"
    (site.folder / name).write_text(
        "account_id,connector,api_key\nacme,Northwind Mail,key\n", encoding="utf-8"
    )
    screen = at_terminal(site, "run", name, "--yes")
    assert r"\u202egpj.exe" in lines_of(screen)
    for arguments in (("jobs",), ("status", str(site.jobs()[0].id))):
        assert r"\u202egpj.exe" in lines_of(at_terminal(site, *arguments)).replace("\r\n", "")
