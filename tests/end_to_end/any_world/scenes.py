"""What there may be: accounts and what they hold, a file, a command with its options, how this Cyclr behaves, what fails.

Few values, so that what is there and what a row asks are often the same, often other, often missing.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from worker.simulator import faults
from worker.simulator.catalogue import Parameter, method
from worker.simulator.faults import Fault
from worker.simulator.world import World

MAIL, CRM, DESK = "Northwind Mail", "Harbour CRM", "Lighthouse Desk"
CONNECTORS = (MAIL, CRM, DESK)
ACCOUNTS = ("acme", "globex", "initech", "umbrella")
NEW_ACCOUNT = "stark"

KEYS = ("key-first-1f0c93aa", "key-second-77de21bb")
THEIR_KEY = "key-theirs-40b1c7cc"  # in no file
SIGNING = ("whsec-first-9d2e51", "whsec-second-c04f77")
APP_SECRETS = ("app-secret-first-5e77a1", "app-secret-second-0b93d2")
PASSWORD = "correct-horse-81c2"
TOKENS = ("access-first-aa31f0", "access-second-be7720")
REFRESH = "refresh-first-61d9e4"


def basic(username: str, password: str) -> str:
    return base64.b64encode(f"{username}:{password}".encode()).decode()


def living(access_token: str, refresh_token: str) -> str:
    return json.dumps({"AccessToken": access_token, "RefreshToken": refresh_token})


BASIC = basic("desk-user", PASSWORD)
SECRETS = frozenset({*KEYS, THEIR_KEY, *SIGNING, *APP_SECRETS, PASSWORD, BASIC, *TOKENS, REFRESH})

# Of each connector: the credential columns that a row may fill, with the AuthValue that they make.
CREDENTIALS: Mapping[str, tuple[tuple[Mapping[str, str], str], ...]] = {
    MAIL: tuple(({"api_key": key}, key) for key in KEYS),
    CRM: tuple(
        ({"access_token": token, "refresh_token": REFRESH}, living(token, REFRESH)) for token in TOKENS
    ),
    DESK: (
        ({"authentication": "ApiKey", "api_key": KEYS[0]}, KEYS[0]),
        ({"authentication": "Basic", "username": "desk-user", "password": PASSWORD}, BASIC),
    ),
}
# What may be there instead: of a customer, of an admin, of the version before.
THERE: Mapping[str, tuple[str, ...]] = {
    MAIL: (KEYS[0], KEYS[1], THEIR_KEY),
    CRM: (living(TOKENS[0], REFRESH), living(THEIR_KEY, REFRESH)),
    DESK: (KEYS[0], BASIC, THEIR_KEY),
}
PROPERTIES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    MAIL: {
        "Region": ("EU", "US"),
        "WebhookSecret": SIGNING,
        "Sandbox": ("true", "False", "true"),
        "Hosts": ('{"a": 1, "b": [2]}', '{"b": [2], "a": 1}', '{"a": 2}'),
    },
    CRM: {"ClientId": ("app-one", "app-two"), "ClientSecret": APP_SECRETS},
    DESK: {"Subdomain": ("north", "south")},
}
# The same, as Cyclr or a person may have written it.
SAME: Mapping[str, str] = {
    "true": "True",
    "False": "false",
    "EU": " EU ",
    '{"a": 1, "b": [2]}': '{"a":1,"b":[2]}',
}
SENSITIVE = frozenset({"WebhookSecret"})


@dataclass(frozen=True)
class Thing:
    """An account connector that is there. `is_authorised`: by its customer, on a page."""

    connector: str
    name: str
    auth_value: str | None = None
    is_authorised: bool = False
    description: str | None = None
    properties: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """A row. `credential`: its columns; `auth_value`: what they make, None where it has no credential. `cell`: what stands in
    the column name, empty for the connector's own."""

    account: str
    connector: str
    cell: str
    credential: Mapping[str, str]
    auth_value: str | None
    properties: Mapping[str, str]
    description: str
    account_name: str = ""

    @property
    def name(self) -> str:
        return self.cell or self.connector

    @property
    def is_living(self) -> bool:
        return "access_token" in self.credential

    @property
    def credential_columns(self) -> frozenset[str]:
        return frozenset(self.credential) - {"authentication"}

    def cells(self, account_id: str) -> dict[str, str]:
        given = {
            "account_id": account_id,
            "account_name": self.account_name,
            "connector": self.connector,
            "name": self.cell,
            "description": self.description,
            **self.credential,
            **{f"property.{name}": value for name, value in self.properties.items()},
        }
        return {column: value for column, value in given.items() if value or column == "account_id"}


