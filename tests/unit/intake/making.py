"""Sources from text in memory, a catalogue of three connectors, and a memory that is a dictionary."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from worker.domain.connectors import AuthMethod, Connector, ConnectorRef, Parameter
from worker.domain.options import RunOptions
from worker.domain.rows import StoredRow
from worker.domain.targets import KnownTarget
from worker.intake import (
    AskedAccounts,
    Findings,
    Source,
    StoredAt,
    Unreadable,
    iter_plan,
    read_source,
    survey,
)

PATH = Path("accounts.csv")


def source(content: str | bytes) -> Source:
    data = content.encode() if isinstance(content, str) else content
    return read_source(PATH, lambda: io.BytesIO(data))


def faults(content: str | bytes) -> list[str]:
    try:
        source(content)
    except Unreadable as error:
        return [str(problem) for problem in error.problems]
    return []


KEY = AuthMethod("11111111-1111-1111-1111-111111111111", "API key", "ApiKey")
LOGIN = AuthMethod("22222222-2222-2222-2222-222222222222", "Login", "Basic")
OAUTH = AuthMethod("33333333-3333-3333-3333-333333333333", "Sign in", "OAuth2", "AuthorisationCode")

MAILCHIMP = Connector(
    release_id=7,
    name="MailChimp",
    version=None,
    status="Approved",
    methods=(KEY,),
    parameters=(
        Parameter(1, "Dc", "Data centre", True, False, True, ("us1", "us2")),
        Parameter(2, "Pin", "PIN", True, True, True, ("1", "2")),
        Parameter(3, "EndpointUrl", "Endpoint", False, False, True),
    ),
)
DESK = Connector(
    release_id=8,
    name="Desk",
    version="v2",
    status="Approved",
    methods=(KEY, LOGIN),
    parameters=(Parameter(4, "Subdomain", "Subdomain", True, False, False),),
)
BOOKS = Connector(release_id=9, name="Books", version=None, status="Approved", methods=(OAUTH,))

CATALOGUE = {
    ConnectorRef("MailChimp"): MAILCHIMP,
    ConnectorRef("7"): MAILCHIMP,
    ConnectorRef("Desk"): DESK,
    ConnectorRef("Books"): BOOKS,
    ConnectorRef("Nope"): "Cyclr has no connector 'Nope'",
}


@dataclass
class Remembered:
    """A memory with what it is given; it counts how often it was asked."""

    known: dict[str, KnownTarget] = field(default_factory=dict)
    rows: dict[StoredAt, StoredRow | None] = field(default_factory=dict)
    named: dict[tuple[str, str], int] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    def targets(self, keys: Sequence[str]) -> Mapping[str, KnownTarget]:
        self.asked.append(len(keys))
        return {key: self.known[key] for key in keys if key in self.known}

    def stored_rows(self, rows: Sequence[StoredAt]) -> Mapping[StoredAt, StoredRow | None]:
        return {row: self.rows[row] for row in rows if row in self.rows}

    def namesakes(self, targets: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], int]:
        return {each: self.named[each] for each in targets if each in self.named}


def stored(
    account_id="acme", name="MailChimp", secrets=None, *, key="MailChimp", version=None, instance="i1"
):
    """What is kept of a row."""
    return StoredRow(instance, account_id, name, key, ("MailChimp" if key == "7" else key, version), secrets)


OPTIONS = RunOptions()


def plan(
    content,
    *,
    options=OPTIONS,
    catalogue=CATALOGUE,
    missing=frozenset(),
    asked=None,
    memory=None,
    findings=None,
):
    opened = source(content)
    return list(
        iter_plan(
            opened,
            options,
            instance_id="i1",
            survey=survey(opened, options),
            catalogue=catalogue,
            accounts=AskedAccounts(missing) if asked is None else asked,
            memory=Remembered() if memory is None else memory,
            findings=Findings() if findings is None else findings,
        )
    )


def reasons(content, **how) -> list[str]:
    findings = Findings()
    plan(content, findings=findings, **how)
    return [str(problem) for problem in findings.problems]


def warnings(content, **how) -> list[str]:
    findings = Findings()
    plan(content, findings=findings, **how)
    return [str(warning) for warning in findings.warnings]
