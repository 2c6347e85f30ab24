"""Settings from the environment or `.env`: read once, checked at start-up, passed down."""

import base64
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

import platformdirs
from pydantic import Field, PrivateAttr, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.domain.failures import ToldFailure
from worker.domain.targets import instance_key
from worker.redis_url import require_redis_url
from worker.setting_files import (
    ENV_FILE,
    SUFFIX,
    EnvFile,
    UnreadableFile,
    read_env_file,
    read_secret_files,
)

CLAIM_MARGIN_S = 8.0  # for the settle after the last moment at which a call may end
DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg", "sqlite")
MOST_USERNAME_CHARACTERS = 200
ACCOUNT_ID_HERE = "{account_id}"  # in CYCLR_SIGNIN_USERNAME, for a user of each account's own
OUR_PREFIX = "CYCLR_"
CONNECTIONS = 6  # to PostgreSQL, of one process
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
HOST_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?"

# What is expected of each, what goes there, and which paths it may have.
URLS = {
    "cyclr_api_url": (
        "the API domain of your Cyclr instance, such as https://api.cyclr.com",
        "credentials",
        ("", "/v1.0"),
    ),
    "cyclr_service_url": (
        "the service domain of your Cyclr instance, such as https://acme-h.cyclr.com",
        "sign-in tokens",
        ("",),
    ),
    "cyclr_bulk_public_url": (
        "where customers reach these pages, without a path, such as https://connect.example.com",
        "links",
        ("",),
    ),
}

Networks = tuple[IPv4Network | IPv6Network, ...]


class InvalidSettings(ToldFailure):
    """Settings are missing or wrong. `problems`: one line for each, all of them. `doubts`: what else may be wrong.
    `is_deployed`: whether they are of a deployment."""

    def __init__(self, problems: list[str], doubts: tuple[str, ...] = ()) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.doubts = doubts
        self.is_deployed = any(
            os.environ.get(f"DATABASE_URL{end}") for end in ("", SUFFIX)
        )  # until `.env` is read

    def __str__(self) -> str:
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        return f"Settings (environment or .env) need attention:\n{lines}"


