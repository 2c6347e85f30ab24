"""The demo's Cyclr and the file that goes with it: made up, and the same for the same seed.

Of every hundred rows about 6 fail at Cyclr for good, 4 find their connector there just as they ask, and 6 name an
account that is to be created. A small share of the calls fails for a moment.

A world whose accounts were made template first is asked for with `is_template_first`, of `sample_world` and of
`sample_csv` alike (`cyclr-bulk simulator --sample N --template-first`). In it 30 of every hundred rows find their
connector under its default Name, unauthenticated and with no properties, 3 find it under another Name, and 3 with an
old key beside the right properties.
"""

import base64
import csv
import io
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from worker.simulator.catalogue import Parameter, Release, method
from worker.simulator.faults import refused, server_error, throttled
from worker.simulator.world import Install, World

FAIL_SHARE, PRESENT_SHARE, NEW_SHARE = 0.06, 0.04, 0.06
UNFILLED_SHARE, OTHER_NAME_SHARE, OLD_KEY_SHARE = 0.30, 0.03, 0.03
OLD_KEY = "made-up-earlier"

MAIL, LEDGER, PARCELS, CRM = "Northwind Mail", "Tidewater Ledger", "Parcel Lane", "Harbour CRM"
BASIC = "Username and password"

COLUMNS = (
    "account_id", "account_name", "connector", "authentication", "api_key", "username", "password",
    "property.Region", "property.WebhookSecret", "property.Subdomain", "reference",
)  # fmt: skip

FIRST_WORDS = ("Amber", "Birch", "Cobalt", "Delta", "Elm", "Falcon", "Granite", "Hazel", "Indigo", "Juniper")
SECOND_WORDS = (
    "Bakery",
    "Clinics",
    "Freight",
    "Gardens",
    "Hotels",
    "Legal",
    "Outfitters",
    "Studios",
    "Tools",
)
REGIONS = ("EU", "US", "APAC")


class Fate(Enum):
    """What is in store for a row at Cyclr."""

    PLAIN = auto()
    PRESENT = auto()
    TO_CREATE = auto()
    UNFILLED = auto()
    OTHER_NAME = auto()
    WITH_OLD_KEY = auto()
    PLAN_LIMIT = auto()
    REGION_CLOSED = auto()
    NAME_TAKEN = auto()
    SUSPENDED = auto()


FAILURES = (Fate.PLAN_LIMIT, Fate.REGION_CLOSED, Fate.NAME_TAKEN, Fate.SUSPENDED)

REFUSALS = {
    Fate.PLAN_LIMIT: refused(
        403, "The plan of this account includes 3 connectors and all of them are in use."
    ),
    Fate.REGION_CLOSED: refused(400, "This connector is not available in the region of this account."),
    Fate.SUSPENDED: refused(403, "The account is suspended until its invoice is paid."),
}


class Credentials(NamedTuple):
    client_id: str
    client_secret: str


@dataclass(frozen=True, slots=True)
class SampleRow:
    account_id: str
    account_name: str
    connector: str
    fate: Fate
    cells: dict[str, str]


def sample_credentials(seed: int = 1) -> Credentials:
    """The partner's client id and secret that a sample world accepts."""
    dice = random.Random(f"credentials {seed}")
    return Credentials(f"{dice.getrandbits(128):032x}", f"{dice.getrandbits(256):064x}")


def sample_world(
    accounts: int = 500, seed: int = 1, *, is_flaky: bool = True, is_template_first: bool = False
) -> World:
    """A Cyclr that holds the accounts, catalogue, installed connectors and faults that `sample_csv` expects.

    `is_flaky`: whether calls take time, and a few of them fail for a moment. `is_template_first`: whether many accounts
    hold their connector already, as templates leave it.
    """
    credentials = sample_credentials(seed)
    world = World(credentials={credentials.client_id: credentials.client_secret})
    releases = _add_catalogue(world)
    for row in _rows(accounts, seed, is_template_first=is_template_first):
        if row.fate is not Fate.TO_CREATE:
            world.add_account(row.account_id, row.account_name)
        if (there := _what_is_there(row)) is not None:
            world.add_installed(row.account_id, releases[row.connector], there)
        if row.fate is Fate.NAME_TAKEN:
            other = releases[LEDGER if row.connector != LEDGER else MAIL]
            world.add_installed(row.account_id, other, Install(name=row.connector, auth_value="made-up"))
        if row.fate in REFUSALS:
            world.faults.add(REFUSALS[row.fate], call="install", account_id=row.account_id)
    if is_flaky:
        _add_passing_faults(world, seed)
    return world


def sample_csv(accounts: int = 500, seed: int = 1, *, is_template_first: bool = False) -> str:
    """The file of the demo: one row per account, connectors with an API key, Basic, OAuth, and one with two methods."""
    out = io.StringIO()
    lines = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    lines.writeheader()
    for row in _rows(accounts, seed, is_template_first=is_template_first):
        # An account_name asks for the account to be created where it is missing.
        name = row.account_name if row.fate is Fate.TO_CREATE else ""
        lines.writerow({"account_id": row.account_id, "account_name": name, **row.cells})
    return out.getvalue()