@dataclass(frozen=True)
class Trouble:
    """A fault that befalls the first `count` calls of a kind in an account."""

    account: str
    call: str
    name: str
    count: int

    @property
    def fault(self) -> Fault:
        return FAULTS[self.name]


@dataclass(frozen=True)
class Deed:
    """What an admin does in an account, just before its call number `nth` is answered."""

    account: str
    nth: int
    do: str
    choice: int


@dataclass(frozen=True)
class Scene:
    """`options`: of the command; those that are not named are left out."""

    things: Mapping[str, tuple[Thing, ...]]
    lines: tuple[Line, ...]
    operation: str
    options: frozenset[str]
    switches: Mapping[str, Any]
    troubles: tuple[Trouble, ...] = ()
    deeds: tuple[Deed, ...] = ()

    @property
    def may_overwrite(self) -> bool:
        return self.operation == "update" or "overwrite" in self.options

    @property
    def may_replace_tokens(self) -> bool:
        return self.may_overwrite and "replace_tokens" in self.options

    def names(self, account: str) -> frozenset[str]:
        """The Names that rows have in this account, without case."""
        return frozenset(line.name.lower() for line in self.lines if line.account == account)


def new_world(client_id: str, client_secret: str) -> World:
    """With these connectors, and no account."""
    world = World(credentials={client_id: client_secret})
    api_key = method("ApiKey", seed="any")
    world.add_connector(
        MAIL,
        "3.0",
        methods=[api_key],
        parameters=[
            Parameter(number, name, name, is_sensitive=name in SENSITIVE)
            for number, name in enumerate(PROPERTIES[MAIL], start=1)
        ],
    )
    world.add_connector(CRM, "v1", methods=[method("OAuth2", seed="any", oauth2_type="AuthorisationCode")])
    world.add_connector(
        DESK,
        "2",
        methods=[method("ApiKey", seed="desk"), method("Basic", seed="desk")],
        parameters=[Parameter(9, "Subdomain", "Subdomain")],
    )
    return world


# What fails. None of them is a silence: each would cost a whole deadline.
FAULTS: Mapping[str, Fault] = {
    "500 before": faults.server_error(500),
    "500 after": faults.server_error(500, after_effect=True),
    "reset before": faults.reset(),
    "reset after": faults.reset(after_effect=True),
    "cut": faults.cut_body(),
    "garbage": faults.garbage("{}"),
    "202 before": faults.other_success(202),
    "202 after": faults.other_success(202, after_effect=True),
    "late": faults.late_effect(0.03, status=504),
    "429": faults.throttled(0),
    "503 soon": faults.busy(0),
    "503 after": faults.busy(0, after_effect=True),
    "409": faults.refused(409, "Conflict."),
    "400": faults.refused(400, "No."),
    "403": faults.refused(403, "No."),
}
REFUSALS = ("400", "403")
CALLS = (
    "create_account", "install", "look", "account_connector", "change_account_connector", "change_property", "add_property",
)  # fmt: skip
DEEDS = (
    "set_property",
    "remove_property",
    "set_credential",
    "describe",
    "rename",
    "remove",
    "deauthenticate",
    "install",
)


def _some(values: Mapping[str, tuple[str, ...]]) -> st.SearchStrategy[dict[str, str]]:
    one_of_each = {name: st.sampled_from(choices) for name, choices in values.items()}
    return st.fixed_dictionaries({}, optional=one_of_each)


def _shown(connector: str) -> st.SearchStrategy[dict[str, str | None]]:
    """Properties as they may be there: as a row may ask, otherwise written, empty."""
    return st.fixed_dictionaries(
        {},
        optional={
            name: st.sampled_from([*choices, *(SAME[value] for value in choices if value in SAME), "", None])
            for name, choices in PROPERTIES[connector].items()
        },
    )


def _names(connector: str) -> list[str]:
    return [connector, connector, f"{connector} 2", connector.lower(), "Main"]


@st.composite
def _a_thing(draw: st.DrawFn) -> Thing:
    connector = draw(st.sampled_from(CONNECTORS))
    auth_value = draw(st.sampled_from([None, *THERE[connector]]))
    return Thing(
        connector,
        draw(st.sampled_from(_names(connector))),
        auth_value,
        is_authorised=connector == CRM and auth_value is None and draw(st.booleans()),
        description=draw(st.sampled_from([None, "", "ours", "theirs"])),
        properties=draw(_shown(connector)),
    )