class CyclrSettings(BaseSettings):
    """All settings. `cyclr_api_url`, `cyclr_client_id` and `cyclr_client_secret` may be missing: `require_cyclr` asks for them."""

    # `.env` is read by `load_settings`, which says what is wrong with it.
    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    cyclr_allow_http_host: str | None = None  # before the URL, whose check asks for it
    cyclr_api_url: str | None = None
    cyclr_client_id: str | None = None
    cyclr_client_secret: SecretStr | None = None

    cyclr_calls_per_second: float = Field(10, gt=0, le=10_000)
    cyclr_burst: int = Field(10, ge=1, le=10_000)
    cyclr_concurrency: int = Field(250, ge=1, le=5_000)
    cyclr_timeout_s: float = Field(30, ge=0.2, le=600)
    cyclr_settle_s: float = Field(60, ge=0, le=3600)
    cyclr_retry_base_s: float = Field(1, ge=0.01, le=60)
    cyclr_max_attempts: int = Field(8, ge=1, le=50)
    cyclr_pause_above_percent: float = Field(20, ge=0, le=100)
    cyclr_secret_retention_h: float = Field(72, ge=0, le=100_000)

    cyclr_bulk_keep_jobs_d: float | None = Field(None, ge=1, le=36_500)

    cyclr_service_url: str | None = None
    cyclr_signin_username: str | None = None
    cyclr_bulk_public_url: str | None = None
    cyclr_bulk_hosts: str | None = None
    forwarded_allow_ips: str | None = None

    database_url: SecretStr | None = None
    cyclr_bulk_database_connections: int = Field(CONNECTIONS, ge=2, le=100)
    redis_url: SecretStr | None = None
    cyclr_bulk_sealing_keys: Annotated[SecretStr | None, NoDecode] = None
    cyclr_bulk_home: Path = Field(default_factory=lambda: platformdirs.user_data_path("cyclr-bulk"))

    _doubts: tuple[str, ...] = PrivateAttr(())

    @property
    def doubts(self) -> tuple[str, ...]:
        """What may be wrong with where the settings come from, though they can be used: a line for each."""
        return self._doubts

    @field_validator("cyclr_allow_http_host", "cyclr_client_id")
    @classmethod
    def _is_trimmed(cls, value: str | None) -> str | None:
        return (value or "").strip() or None

    @field_validator("cyclr_client_secret")
    @classmethod
    def _secret_is_trimmed(cls, value: SecretStr | None) -> SecretStr | None:
        trimmed = value.get_secret_value().strip() if value else ""
        return SecretStr(trimmed) if trimmed else None

    @field_validator(*URLS)
    @classmethod
    def _is_a_bare_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Spelled in one way only, and nobody on the way can read what goes there."""
        if not value or not value.strip():
            return None
        expected, goes_there, paths = URLS[str(info.field_name)]
        host, url = _bare_url(value, expected, paths=paths)
        if url.startswith("http://") and host not in LOOPBACK_HOSTS:
            allowed = info.data.get("cyclr_allow_http_host")
            if not allowed or allowed.casefold() != host:
                raise ValueError(
                    f"plain http would send {goes_there} unprotected to {host}; use https,"
                    " or name the host in CYCLR_ALLOW_HTTP_HOST"
                )
        return url

    @field_validator("cyclr_bulk_hosts")
    @classmethod
    def _are_host_names(cls, value: str | None) -> str | None:
        for number, name in enumerate(_listed(value), start=1):
            if not re.fullmatch(HOST_NAME, name):
                raise ValueError(
                    f"name {number}: expected a host's name without scheme, port or path, such as bulk.example.com;"
                    " several with commas between them"
                )
        return value or None

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _are_proxies(cls, value: str | None) -> str | None:
        _networks(value)
        return value or None

    @field_validator("cyclr_signin_username")
    @classmethod
    def _is_a_username(cls, value: str | None) -> str | None:
        name = (value or "").strip()
        if len(name) > MOST_USERNAME_CHARACTERS or not name.isprintable():
            raise ValueError(
                f"expected a username of at most {MOST_USERNAME_CHARACTERS} printable characters"
            )
        if re.sub(re.escape(ACCOUNT_ID_HERE), "", name).count("{"):
            raise ValueError(f"expected no braces but those of {ACCOUNT_ID_HERE}")
        return name or None

    @field_validator("cyclr_bulk_sealing_keys")
    @classmethod
    def _are_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value and value.get_secret_value().strip():
            parse_sealing_keys(value.get_secret_value())
            return value
        return None

    @field_validator("database_url")
    @classmethod
    def _is_a_database(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value().strip() if value else ""
        if not text:
            return None
        if text.partition(":")[0] not in DATABASE_SCHEMES or "://" not in text or not _can_be_read(text):
            # Never what came: it may hold a password.
            raise ValueError("expected a URL such as postgresql://user:password@host/database")
        return SecretStr(text)

    @field_validator("redis_url")
    @classmethod
    def _is_a_redis(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value().strip() if value else ""
        if not text:
            return None
        require_redis_url(text)
        return SecretStr(text)

    @property
    def api_host(self) -> str:
        """The instance's host as people know it, with its port where one is given."""
        return urlsplit(self.cyclr_api_url or "").netloc

    @property
    def host_names(self) -> frozenset[str]:
        """Further names, in lower case, that this server is reached by."""
        return frozenset(name.casefold() for name in _listed(self.cyclr_bulk_hosts))

    @property
    def proxies(self) -> Networks:
        """Whose word about the caller is believed; nobody's where none is named."""
        return _networks(self.forwarded_allow_ips)

    @property
    def instance_id(self) -> str:
        return instance_key(self.cyclr_api_url or "", self.cyclr_client_id or "")

    @property
    def claim_s(self) -> float:
        """How long a claim lasts: the limiter's horizon, one call's whole deadline, and a margin."""
        return 2.0 + self.cyclr_timeout_s + CLAIM_MARGIN_S

    @property
    def is_deployed(self) -> bool:
        """Whether these settings name a deployment's database; else the home of the embedded mode is meant."""
        return self.database_url is not None

    def as_environment(self) -> dict[str, str]:
        """As a process reads them that we start: what was set, so that a default stays one there. Holds secrets: for a
        child's environment only."""
        values = {
            name.upper(): value for name, value in self if value is not None and name in self.model_fields_set
        }
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in values.items()
        }

    def require_cyclr(self) -> None:
        """Raises: InvalidSettings, naming every setting that a call of Cyclr needs and that is missing."""
        self._require(self._missing_for_cyclr())

    def require_deployment(self, *, and_cyclr: bool = False) -> None:
        """Raises: InvalidSettings, naming every setting that a deployment needs and that is missing."""
        missing = self._missing_for_cyclr() if and_cyclr else []
        self._require(missing + self._missing_for_deployment())

    def missing_for_desk(self) -> list[str]:
        """What links for customers need and what is not set: one line for each, in words."""
        wanted = {
            "CYCLR_SERVICE_URL": (
                self.cyclr_service_url,
                "the service domain of your instance, such as https://acme-h.cyclr.com"
                " (Cyclr's console: Settings > General Settings)",
            ),
            "CYCLR_SIGNIN_USERNAME": (
                self.cyclr_signin_username,
                f"whom Cyclr signs a customer in as, such as connect+{ACCOUNT_ID_HERE}@example.com",
            ),
            "CYCLR_BULK_PUBLIC_URL": (
                self.cyclr_bulk_public_url,
                "where customers reach these pages, such as https://connect.example.com",
            ),
        }
        return _unset(wanted)

    def _require(self, missing: list[str]) -> None:
        if missing:
            raise InvalidSettings(missing)

    def _missing_for_cyclr(self) -> list[str]:
        wanted = {
            "CYCLR_API_URL": (
                self.cyclr_api_url,
                "the API domain of your instance, such as https://api.cyclr.com",
            ),
            "CYCLR_CLIENT_ID": (
                self.cyclr_client_id,
                "from Cyclr's console: Settings > OAuth Client Credentials",
            ),
            "CYCLR_CLIENT_SECRET": (self.cyclr_client_secret, "shown beside the client id"),
        }
        return _unset(wanted)

    def _missing_for_deployment(self) -> list[str]:
        wanted = {
            "DATABASE_URL": (
                self.database_url,
                "such as postgresql://user:password@host/database; without a deployment use `cyclr-bulk run`",
            ),
            "REDIS_URL": (self.redis_url, "such as redis://host:6379/0"),
            "CYCLR_BULK_SEALING_KEYS": (
                self.cyclr_bulk_sealing_keys,
                "make one with `cyclr-bulk new-sealing-key`",
            ),
        }
        return _unset(wanted)


