"""What a file holds: a row per line, or the problems why it is none."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from worker.domain.connectors import ConnectorRef

NOT_EXPORTED = "[not exported]"  # stands in a result file where a secret was; never sent, never means "none"

AUTH_COLUMNS = ("auth_value", "username", "password", "api_key", "access_token", "refresh_token", "expires")
SECRET_COLUMNS = ("auth_value", "username", "password", "api_key", "access_token", "refresh_token")
PROPERTY_PREFIX = "property."


Span = tuple[int, int]  # the first and the last of rows that follow each other


class Way(StrEnum):
    """What may be asked for beside a file, so that a problem of it is none. At a command it has another name than over HTTP."""

    ACCOUNT_IDS_AS_WRITTEN = "account_ids_as_written"
    VERSIONS_AS_WRITTEN = "versions_as_written"
    CONNECTOR_FOR_ALL = "connector_for_all"
    UNDECLARED = "undeclared"
    COLUMNS = "columns"


Ways = Mapping[Way, str]  # what each is called in one place, as the end of a sentence: "or run with ..."
NO_WAYS: Ways = {}


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Why a row (or, with `row_number` None, the whole file) was refused. Rows count as in a spreadsheet: header = 1.

    One that many rows have is told once: `count` is how many, `row_number` the first, `spans` the first of them all.
    `way`: what helps beside correcting the file; `reason` does not name it.
    """

    row_number: int | None
    column: str | None
    reason: str
    count: int = 1
    spans: tuple[Span, ...] = ()

    way: Way | None = field(default=None, compare=False)

    def told(self, ways: Ways) -> "Problem":
        """The same with the way on in its reason, by the name that it has where the problem is shown."""
        name = ways.get(self.way) if self.way else None
        return replace(self, reason=f"{self.reason}, {name}", way=None) if name else self

    @property
    def rows_in_words(self) -> str:
        """`14`, `2-51300`, `2-9, 12 and 1,200 more`; nothing where it is of the whole file."""
        if self.row_number is None:
            return ""
        spans = self.spans or ((self.row_number, self.row_number),)
        more = self.count - sum(last - first + 1 for first, last in spans)
        shown = ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in spans)
        return shown + (f" and {more:,} more" if more > 0 else "")

    def __str__(self) -> str:
        is_of_many = self.row_number is not None and self.count > 1
        where = [] if self.row_number is None else [f"row{'s' if is_of_many else ''} {self.rows_in_words}"]
        if self.column is not None:
            where.append(f"column {self.column}")
        many = f" ({self.count:,} rows)" if is_of_many else ""
        return f"{', '.join(where)}: {self.reason}{many}" if where else self.reason


@dataclass(frozen=True, slots=True, order=True)
class Warning_:  # noqa: N801 - `Warning` is Python's own
    """What may go wrong, though the row (or the file) is accepted. `count`, `spans`: as of a problem."""

    row_number: int | None
    column: str | None
    reason: str
    count: int = 1
    spans: tuple[Span, ...] = ()

    rows_in_words = Problem.rows_in_words
    __str__ = Problem.__str__


@dataclass(frozen=True, slots=True)
class NewAccount:
    """The account columns of a row: the account is created with these if it does not exist."""

    name: str
    description: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line as read, accepted by the rules that need nothing but the file.

    `cells`: every cell of the line in the file's column order, secrets replaced by `NOT_EXPORTED`.
    `secrets`: canonical column -> value, for the secret cells that are not empty (auth columns by name,
    `property.<TargetName>` for properties). `stored_at`: (job id, row number) of the item that this row is of, in a
    result file; that item has the secrets whose cell says `NOT_EXPORTED`. `cells_if_refused`: in place of `cells` where a
    later rule refuses the row, and it may hold a credential in a column that is shown; None where it holds none.
    """

    number: int
    account_id: str
    connector: ConnectorRef
    cells: tuple[str, ...]
    secrets: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    description: str | None = None
    authentication: str | None = None
    account: NewAccount | None = None
    reference: str | None = None
    stored_at: tuple[str, int] | None = None
    warnings: tuple[Warning_, ...] = ()
    cells_if_refused: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"Row(number={self.number})"


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row that the catalogue check accepted too: all that an item is made of.

    `name`: the account connector's Name as it will be sent. `authentication_id`: None means that none is sent.
    `must_look`: this target was tried before. `cells`: as in `Row`, with the values of properties that the
    catalogue calls not sensitive shown. `not_kept`: columns whose values nobody has any more, of a row that is known to be done
    and looked at again.
    """

    row: Row
    name: str
    target: str
    connector_key: str
    authentication_id: str | None
    cells: tuple[str, ...]
    secrets: Mapping[str, str]
    must_look: bool = False
    not_kept: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"PlannedRow(number={self.row.number})"


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A line that became no item. `cells` as in `Row`; `problems` is never empty.

    `row`: the line as far as it could be read, so that the rules that come later may add what they find.
    """

    number: int
    cells: tuple[str, ...]
    problems: tuple[Problem, ...]
    row: Row | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A line of a result file whose target is known to be done: it is left alone. `job_id`, `row_number`: that item."""

    number: int
    cells: tuple[str, ...]
    job_id: str
    row_number: int


@dataclass(frozen=True, slots=True)
class StoredRow:
    """An item that a row of a result file refers to. `secrets`: by column; None where they are no longer kept.

    `connector_key`: how its own file named the connector; `connector`: its name, and its version if it has one, as
    Cyclr gave them. `at`: its job and row, where the row was refused and referred to it; None where the row is this item.
    `item_id`: as of a `KnownTarget`.
    """

    instance_id: str
    account_id: str
    name: str
    connector_key: str
    connector: tuple[str, str | None]
    secrets: Mapping[str, str] | None
    at: tuple[str, int] | None = None
    item_id: int = field(default=0, compare=False)

    def __repr__(self) -> str:
        return "StoredRow()"


def auth_value(secrets: Mapping[str, str]) -> str | None:
    """The AuthValue that Cyclr documents for the credential columns of a row; None where there is no credential.

    Basic: base64 of `username:password` in UTF-8. OAuth with own tokens: a string of JSON with AccessToken,
    RefreshToken, Expires. Source: reference section 8.
    """
    if "auth_value" in secrets:
        return secrets["auth_value"]
    if "api_key" in secrets:
        return secrets["api_key"]
    if "username" in secrets or "password" in secrets:
        pair = f"{secrets.get('username', '')}:{secrets.get('password', '')}"
        return base64.b64encode(pair.encode()).decode()
    if "access_token" in secrets:
        tokens = {"AccessToken": secrets["access_token"]}
        if "refresh_token" in secrets:
            tokens["RefreshToken"] = secrets["refresh_token"]
        if "expires" in secrets:
            tokens["Expires"] = secrets["expires"]
        return json.dumps(tokens)
    return None


def properties(secrets: Mapping[str, str]) -> dict[str, str]:
    """TargetName -> value, from the `property.<TargetName>` entries of a row."""
    return {
        column.removeprefix(PROPERTY_PREFIX): value
        for column, value in secrets.items()
        if column.startswith(PROPERTY_PREFIX)
    }