@st.composite
def _a_line(
    draw: st.DrawFn, accounts: list[str], things: Mapping[str, tuple[Thing, ...]], operation: str
) -> Line:
    account = draw(st.sampled_from(accounts))
    connector = draw(st.sampled_from(CONNECTORS))
    cell = draw(st.sampled_from(["", "", f"{connector} 2", "Main"]))
    meets = things.get(account, ())
    if meets:
        thing = draw(st.sampled_from(meets))
        match draw(st.sampled_from(["it", "it", "it", "it", "its connector", "its name", "nothing"])):
            case "it":
                connector, cell = thing.connector, "" if thing.name == thing.connector else thing.name
            case "its connector":
                connector = thing.connector
            case "its name":
                cell = "" if thing.name == connector else thing.name
            case _:
                pass
    later: Mapping[str, str] = {"authentication": "later"}
    without = (later, None) if operation == "install" and connector != CRM else ({}, None)
    credential, auth_value = draw(st.sampled_from([without, *CREDENTIALS[connector]]))
    properties = draw(_some(PROPERTIES[connector]))
    description = draw(st.sampled_from(["", "", "ours"]))
    if operation == "update" and not (auth_value or properties or description):
        description = "ours"
    return Line(
        account,
        connector,
        cell,
        credential,
        auth_value,
        properties,
        description,
        "Stark Industries" if account == NEW_ACCOUNT else "",
    )


def _options(operation: str) -> st.SearchStrategy[frozenset[str]]:
    free = [st.sampled_from([(), (name,)]) for name in ("no_undo", "assume_method", "allow_undeclared")]
    if operation == "update":
        looking = st.sampled_from([(), ("replace_tokens",)])
    else:
        looking = st.sampled_from(
            [
                (),
                (),
                ("overwrite",),
                ("beside",),
                ("overwrite", "beside"),
                ("overwrite", "replace_tokens"),
                ("no_look",),
            ]
        )
    return st.tuples(looking, *free).map(lambda parts: frozenset(sum(parts, ()))).map(_that_go_together)


def _that_go_together(options: frozenset[str]) -> frozenset[str]:
    # What needs a look is a usage error beside --no-look.
    return options - {"assume_method"} if "no_look" in options else options


SWITCHES = st.fixed_dictionaries(
    {},
    optional={
        "name_check": st.booleans(),
        "total_pages": st.booleans(),
        "max_page_size": st.sampled_from([1, 2]),
        "put_properties": st.just("replace"),
        "same_property": st.sampled_from(["duplicate", "refuse"]),
        "masks_auth_value": st.sampled_from(["in_reads", "always"]),
        "masks_sensitive": st.sampled_from(["in_reads", "always"]),
        "lists_declared": st.sampled_from(["empty", "null"]),
        "normalises": st.booleans(),
        "refreshes_tokens": st.booleans(),
    },
)
TROUBLES = st.lists(
    st.builds(
        Trouble,
        st.sampled_from([*ACCOUNTS[:2], NEW_ACCOUNT]),
        st.sampled_from(CALLS),
        st.sampled_from([name for name in FAULTS for _ in range(1 if name in REFUSALS else 3)]),
        st.integers(1, 2),
    ),
    max_size=4,
)
ADMIN = st.lists(
    st.builds(
        Deed, st.sampled_from(ACCOUNTS[:3]), st.integers(1, 5), st.sampled_from(DEEDS), st.integers(0, 2)
    ),
    max_size=3,
)


@st.composite
def scenes(draw: st.DrawFn, *, with_trouble: bool) -> Scene:
    """Any. Where an admin is about, an account has one row at most, so that each look in it is of that row."""
    operation = draw(st.sampled_from(["install", "install", "update"]))
    accounts = list(ACCOUNTS[: draw(st.integers(1, 4))])
    things: dict[str, tuple[Thing, ...]] = {
        account: tuple(
            draw(
                st.lists(
                    _a_thing(),
                    min_size=draw(st.integers(0, 2)),
                    max_size=3,
                    unique_by=lambda thing: thing.name.lower(),
                )
            )
        )
        for account in accounts
    }
    targets = [*accounts, NEW_ACCOUNT] if operation == "install" else accounts
    lines = draw(
        st.lists(
            _a_line(targets, things, operation),
            min_size=1,
            max_size=6,
            unique_by=lambda line: (line.account, line.name.lower()),
        )
    )
    options = draw(_options(operation))
    switches = draw(SWITCHES)
    if "no_look" in options:
        # It is for accounts known to be empty: where Cyclr takes a Name twice, nothing else tells.
        switches = switches | {"name_check": True}
    deeds = tuple(draw(ADMIN)) if with_trouble else ()
    if deeds:
        watched = {deed.account for deed in deeds}
        first = {line.account: line for line in reversed(lines)}
        lines = [line for line in lines if line.account not in watched or first[line.account] is line]
        # Each look is one answer then, so that it shows what is there at one moment.
        switches = {name: value for name, value in switches.items() if "page" not in name}
    troubles = tuple(draw(TROUBLES)) if with_trouble else ()
    return Scene(things, tuple(lines), operation, options, switches, troubles, deeds)