def _unset(wanted: dict[str, tuple[Any, str]]) -> list[str]:
    return [f"{name} is not set: {hint}" for name, (value, hint) in wanted.items() if not value]


def _bare_url(text: str, expected: str, *, paths: tuple[str, ...]) -> tuple[str, str]:
    """The host in lower case, and the URL spelled in one way only. Raises: ValueError."""
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:  # a port or an address that is none
        host, port = None, None
        parts = urlsplit("")
    is_bare = parts.path.rstrip("/") in paths and not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme not in ("http", "https") or not host or not is_bare:
        raise ValueError(f"expected {expected}")
    shown = f"[{host}]" if ":" in host else host
    return host, f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _networks(text: str | None) -> Networks:
    """Raises: ValueError."""
    found: list[IPv4Network | IPv6Network] = []
    for number, part in enumerate(_listed(text), start=1):
        try:
            network = ip_network(part, strict=False)
        except ValueError:
            raise ValueError(
                f"entry {number}: expected the address or the network of a proxy, such as 10.0.0.7 or 10.0.0.0/24;"
                " several with commas between them"
            ) from None
        if not network.prefixlen:
            raise ValueError(
                f"entry {number}: this is every address, so anybody could say whom they speak for; name the network of the proxy"
            )
        found.append(network)
    return tuple(found)


def _can_be_read(url: str) -> bool:
    """False where a letter of a password is taken for an end of it: it must be written as %2F, say."""
    try:
        parts = urlsplit(url)
        # PostgreSQL's own programs take several hosts, each with its port.
        is_list = parts.scheme.startswith("postgres")
        hosts = parts.netloc.rpartition("@")[2].split(",") if is_list else [parts.netloc]
        for host in hosts:
            urlsplit(f"//{host}").port  # noqa: B018 - it is read where it is asked for
    except ValueError:
        return False
    return True