def _add_catalogue(world: World) -> dict[str, Release]:
    api_key, basic = method("ApiKey", seed="sample"), method("Basic", seed="sample", name=BASIC)
    oauth = method("OAuth2", seed="sample", oauth2_type="AuthorisationCode")
    mail_parameters = (
        Parameter(1, "Region", "Data region", is_optional=False, choices=REGIONS),
        Parameter(2, "WebhookSecret", "Webhook signing secret", is_sensitive=True),
        Parameter(3, "EndpointUrl", "Endpoint URL", is_account_property=False),
    )
    subdomain = Parameter(4, "Subdomain", "Subdomain", is_optional=False)
    add = world.add_connector
    add("Beacon Chat", "0.1", methods=[api_key], status="Draft", categories=["Messaging"])
    return {
        MAIL: add(MAIL, "3.0", methods=[api_key], parameters=mail_parameters, categories=["Email"]),
        LEDGER: add(LEDGER, "v2", methods=[basic], parameters=[subdomain], categories=["Accounting"]),
        PARCELS: add(PARCELS, "1.4", methods=[api_key, basic], categories=["Shipping"]),
        CRM: add(CRM, "v1", methods=[oauth], categories=["CRMs"]),
    }


def _add_passing_faults(world: World, seed: int) -> None:
    world.faults.latency_s = (0.04, 0.08)
    world.faults.add(server_error(500), call="install", share=0.01, seed=seed)
    world.faults.add(server_error(500, after_effect=True), call="install", share=0.005, seed=seed + 1)
    world.faults.add(throttled(1), call="install", share=0.01, count=1, seed=seed + 2)


def _rows(accounts: int, seed: int, *, is_template_first: bool) -> list[SampleRow]:
    dice = random.Random(seed)
    fates = _fates(accounts, dice, is_template_first=is_template_first)
    connectors = dice.choices((MAIL, LEDGER, PARCELS, CRM), weights=(40, 25, 20, 15), k=accounts)
    return [
        _row(number, connector, fate, dice)
        for number, (connector, fate) in enumerate(zip(connectors, fates, strict=True), start=1)
    ]


def _fates(accounts: int, dice: random.Random, *, is_template_first: bool) -> Sequence[Fate]:
    failing = [FAILURES[n % len(FAILURES)] for n in range(int(accounts * FAIL_SHARE))]
    special = failing + [Fate.PRESENT] * int(accounts * PRESENT_SHARE)
    special += [Fate.TO_CREATE] * int(accounts * NEW_SHARE)
    if is_template_first:
        special += [Fate.UNFILLED] * int(accounts * UNFILLED_SHARE)
        special += [Fate.OTHER_NAME] * int(accounts * OTHER_NAME_SHARE)
        special += [Fate.WITH_OLD_KEY] * int(accounts * OLD_KEY_SHARE)
    fates = special + [Fate.PLAIN] * (accounts - len(special))
    dice.shuffle(fates)
    return fates


def _row(number: int, connector: str, fate: Fate, dice: random.Random) -> SampleRow:
    name = f"{dice.choice(FIRST_WORDS)} {dice.choice(SECOND_WORDS)} {number}"
    cells = {"connector": connector, "reference": f"order-{40_000 + number}", **_credential(connector, dice)}
    if connector == MAIL:
        cells["property.Region"] = dice.choice(REGIONS)
        cells["property.WebhookSecret"] = f"whsec-{dice.getrandbits(64):016x}"
    if connector == LEDGER:
        cells["property.Subdomain"] = name.lower().replace(" ", "-")
    return SampleRow(f"customer-{number:04d}", name, connector, fate, cells)


def _credential(connector: str, dice: random.Random) -> dict[str, str]:
    key = {"api_key": f"key-{dice.getrandbits(96):024x}"}
    login = {"username": f"svc-{dice.getrandbits(24):06x}", "password": f"pw-{dice.getrandbits(64):016x}"}
    if connector == PARCELS:
        return (
            {"authentication": "ApiKey", **key} if dice.random() < 0.5 else {"authentication": BASIC, **login}
        )
    return {MAIL: key, LEDGER: login}.get(connector, {})


def _what_is_there(row: SampleRow) -> Install | None:
    """What the row's account holds of the row's connector from the start."""
    properties = [
        (column.removeprefix("property."), value)
        for column, value in row.cells.items()
        if column.startswith("property.")
    ]
    match row.fate:
        case Fate.PRESENT:
            return Install(auth_value=_auth_value(row.cells), properties=properties)
        case Fate.WITH_OLD_KEY:
            # Where the customer authorises there is no key: then it waits, as a template leaves it.
            return Install(auth_value=_auth_value(row.cells) and OLD_KEY, properties=properties)
        case Fate.UNFILLED:
            return Install()
        case Fate.OTHER_NAME:
            return Install(name=f"{row.connector} 2")
    return None


def _auth_value(cells: Mapping[str, str]) -> str | None:
    """What the row's credential is sent as."""
    if "username" in cells:
        return base64.b64encode(f"{cells['username']}:{cells['password']}".encode()).decode()
    return cells.get("api_key")
