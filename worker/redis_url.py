"""REDIS_URL: all that it may say, and how the two libraries that read it spell that.

redis-py is the limiter's, Celery's kombu the broker's; what one of them takes the other may ignore, or take for less. So both are
given a URL that is written here, and a TLS one always asks for a certificate and for the host's name in it.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

EXPECTED = "expected a URL such as redis://host:6379/0"
TLS, PLAIN, SOCKETS = "rediss", "redis", ("unix", "redis+socket")
DEFAULT_HOST = "127.0.0.1"
DATABASE = ("db", "virtual_host")  # beside the path; redis-py's and Celery's names
# Files: the CA's certificate, and the client's own with its key.
CA_FILE, CERTIFICATE_FILE, KEY_FILE = "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"
TLS_FILES = (CA_FILE, CERTIFICATE_FILE, KEY_FILE)
# May be written, though nothing else is done anyway: name -> what it may say.
ALWAYS = {
    "ssl_cert_reqs": ("required", "cert_required"),
    "ssl_check_hostname": ("true", "yes", "1"),
}
MAY_SAY = (*DATABASE, *TLS_FILES, *ALWAYS)
_NAME = re.compile(r"[a-z_]{1,40}")
_SEVERAL = re.compile(r"[,;]")


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """`database`: its number, as text. `files`: of `TLS_FILES`, those that are named. `path`: of a socket, else empty."""

    scheme: str
    username: str
    password: str = field(repr=False)
    host: str
    port: int | None
    path: str
    database: str
    files: Mapping[str, str]

    @property
    def is_tls(self) -> bool:
        return self.scheme == TLS

    @property
    def is_socket(self) -> bool:
        return self.scheme in SOCKETS

    def for_redis_py(self) -> str:
        if self.is_socket:
            return f"unix://{self._user()}{quote(self.path)}" + self._query(db=self.database)
        return self._over_tcp()

    def for_celery(self) -> str:
        if self.is_socket:
            return f"redis+socket://{self._user()}{quote(self.path)}" + self._query(
                virtual_host=self.database
            )
        return self._over_tcp()

    def _over_tcp(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port else ""
        path = f"/{self.database}" if self.database else ""
        always = {name: values[0] for name, values in ALWAYS.items()} if self.is_tls else {}
        return f"{self.scheme}://{self._user()}{host}{port}{path}" + self._query(**always, **self.files)

    def _user(self) -> str:
        if not self.username and not self.password:
            return ""
        # Celery takes a semicolon for the end of the URL.
        return f"{quote(self.username, safe='')}:{quote(self.password, safe='')}@"

    def _query(self, **values: str) -> str:
        said = {name: value for name, value in values.items() if value}
        return f"?{urlencode(said)}" if said else ""


def parse_redis_url(text: str) -> RedisUrl:
    """Raises: ValueError, in words that never show a part of the URL in which a password may be."""
    scheme, separator, rest = text.strip().partition("://")
    scheme = scheme.lower()
    _refuse_other_kinds(scheme, rest)
    if not separator or scheme not in (PLAIN, TLS, *SOCKETS):
        raise ValueError(EXPECTED)
    try:
        parts = urlsplit(f"redis://{rest}")  # read alike, whatever the scheme
        port = parts.port
    except ValueError:
        # A letter of a password was taken for an end of it: it must be written as %2F, say.
        raise ValueError(EXPECTED) from None
    if parts.fragment or "@" in parts.query:
        raise ValueError(EXPECTED)
    said = _read_query(scheme, parts.query)
    is_socket = scheme in SOCKETS
    path = unquote(parts.path)
    database = said.pop("db", "") or said.pop("virtual_host", "") or ("" if is_socket else path.strip("/"))
    if not re.fullmatch(r"\d{0,5}", database):
        raise ValueError(f"{EXPECTED}: what stands behind the host is the number of a database")
    if is_socket and not path.startswith("/"):
        raise ValueError("expected the path of a socket, such as unix:///run/redis.sock")
    files = {name: value for name, value in said.items() if name in TLS_FILES}
    return RedisUrl(
        scheme=scheme,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        host=unquote(parts.hostname or DEFAULT_HOST),
        port=port,
        path=path if is_socket else "",
        database=database,
        files=files,
    )


def require_redis_url(text: str) -> None:
    """Raises: ValueError as `parse_redis_url`, and where a file that the URL names cannot be used."""
    url = parse_redis_url(text)
    if KEY_FILE in url.files and CERTIFICATE_FILE not in url.files:
        raise ValueError(f"{KEY_FILE} needs {CERTIFICATE_FILE}, the certificate that the key is of")
    if url.files:
        _require_files(url.files)


def _require_files(files: Mapping[str, str]) -> None:
    # Not above: it takes time to load, and most have no use for it.
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    @contextmanager
    def as_file(name: str, expected: str) -> Iterator[None]:
        try:
            yield
        except ssl.SSLError:
            raise ValueError(f"{name}: {files[name]}: expected {expected}") from None
        except OSError as error:
            raise ValueError(f"{name}: {files[name]}: it cannot be read: {error.strerror}") from None

    if CA_FILE in files:
        with as_file(CA_FILE, "certificates in PEM"):
            context.load_verify_locations(cafile=files[CA_FILE])
    if CERTIFICATE_FILE in files:
        with as_file(CERTIFICATE_FILE, "certificates in PEM"):
            context.load_verify_locations(cafile=files[CERTIFICATE_FILE])
        with as_file(
            KEY_FILE if KEY_FILE in files else CERTIFICATE_FILE,
            "the certificate's key in PEM, without a passphrase",
        ):
            # A passphrase would be asked for, at a terminal that a process does not have.
            context.load_cert_chain(files[CERTIFICATE_FILE], files.get(KEY_FILE), password=lambda: b"")


def _refuse_other_kinds(scheme: str, rest: str) -> None:
    one = "name one server, or an address that leads to the one that may be written to, such as redis://host:6379/0"
    if "sentinel" in scheme:
        raise ValueError(f"Redis Sentinel is not supported: {one}")
    if "cluster" in scheme:
        raise ValueError(f"Redis Cluster is not supported: {one}")
    hosts = rest.partition("/")[0].rpartition("@")[2]
    if _SEVERAL.search(hosts):
        raise ValueError(f"several hosts are not supported: {one}")


def _read_query(scheme: str, query: str) -> dict[str, str]:
    said: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in MAY_SAY or name in said:
            shown = name if _NAME.fullmatch(name) else "what stands behind the question mark"
            raise ValueError(
                f"{shown} is not known here, or is said twice: the URL may say {', '.join(MAY_SAY)}"
            )
        if name.startswith("ssl_") and scheme != TLS:
            raise ValueError(f"{name} is for rediss://; nothing is encrypted over {scheme}://")
        if name in ALWAYS and value.lower() not in ALWAYS[name]:
            raise ValueError(
                f"{name} cannot be switched off: whoever answers would be believed. Name your own CA with"
                f" {CA_FILE}=FILE or SSL_CERT_FILE, and the host as it stands in the server's certificate"
            )
        if not value:
            raise ValueError(f"{name} has no value")
        said[name] = value
    return said
