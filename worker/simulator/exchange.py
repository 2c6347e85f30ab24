"""What is asked of the stand-in and what it answers: a request as read, a reply before it is written."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from worker.simulator.binding import Fields, Unbindable, bind

JSON = "application/json"
HTML = "text/html"

DENIED = "Authorization has been denied for this request."


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before it is written: `body` is the whole text."""

    status: int
    body: str
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """Cyclr says no: a status and its Message. `body` is what is sent instead of `{"Message": ...}`."""

    def __init__(self, status: int, message: str, *, body: str | None = None) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.body = compact({"Message": message}) if body is None else body

    def reply(self) -> Reply:
        return Reply(self.status, self.body)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read whole.

    `path`: the parts of the path by name, decoded. `query`: by name, in lower case. `header_account_id`: X-Cyclr-Account.
    """

    path: Mapping[str, str]
    query: Mapping[str, str]
    authorization: str = field(repr=False)
    header_account_id: str
    body: bytes = field(repr=False)
    bound: Fields | Unbindable | None = field(repr=False)

    @classmethod
    def read(
        cls, path: Mapping[str, str], query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> "Asked":
        authorization, account_id = headers.get("Authorization", ""), headers.get("X-Cyclr-Account", "")
        lowered = {name.lower(): value for name, value in query.items()}
        return cls(path, lowered, authorization, account_id, body, _bound(body))

    @property
    def fields(self) -> Fields:
        """The JSON object of the body; an empty body or `null` is an empty one. Raises: `Refused` 400 [inferred]."""
        if isinstance(self.bound, Unbindable):
            raise Refused(400, "The request is invalid.")
        return self.bound or Fields({})

    @property
    def is_null(self) -> bool:
        """Whether the body is the four letters `null`."""
        return self.bound is None

    def find_text(self, name: str) -> str | None:
        """A text of the body; None where there is none or the body does not bind."""
        try:
            return self.bound.text(name) if isinstance(self.bound, Fields) else None
        except Unbindable:
            return None


def compact(value: Any) -> str:
    """JSON as Cyclr writes it: no space between its parts, letters as they are. Source: reference section 1 [live-test]."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def found(value: Any) -> Reply:
    """200 with a value as JSON: success is 200 for creates and deletes too. Source: reference section 1."""
    return Reply(200, compact(value))


def is_guid(text: str) -> bool:
    """Whether it has the form of a GUID. One that has not is 400 in a path, another one that is unknown 404 [live-test]."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def round_trip(timestamp: float) -> str:
    """A time as .NET writes it, with 7 fraction digits: `2017-12-06T15:54:06.6440350Z`."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def _bound(body: bytes) -> Fields | Unbindable | None:
    try:
        return bind(body)
    except Unbindable as error:
        return error
