"""The Cyclr of the stories: accounts by the hundred, a connector with an API key, one that customers authorise."""

import csv
from collections.abc import Iterable
from pathlib import Path

from worker.simulator.catalogue import Parameter, method
from worker.simulator.faults import refused
from worker.simulator.world import World

CREDENTIALS = ("partner-1", "partner-secret-9f3b62")
MAIL, CRM = "Northwind Mail", "Harbour CRM"
COLUMNS = ("account_id", "connector", "api_key", "property.Region", "property.WebhookSecret", "reference")
SUSPENDED = "The account is suspended until its invoice is paid."


def story_world() -> World:
    world = World(credentials={CREDENTIALS[0]: CREDENTIALS[1]})
    region = Parameter(1, "Region", "Data region", choices=("EU", "US"))
    secret = Parameter(2, "WebhookSecret", "Signing secret", is_sensitive=True)
    world.add_connector(MAIL, "3.0", methods=[method("ApiKey", seed="stories")], parameters=[region, secret])
    world.add_connector(
        CRM, "v1", methods=[method("OAuth2", seed="stories", oauth2_type="AuthorisationCode")]
    )
    world.add_account("somebody")
    world.faults.latency_s = (0.02, 0.05)
    return world


def add_accounts(world: World, account_ids: Iterable[str]) -> None:
    for account_id in account_ids:
        world.add_account(account_id)


def suspend(world: World, account_ids: Iterable[str]) -> None:
    """Cyclr refuses installs into these."""
    for account_id in account_ids:
        world.faults.add(refused(403, SUSPENDED), call="install", account_id=account_id)


def ids(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:03}" for number in range(1, count + 1)]


def secrets_of(account_ids: Iterable[str]) -> set[str]:
    return {secret for each in account_ids for secret in (f"key-of-{each}-5f1c", f"whsec-of-{each}-77ab")}


def write_file(path: Path, account_ids: Iterable[str], *, connector: str = MAIL) -> Path:
    """A CSV with a credential and a secret setting for each account; an OAuth connector needs neither."""
    with path.open("w", newline="", encoding="utf-8") as out:
        lines = csv.writer(out)
        lines.writerow(COLUMNS)
        for number, each in enumerate(account_ids, start=1):
            own = ["", "", ""] if connector == CRM else [f"key-of-{each}-5f1c", "EU", f"whsec-of-{each}-77ab"]
            lines.writerow([each, connector, *own, f"order-{40_000 + number}"])
    return path