def parse_sealing_keys(text: str) -> dict[str, bytes]:
    """`id:base64 of 32 bytes, ...` as an ordered dict; the first key seals. Raises ValueError without showing a key."""
    keys: dict[str, bytes] = {}
    for number, part in enumerate(text.split(","), start=1):
        key_id, colon, encoded = part.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if not colon or not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", key_id) or len(key) != 32:
            raise ValueError(
                f"key {number}: expected `id:base64 of 32 bytes`; make one with `cyclr-bulk new-sealing-key`"
            )
        if key_id in keys:
            raise ValueError(f"key {number}: the id {key_id} is used twice")
        keys[key_id] = key
    return keys


def load_settings(
    *,
    needs_cyclr: bool = False,
    needs_deployment: bool | None = False,
    env_file: Path | None = ENV_FILE,
    **given: Any,
) -> CyclrSettings:
    """The settings of this environment and of `env_file`; `given` goes first, then the environment. A secret one may be in a
    file that its name with _FILE names.

    `needs_cyclr`: as if `require_cyclr` were called. `needs_deployment`: as with `require_deployment`; None: only where
    DATABASE_URL is set.

    Raises: InvalidSettings with all that is wrong or missing at once; only that `env_file` cannot be read, where it cannot.
    """
    found = EnvFile()
    if env_file is not None:
        try:
            found = read_env_file(env_file)
        except UnreadableFile as error:
            raise InvalidSettings([str(error)]) from None
    doubts = (*found.doubts, *_unknown(env_file, found.values))
    secrets = [name for name in secret_settings() if name not in given]
    of_files, problems = read_secret_files(secrets, (os.environ, found.values))
    faulty = {line.split()[0].removesuffix(":").removesuffix(SUFFIX).lower() for line in problems}
    given = _of_file(found.values) | of_files | given
    try:
        settings = CyclrSettings(**given)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        faulty |= {str(fault["loc"][0]) for fault in faults}
        problems += [_in_words(fault) for fault in faults]
        defaults = {
            name: CyclrSettings.model_fields[name].get_default(call_default_factory=True) for name in faulty
        }
        settings = CyclrSettings(**(given | defaults))
    settings._doubts = doubts
    if needs_deployment is None:
        needs_deployment = settings.is_deployed or "database_url" in faulty
    try:
        if needs_deployment:
            settings.require_deployment(and_cyclr=needs_cyclr)
        elif needs_cyclr:
            settings.require_cyclr()
    except InvalidSettings as missing:
        problems += [line for line in missing.problems if line.split()[0].lower() not in faulty]
    if problems:
        # Nothing of what was wrong hangs on this error: it may hold a secret.
        invalid = InvalidSettings(problems, doubts)
        invalid.is_deployed = needs_deployment
        raise invalid from None
    return settings


def secret_settings() -> list[str]:
    """The fields that hold secrets; of each, NAME_FILE may be set in place of NAME."""
    return [
        name
        for name, field in CyclrSettings.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    ]


def find_broker_url() -> str | None:
    """REDIS_URL, for Celery's main process, whose first word is about its broker. None where any setting is missing or wrong:
    `load_settings` says what."""
    try:
        url = load_settings().redis_url
    except InvalidSettings:
        return None
    return url.get_secret_value() if url else None


def _of_file(values: Mapping[str, str | None]) -> dict[str, str]:
    """What the file sets and the environment does not; an empty value sets nothing."""
    set_outside = {name.lower() for name, value in os.environ.items() if value}
    of_file = {name.lower(): value for name, value in values.items() if value}
    return {
        name: value
        for name, value in of_file.items()
        if name in CyclrSettings.model_fields and name not in set_outside
    }


def _unknown(env_file: Path | None, values: Mapping[str, str | None]) -> Iterator[str]:
    """Names that look like ours and are none."""
    places: tuple[tuple[str, Iterable[str]], ...] = ((str(env_file), values), ("environment", os.environ))
    known = [name.upper() for name in CyclrSettings.model_fields]
    known += [name.upper() + SUFFIX for name in secret_settings()]
    for place, names in places if env_file is not None else ():
        for name in names:
            if name.upper().startswith(OUR_PREFIX) and name.upper() not in known:
                similar = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.75)
                hint = f"; did you mean {similar[0]}?" if similar else ""
                yield f"{place}: {name} is no setting and is ignored{hint}"


def _in_words(fault: Any) -> str:
    name = ".".join(str(part) for part in fault["loc"]).upper()
    reason = str(fault["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
    return f"{name}: {reason}"
