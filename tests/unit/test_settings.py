import base64
import os
from pathlib import Path

import pytest

from tests.started import start_process
from worker.bootstrap.installer import limit_of
from worker.cyclr.limiter_rule import Limit
from worker.settings import (
    CyclrSettings,
    InvalidSettings,
    find_broker_url,
    load_settings,
    parse_sealing_keys,
    secret_settings,
)

KEY = base64.b64encode(b"1" * 32).decode()
OTHER_KEY = base64.b64encode(b"2" * 32).decode()
COMPLETE = {
    "CYCLR_API_URL": "https://api.cyclr.com",
    "CYCLR_CLIENT_ID": "client-1",
    "CYCLR_CLIENT_SECRET": "s3cr3t",
}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine, and no `.env` of the checkout."""
    for name in os.environ:
        if name.upper().startswith(("CYCLR_", "DATABASE_URL", "REDIS_URL", "FORWARDED_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    def load(needs_cyclr: bool = False, **env: str) -> CyclrSettings:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        return load_settings(needs_cyclr=needs_cyclr)

    return load


def problems_of(load, **env: str) -> list[str]:
    with pytest.raises(InvalidSettings) as caught:
        load(**env)
    return caught.value.problems


def test_without_any_setting_the_defaults_hold(load):
    settings = load()
    assert settings.cyclr_calls_per_second == 10
    assert (settings.cyclr_burst, settings.cyclr_concurrency, settings.cyclr_timeout_s) == (10, 250, 30)
    assert (settings.cyclr_settle_s, settings.cyclr_retry_base_s, settings.cyclr_max_attempts) == (60, 1, 8)
    assert (settings.cyclr_pause_above_percent, settings.cyclr_secret_retention_h) == (20, 72)
    assert settings.claim_s == 40
    assert settings.cyclr_api_url is None


def test_a_limit_is_told_apart_from_a_default_also_in_a_process_that_is_started(load, monkeypatch):
    assert limit_of(load()) == Limit(10, 10, is_rate_set=False, is_burst_set=False)
    monkeypatch.setenv("CYCLR_BURST", "5")
    assert limit_of(load()) == Limit(10, 5, is_rate_set=False, is_burst_set=True)
    set_to_the_default = load(CYCLR_CALLS_PER_SECOND="10")
    assert limit_of(set_to_the_default) == Limit(10, 5, is_rate_set=True, is_burst_set=True)
    assert set_to_the_default.as_environment() == {"CYCLR_CALLS_PER_SECOND": "10.0", "CYCLR_BURST": "5"}


def test_a_burst_goes_with_a_rate_that_was_set(load, tmp_path: Path):
    (tmp_path / ".env").write_text("CYCLR_CALLS_PER_SECOND=2\n")
    assert limit_of(load()) == Limit(2, 10, is_rate_set=True, is_burst_set=True)


def test_what_cyclr_needs_is_asked_for_all_at_once(load):
    with pytest.raises(InvalidSettings) as caught:
        load().require_cyclr()
    assert str(caught.value) == (
        "Settings (environment or .env) need attention:\n"
        "  CYCLR_API_URL is not set: the API domain of your instance, such as https://api.cyclr.com\n"
        "  CYCLR_CLIENT_ID is not set: from Cyclr's console: Settings > OAuth Client Credentials\n"
        "  CYCLR_CLIENT_SECRET is not set: shown beside the client id"
    )


def test_complete_settings_are_enough(load):
    settings = load(**COMPLETE, needs_cyclr=True)
    assert settings.api_host == "api.cyclr.com"
    settings.require_cyclr()


def test_what_is_wrong_and_what_is_missing_come_together(load):
    assert problems_of(load, needs_cyclr=True, CYCLR_API_URL="nonsense", CYCLR_BURST="0") == [
        "CYCLR_API_URL: expected the API domain of your Cyclr instance, such as https://api.cyclr.com",
        "CYCLR_BURST: expected greater than or equal to 1",
        "CYCLR_CLIENT_ID is not set: from Cyclr's console: Settings > OAuth Client Credentials",
        "CYCLR_CLIENT_SECRET is not set: shown beside the client id",
    ]


def test_every_wrong_setting_is_named_at_once(load):
    assert problems_of(
        load,
        CYCLR_API_URL="http://api.example.com",
        CYCLR_CALLS_PER_SECOND="nan",
        CYCLR_BURST="many",
        CYCLR_CONCURRENCY="0",
        CYCLR_TIMEOUT_S="0",
        CYCLR_SETTLE_S="-1",
        CYCLR_RETRY_BASE_S="100",
        CYCLR_MAX_ATTEMPTS="1.5",
        CYCLR_PAUSE_ABOVE_PERCENT="101",
        CYCLR_SECRET_RETENTION_H="inf",
        DATABASE_URL="mysql://root:hunter2@db/x",
        REDIS_URL="hunter2",
        CYCLR_BULK_SEALING_KEYS="hunter2",
    ) == [
        "CYCLR_API_URL: plain http would send credentials unprotected to api.example.com; use https,"
        " or name the host in CYCLR_ALLOW_HTTP_HOST",
        "CYCLR_CALLS_PER_SECOND: expected a finite number",
        "CYCLR_BURST: expected a valid integer, unable to parse string as an integer",
        "CYCLR_CONCURRENCY: expected greater than or equal to 1",
        "CYCLR_TIMEOUT_S: expected greater than or equal to 0.2",
        "CYCLR_SETTLE_S: expected greater than or equal to 0",
        "CYCLR_RETRY_BASE_S: expected less than or equal to 60",
        "CYCLR_MAX_ATTEMPTS: expected a valid integer, unable to parse string as an integer",
        "CYCLR_PAUSE_ABOVE_PERCENT: expected less than or equal to 100",
        "CYCLR_SECRET_RETENTION_H: expected a finite number",
        "DATABASE_URL: expected a URL such as postgresql://user:password@host/database",
        "REDIS_URL: expected a URL such as redis://host:6379/0",
        "CYCLR_BULK_SEALING_KEYS: key 1: expected `id:base64 of 32 bytes`; make one with"
        " `cyclr-bulk new-sealing-key`",
    ]


def test_settings_are_read_from_a_dotenv_file_and_the_environment_goes_first(load, tmp_path: Path):
    (tmp_path / ".env").write_text("CYCLR_CLIENT_ID=from-file\nCYCLR_BURST=7\nOTHER=1\n")
    settings = load(CYCLR_CLIENT_ID="from-environment")
    assert (settings.cyclr_client_id, settings.cyclr_burst) == ("from-environment", 7)


def test_what_is_given_goes_before_the_environment(load, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CYCLR_BURST", "7")
    assert load_settings(cyclr_burst=9).cyclr_burst == 9


def test_an_empty_setting_is_one_that_is_not_set(load):
    settings = load(
        CYCLR_API_URL="", CYCLR_CLIENT_ID="  ", CYCLR_CLIENT_SECRET=" ", CYCLR_BURST="", REDIS_URL=""
    )
    assert (settings.cyclr_api_url, settings.cyclr_client_id, settings.cyclr_client_secret) == (
        None,
        None,
        None,
    )
    assert (settings.cyclr_burst, settings.redis_url) == (10, None)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("https://api.cyclr.com", "https://api.cyclr.com"),
        (" https://api.cyclr.com/ ", "https://api.cyclr.com"),
        ("https://api.cyclr.com/v1.0", "https://api.cyclr.com"),
        ("https://api.cyclr.com/v1.0/", "https://api.cyclr.com"),
        ("HTTPS://API.Cyclr.com", "https://api.cyclr.com"),
        ("https://api.cyclr.com:8443", "https://api.cyclr.com:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_the_api_url_is_spelled_in_one_way(load, given: str, meant: str):
    assert load(CYCLR_API_URL=given).cyclr_api_url == meant


@pytest.mark.parametrize(
    "given",
    [
        "api.cyclr.com",
        "ftp://api.cyclr.com",
        "https://",
        "https://api.cyclr.com/accounts",
        "https://api.cyclr.com/?a=b",
        "https://api.cyclr.com/#a",
        "https://user:hunter2@api.cyclr.com",
        "https://@api.cyclr.com",
        "https://api.cyclr.com:port",
        "https://[",
    ],
)
def test_what_is_no_api_domain_is_refused_without_being_shown(load, given: str):
    assert problems_of(load, CYCLR_API_URL=given) == [
        "CYCLR_API_URL: expected the API domain of your Cyclr instance, such as https://api.cyclr.com"
    ]


@pytest.mark.parametrize(
    "url", ["http://api.example.com", "HTTP://api.example.com", " http://localhost.example.com"]
)
def test_plain_http_is_refused_however_it_is_spelled(load, url: str):
    [problem] = problems_of(load, CYCLR_API_URL=url)
    assert problem.startswith("CYCLR_API_URL: plain http would send credentials unprotected to ")


def test_plain_http_is_for_the_host_that_was_named(load):
    env = {"CYCLR_API_URL": "http://stand-in.example:9000", "CYCLR_ALLOW_HTTP_HOST": " Stand-In.example "}
    assert load(**env).cyclr_api_url == "http://stand-in.example:9000"
    [problem] = problems_of(load, **env | {"CYCLR_ALLOW_HTTP_HOST": "another.example"})
    assert "plain http" in problem


def test_the_addresses_of_authorisation_links_are_bare_and_protected(load):
    settings = load(
        CYCLR_SERVICE_URL="https://Acme-H.cyclr.com/", CYCLR_BULK_PUBLIC_URL="http://127.0.0.1:8080"
    )
    assert settings.cyclr_service_url == "https://acme-h.cyclr.com"
    assert settings.cyclr_bulk_public_url == "http://127.0.0.1:8080"
    assert problems_of(
        load, CYCLR_SERVICE_URL="https://acme-h.cyclr.com/v1.0", CYCLR_BULK_PUBLIC_URL="http://example.com"
    ) == [
        "CYCLR_SERVICE_URL: expected the service domain of your Cyclr instance, such as https://acme-h.cyclr.com",
        "CYCLR_BULK_PUBLIC_URL: plain http would send links unprotected to example.com; use https,"
        " or name the host in CYCLR_ALLOW_HTTP_HOST",
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" jo@example.com ", "jo@example.com"),
        ("connect+{account_id}@example.com", "connect+{account_id}@example.com"),
        ("  ", None),
    ],
)
def test_a_sign_in_username_is_trimmed_and_may_hold_the_account_id(load, text: str, name: str | None):
    assert load(CYCLR_SIGNIN_USERNAME=text).cyclr_signin_username == name


@pytest.mark.parametrize("text", ["{account}@example.com", "a\tb", "x" * 201])
def test_a_sign_in_username_that_cannot_be_one_is_refused(load, text: str):
    [problem] = problems_of(load, CYCLR_SIGNIN_USERNAME=text)
    assert problem.startswith("CYCLR_SIGNIN_USERNAME: expected ")


def test_what_authorisation_links_need_is_told_by_name(load):
    missing = load(CYCLR_SERVICE_URL="https://acme-h.cyclr.com").missing_for_desk()
    assert [line.split()[0] for line in missing] == ["CYCLR_SIGNIN_USERNAME", "CYCLR_BULK_PUBLIC_URL"]


def test_one_instance_has_one_id_however_its_url_is_spelled(load):
    one = load(**COMPLETE).instance_id
    assert load(CYCLR_API_URL="https://API.cyclr.com/v1.0/").instance_id == one
    assert load(CYCLR_CLIENT_ID="client-2").instance_id != one


# Secrets


def test_no_secret_is_shown_by_the_settings(load):
    settings = load(
        **COMPLETE,
        DATABASE_URL="postgresql://u:hunter2@h/d",
        REDIS_URL="redis://:hunter3@h/0",
        CYCLR_BULK_SEALING_KEYS=f"k1:{KEY}",
    )
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        for secret in ("s3cr3t", "hunter2", "hunter3", KEY):
            assert secret not in text
    assert settings.cyclr_client_secret is not None
    assert settings.cyclr_client_secret.get_secret_value() == "s3cr3t"


def test_sealing_keys_come_in_order(load):
    assert parse_sealing_keys(f"new:{KEY}, old:{OTHER_KEY}") == {"new": b"1" * 32, "old": b"2" * 32}
    assert list(parse_sealing_keys(f"b:{KEY},a:{OTHER_KEY}")) == ["b", "a"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        KEY,
        f"k 1:{KEY}",
        f":{KEY}",
        f"{'k' * 33}:{KEY}",
        f"k1:{KEY[:-4]}",
        "k1:not base64 at all",
        "k1:schlüssel",
        f"k1;{KEY}",
    ],
)
def test_a_key_that_is_none_is_refused_and_not_shown(text: str):
    with pytest.raises(ValueError, match=r"^key 1: expected `id:base64 of 32 bytes`") as caught:
        parse_sealing_keys(text)
    assert not text or text not in str(caught.value)


def test_the_key_that_is_wrong_is_counted(load):
    [problem] = problems_of(load, CYCLR_BULK_SEALING_KEYS=f"k1:{KEY},k2:hunter2")
    assert problem.startswith("CYCLR_BULK_SEALING_KEYS: key 2: expected")
    assert "hunter2" not in problem


def test_one_id_for_two_keys_is_refused():
    with pytest.raises(ValueError, match="key 2: the id k1 is used twice"):
        parse_sealing_keys(f"k1:{KEY},k1:{OTHER_KEY}")


def test_an_error_about_settings_shows_no_secret(load):
    with pytest.raises(InvalidSettings) as caught:
        load(DATABASE_URL="mysql://u:hunter2@h/d", CYCLR_BULK_SEALING_KEYS="hunter2", CYCLR_BURST="hunter2")
    assert "hunter2" not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


SECRET_LINES = "CYCLR_CLIENT_ID=client-1\nCYCLR_CLIENT_SECRET=sécret\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (SECRET_LINES.encode("utf-16"), ".env: expected text in UTF-8, got UTF-16: save it as UTF-8"),
        (SECRET_LINES.encode("utf-16-le"), ".env: expected text in UTF-8, got UTF-16: save it as UTF-8"),
        (
            SECRET_LINES.encode("cp1252"),
            ".env, line 2: expected text in UTF-8, got other bytes: save it as UTF-8",
        ),
    ],
)
def test_a_dotenv_file_in_another_encoding_is_said_to_be_one(load, tmp_path: Path, content, problem):
    (tmp_path / ".env").write_bytes(content)
    assert problems_of(load) == [problem]


def test_a_dotenv_file_may_begin_with_a_byte_order_mark(load, tmp_path: Path):
    (tmp_path / ".env").write_bytes(SECRET_LINES.encode("utf-8-sig"))
    settings = load()
    assert settings.cyclr_client_id == "client-1"
    assert settings.cyclr_client_secret.get_secret_value() == "sécret"


def test_a_folder_named_as_the_dotenv_file_is_none(load, tmp_path: Path):
    (tmp_path / ".env").mkdir()
    assert load().doubts == ()


def test_a_dotenv_file_is_read_once_so_it_may_be_a_pipe(load, tmp_path: Path):
    os.mkfifo(tmp_path / ".env")
    with start_process(["/bin/sh", "-c", "echo CYCLR_BURST=7 > .env"], cwd=tmp_path):
        assert load().cyclr_burst == 7


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_dotenv_file_that_others_may_read_is_told(load, tmp_path: Path, mode: int):
    file = tmp_path / ".env"
    file.write_text("CYCLR_CLIENT_SECRET=s3cr3t\n")
    file.chmod(mode)
    [doubt] = load().doubts
    assert doubt == f".env: its mode {mode:o} lets others read what is in it; run chmod 600 .env"
    file.chmod(0o600)
    assert load().doubts == ()


def test_names_that_look_like_settings_and_are_none_are_told_without_their_values(load, tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text("CYCLR_CLIENT_SECRT=s3cr3t\ncyclr_burst=7\nCYCLR_ELSE=1\nANYTHING=2\n")
    file.chmod(0o600)
    assert load(CYCLR_API_ULR="https://api.cyclr.com").doubts == (
        ".env: CYCLR_CLIENT_SECRT is no setting and is ignored; did you mean CYCLR_CLIENT_SECRET?",
        ".env: CYCLR_ELSE is no setting and is ignored",
        "environment: CYCLR_API_ULR is no setting and is ignored; did you mean CYCLR_API_URL?",
    )


def test_what_is_doubtful_is_told_beside_what_is_missing(load, tmp_path: Path):
    with pytest.raises(InvalidSettings) as caught:
        load(
            needs_cyclr=True,
            CYCLR_API_URL="https://api.cyclr.com",
            CYCLR_CLIENT_ID="1",
            CYCLR_SECRET="s3cr3t",
        )
    assert caught.value.problems == ["CYCLR_CLIENT_SECRET is not set: shown beside the client id"]
    assert len(caught.value.doubts) == 1
    assert "s3cr3t" not in f"{caught.value} {caught.value.doubts}"


def test_a_line_of_the_dotenv_file_that_is_no_setting_is_told_without_its_text(load, tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text("CYCLR_BURST=7\n'CYCLR_CLIENT_SECRET s3cr3t\nCYCLR_CONCURRENCY=9\n")
    file.chmod(0o600)
    settings = load()
    assert settings.doubts == (".env, line 2: expected NAME=value, got another text, which is ignored",)
    assert (settings.cyclr_burst, settings.cyclr_concurrency) == (7, 9)


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:p@h1:5432,h2:5433/d", "postgres://h1,[::1]:5433/d", "postgresql://u:p,q@h1,h2:1/d"],
)
def test_the_database_may_have_several_hosts(load, url: str) -> None:
    assert load(DATABASE_URL=url).database_url.get_secret_value() == url


@pytest.mark.parametrize("url", ["postgresql://u:p@h1:5432,h2:x/d", "postgresql://u:hun,ter/2@h1/d"])
def test_a_list_of_hosts_that_cannot_be_read_is_refused(load, url: str) -> None:
    with pytest.raises(InvalidSettings, match="DATABASE_URL: expected a URL"):
        load(DATABASE_URL=url)


def test_proxies_are_addresses_and_networks_and_nobody_by_default(load):
    assert load().proxies == ()
    settings = load(FORWARDED_ALLOW_IPS="10.0.0.7, 10.1.2.3/16,2001:db8::/64")
    assert [str(network) for network in settings.proxies] == ["10.0.0.7/32", "10.1.0.0/16", "2001:db8::/64"]
    expected = (
        "expected the address or the network of a proxy, such as 10.0.0.7 or 10.0.0.0/24; several with commas"
        " between them"
    )
    for text in ("*", "localhost", "10.0.0.7:80"):
        assert problems_of(load, FORWARDED_ALLOW_IPS=f"10.0.0.7, {text}") == [
            f"FORWARDED_ALLOW_IPS: entry 2: {expected}"
        ]
    for everybody in ("0.0.0.0/0", "::/0"):
        assert problems_of(load, FORWARDED_ALLOW_IPS=everybody) == [
            "FORWARDED_ALLOW_IPS: entry 1: this is every address, so anybody could say whom they speak for; name the"
            " network of the proxy"
        ]


def test_further_hosts_are_names_alone(load):
    assert load(CYCLR_BULK_HOSTS=" Bulk.Example.com, web ").host_names == {"bulk.example.com", "web"}
    for text in ("https://bulk.example.com", "bulk.example.com:443", "*.example.com", "a b"):
        assert problems_of(load, CYCLR_BULK_HOSTS=text) == [
            "CYCLR_BULK_HOSTS: name 1: expected a host's name without scheme, port or path, such as bulk.example.com;"
            " several with commas between them"
        ]


# Secrets in files of their own


SECRETS = {
    "CYCLR_CLIENT_SECRET": "s3cr3t",
    "DATABASE_URL": "postgresql://u:hunter2@h/d",
    "REDIS_URL": "redis://:hunter3@h/0",
    "CYCLR_BULK_SEALING_KEYS": f"k1:{KEY}",
}


def test_these_are_the_settings_that_hold_secrets():
    assert {name.upper() for name in secret_settings()} == set(SECRETS)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_may_be_in_a_file_of_its_own(load, tmp_path: Path, name: str, end: str):
    path = tmp_path / "secret"
    path.write_bytes(SECRETS[name].encode() + end.encode())
    settings = load(**{f"{name}_FILE": str(path)})
    assert getattr(settings, name.lower()).get_secret_value() == SECRETS[name]
    assert settings.as_environment() == {name: SECRETS[name]}
    assert settings.doubts == ()


def test_the_file_of_a_secret_may_be_named_in_the_dotenv_file_and_the_environment_goes_first(
    load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("one", "other"):
        (tmp_path / name).write_text(name)
    dotenv = tmp_path / ".env"
    dotenv.touch(0o600)
    dotenv.write_text("CYCLR_CLIENT_SECRET_FILE=one\n")
    assert load().cyclr_client_secret.get_secret_value() == "one"
    monkeypatch.setenv("CYCLR_CLIENT_SECRET", "of the environment")
    assert load().cyclr_client_secret.get_secret_value() == "of the environment"
    monkeypatch.delenv("CYCLR_CLIENT_SECRET")
    dotenv.write_text("CYCLR_CLIENT_SECRET=of .env\n")
    assert load(CYCLR_CLIENT_SECRET_FILE="other").cyclr_client_secret.get_secret_value() == "other"
    assert load_settings(cyclr_client_secret="given").cyclr_client_secret.get_secret_value() == "given"


def test_a_file_that_is_no_secret_is_named_without_what_is_in_it(load, tmp_path: Path):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "large").write_text("hunter2" * 10_000)
    (tmp_path / "bytes").write_bytes(b"hunter2\xff\xfe")
    (tmp_path / "keys").write_text("hunter2")
    problems = {
        "": ": it cannot be read: Is a directory",
        "none": "/none: it cannot be read: No such file or directory",
        "empty": "/empty: it is empty",
        "large": "/large: expected a secret of at most 65536 bytes, got more",
        "bytes": "/bytes: expected text in UTF-8, got other bytes",
    }
    for file, problem in problems.items():
        path = str(tmp_path / file)
        assert problems_of(load, REDIS_URL_FILE=path) == [f"REDIS_URL_FILE: {tmp_path}{problem}"]
    [problem] = problems_of(load, REDIS_URL_FILE="", CYCLR_BULK_SEALING_KEYS_FILE=str(tmp_path / "keys"))
    assert problem.startswith("CYCLR_BULK_SEALING_KEYS: key 1: expected `id:base64 of 32 bytes`")


def test_a_secret_that_is_set_in_both_ways_is_told_beside_what_else_is_wrong(load, tmp_path: Path):
    (tmp_path / "secret").write_text("hunter2")
    with pytest.raises(InvalidSettings) as caught:
        load(
            needs_cyclr=True,
            CYCLR_API_URL="https://api.cyclr.com",
            CYCLR_CLIENT_SECRET="hunter3",
            CYCLR_CLIENT_SECRET_FILE=str(tmp_path / "secret"),
            CYCLR_BURST="many",
        )
    assert caught.value.problems == [
        "CYCLR_CLIENT_SECRET and CYCLR_CLIENT_SECRET_FILE are both set: set one of them",
        "CYCLR_BURST: expected a valid integer, unable to parse string as an integer",
        "CYCLR_CLIENT_ID is not set: from Cyclr's console: Settings > OAuth Client Credentials",
    ]


def test_only_secrets_may_be_in_a_file(load):
    assert load(CYCLR_BURST_FILE="/run/secrets/burst").doubts == (
        "environment: CYCLR_BURST_FILE is no setting and is ignored; did you mean CYCLR_BURST?",
    )


def test_celerys_broker_is_found_wherever_it_stands_and_is_none_where_anything_is_wrong(
    load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert find_broker_url() is None
    (tmp_path / "url").write_text("redis://:hunter2@h/0\n")
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "url"))
    assert find_broker_url() == "redis://:hunter2@h/0"
    monkeypatch.setenv("CYCLR_BURST", "many")
    assert find_broker_url() is None
