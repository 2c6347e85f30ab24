"""Bearer tokens and sign-in tokens. Source: reference sections 3 to 5."""

import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

from worker.simulator.exchange import DENIED, Refused, compact

TOKEN_LIFE_S = 1_209_599  # 14 days less one second
SIGN_IN_LIFE_S = 300


@dataclass(frozen=True, slots=True)
class Token:
    """`account_id`: the only account that the token is good for; None for all, and for the partner level."""

    expires_at: float
    account_id: str | None = None


@dataclass(frozen=True, slots=True)
class SignIn:
    expires_at: float
    account_id: str


@dataclass(slots=True)
class Tokens:
    """All tokens that are alive. `credentials`: client id -> secret; empty accepts any pair."""

    credentials: dict[str, str] = field(repr=False)
    now: Callable[[], float]
    dice: random.Random = field(repr=False)
    bearers: dict[str, Token] = field(default_factory=dict, repr=False)
    sign_ins: dict[str, SignIn] = field(default_factory=dict, repr=False)

    def issue(self, body: bytes, accounts: Mapping[str, Any], *, reject: bool) -> dict[str, Any]:
        """The answer of the token endpoint. Raises: `Refused` with Katana's bodies [inferred]."""
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        client_id = form.get("client_id", "")
        if form.get("grant_type") != "client_credentials":
            raise _token_error("unsupported_grant_type")
        if reject or not self._knows(client_id, form.get("client_secret", "")):
            raise _token_error("invalid_client")
        scope = form.get("scope")
        account_id = scope.removeprefix("account:") if scope else None
        if account_id is not None and account_id not in accounts:
            raise _token_error("invalid_scope")
        token, now = f"{self.dice.getrandbits(256):064x}", self.now()
        self.bearers[token] = Token(now + TOKEN_LIFE_S, account_id)
        return {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": TOKEN_LIFE_S,
            "clientId": client_id,
            ".refresh": "False",
            ".issued": formatdate(now, usegmt=True),
            ".expires": formatdate(now + TOKEN_LIFE_S, usegmt=True),
        }

    def authorise(self, header: str) -> Token:
        """The token of an Authorization header. Raises: `Refused` 401."""
        scheme, _, value = header.partition(" ")
        token = self.bearers.get(value.strip()) if scheme.lower() == "bearer" else None
        if token is None or token.expires_at <= self.now():
            raise Refused(401, DENIED)
        return token

    def issue_sign_in(self, account_id: str) -> tuple[str, float]:
        """A token for one use within 5 minutes, and when it ends."""
        value = f"{self.dice.getrandbits(256):064x}/+="  # characters that callers must encode in a URL
        self.sign_ins[value] = SignIn(self.now() + SIGN_IN_LIFE_S, account_id)
        return value, self.sign_ins[value].expires_at

    def use_sign_in(self, value: str) -> str | None:
        """The account that the token signs in to; None where it is used, too old or unknown."""
        sign_in = self.sign_ins.pop(value, None)
        return sign_in.account_id if sign_in is not None and sign_in.expires_at > self.now() else None

    def revoke_all(self) -> None:
        self.bearers.clear()

    def new_guid(self) -> str:
        return str(uuid.UUID(int=self.dice.getrandbits(128), version=4))

    def _knows(self, client_id: str, secret: str) -> bool:
        if not self.credentials:
            return bool(client_id and secret)
        return self.credentials.get(client_id) == secret


def _token_error(error: str) -> Refused:
    return Refused(400, error, body=compact({"error": error}))
