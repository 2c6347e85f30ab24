"""What aiohttp and httpx-aiohttp would do to a bulk install, each against a real socket."""

import asyncio
import datetime
import ssl
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.raw_server import RawServer, answer, close, cut, hang, in_turn, raw, reset
from worker.cyclr.errors import NeverSent, OutcomeUnknown
from worker.cyclr.transport import failure_of, find_proxy, open_http

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def _send(
    http: httpx.AsyncBaseTransport,
    method: str,
    url: str,
    *,
    connect_s: float | None = None,
    content: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """The whole answer."""
    timeout = httpx.Timeout(None, connect=connect_s, pool=connect_s)
    request = httpx.Request(
        method, url, content=content, headers=headers, extensions={"timeout": timeout.as_dict()}
    )
    response = await http.handle_async_request(request)
    async with aclosing(response):
        await response.aread()
    return response


async def _error_of(
    url: str, *, method: str = "POST", connect_s: float = 5.0, http: httpx.AsyncBaseTransport | None = None
) -> Exception:
    opened = http or open_http(url, max_connections=10)
    try:
        with pytest.raises(Exception) as raised:
            await _send(opened, method, f"{url}/v1.0/x", connect_s=connect_s, content=b"{}")
        return raised.value
    finally:
        if http is None:
            await opened.aclose()


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (reset, "the connection was reset before an answer came"),
        (close, "the connection was closed before an answer came"),
        (cut(200, {"Id": 1}), "the answer was cut off"),
        (raw(b"this is not HTTP\r\n\r\n"), "the answer could not be read (ClientResponseError)"),
    ],
)
def test_a_connection_lost_after_the_request_was_read_may_have_been_sent(reply, reason) -> None:
    async def scenario() -> None:
        async with RawServer(in_turn(reply)) as server:
            error = await _error_of(server.url)
            assert len(server.requests) == 1
            assert isinstance(failure_of(error), OutcomeUnknown)
            assert failure_of(error).reason == reason

    asyncio.run(scenario())


def test_a_refused_connection_was_never_sent() -> None:
    async def scenario() -> None:
        async with RawServer(in_turn(hang)) as server:
            url = server.url
        error = await _error_of(url)
        assert isinstance(failure_of(error), NeverSent)
        assert failure_of(error).reason == "no connection to the host, or it was refused"

    asyncio.run(scenario())


def test_an_unknown_host_was_never_sent() -> None:
    error = asyncio.run(_error_of("http://cyclr.invalid"))
    assert isinstance(failure_of(error), NeverSent)
    assert failure_of(error).reason == "the name of the host was not found (DNS)"


def test_a_failed_tls_handshake_was_never_sent() -> None:
    async def scenario() -> None:
        async with RawServer(
            in_turn(hang), before_request=raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        ) as server:
            error = await _error_of(server.url.replace("http:", "https:"))
            assert isinstance(failure_of(error), NeverSent)
            assert failure_of(error).reason == "the TLS handshake failed"

    asyncio.run(scenario())


def test_a_certificate_that_nobody_vouches_for_was_never_sent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RawServer(in_turn(answer(200)), tls=_self_signed(tmp_path)) as server:
            error = await _error_of(server.url)
            assert server.requests == []
            assert isinstance(failure_of(error), NeverSent)
            assert failure_of(error).reason == "the host's TLS certificate is not trusted"

    asyncio.run(scenario())


def test_a_connection_that_is_not_made_in_time_was_never_sent() -> None:
    async def scenario() -> None:
        async with RawServer(in_turn(hang), before_request=hang) as server:
            error = await _error_of(server.url.replace("http:", "https:"), connect_s=0.2)
            assert isinstance(failure_of(error), NeverSent)
            assert failure_of(error).reason == "no connection in time"

    asyncio.run(scenario())


def test_waiting_in_vain_for_a_free_connection_was_never_sent() -> None:
    async def scenario() -> None:
        async with RawServer(in_turn(hang)) as server:
            http = open_http(server.url, max_connections=1)
            first = asyncio.create_task(_send(http, "GET", server.url))
            while not server.requests:
                await asyncio.sleep(0.01)
            error = await _error_of(server.url, connect_s=0.2, http=http)
            first.cancel()
            await asyncio.wait({first})
            await http.aclose()
            assert len(server.requests) == 1
            assert isinstance(failure_of(error), NeverSent)
            assert failure_of(error).reason == "no connection in time"

    asyncio.run(scenario())


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_a_request_on_a_kept_connection_that_is_cut_is_not_repeated(method: str) -> None:
    async def scenario() -> None:
        async with RawServer(in_turn(answer(200), close)) as server:
            http = open_http(server.url, max_connections=1)
            await _send(http, "GET", server.url)
            error = await _error_of(server.url, method=method, http=http)
            await http.aclose()
            assert [r.method for r in server.requests] == ["GET", method]
            assert [r.connection for r in server.requests] == [0, 0]
            assert isinstance(failure_of(error), OutcomeUnknown)

    asyncio.run(scenario())


def test_a_cookie_of_one_answer_is_in_no_later_request() -> None:
    async def scenario() -> None:
        async with RawServer(in_turn(answer(200, Set_Cookie="session=of-one-account"))) as server:
            url = f"http://localhost:{server.port}"  # aiohttp keeps no cookies of bare addresses anyway
            http = open_http(url, max_connections=1)
            await _send(http, "GET", url)
            await _send(http, "GET", url)
            await http.aclose()
            assert len(server.requests) == 2
            assert "cookie" not in server.requests[1].headers

    asyncio.run(scenario())


def test_a_redirect_is_not_followed() -> None:
    async def scenario() -> None:
        async with RawServer(in_turn(answer(302, Location="/elsewhere"))) as server:
            http = open_http(server.url, max_connections=1)
            response = await _send(http, "POST", server.url)
            await http.aclose()
            assert response.status_code == 302
            assert len(server.requests) == 1

    asyncio.run(scenario())


def test_the_environments_proxy_is_used_with_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with RawServer(in_turn(answer(200))) as proxy:
            monkeypatch.setenv("http_proxy", f"http://user:word@127.0.0.1:{proxy.port}")
            http = open_http("http://cyclr.test", max_connections=1)
            await _send(http, "GET", "http://cyclr.test/v1.0/accounts")
            await http.aclose()
            (request,) = proxy.requests
            assert request.target == "http://cyclr.test/v1.0/accounts"
            assert request.headers["proxy-authorization"] == "Basic dXNlcjp3b3Jk"
            assert "authorization" not in request.headers

    asyncio.run(scenario())


def test_a_proxy_that_refuses_the_tunnel_was_never_sent_and_its_password_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        async with RawServer(in_turn(answer(407))) as proxy:
            monkeypatch.setenv("https_proxy", f"http://user:word@127.0.0.1:{proxy.port}")
            error = await _error_of("https://cyclr.test")
            assert [r.method for r in proxy.requests] == ["CONNECT"]
            assert isinstance(failure_of(error), NeverSent)
            assert failure_of(error).reason == "the proxy refused the connection (status 407)"

    asyncio.run(scenario())


def test_a_proxy_that_is_not_there_was_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with RawServer(in_turn(hang)) as server:
            port = server.port
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        error = await _error_of("https://cyclr.test")
        assert isinstance(failure_of(error), NeverSent)
        assert failure_of(error).reason == "the proxy was not reached"

    asyncio.run(scenario())


def test_a_proxy_that_cuts_the_tunnels_beginning_is_not_certain() -> None:
    async def scenario() -> None:
        async with RawServer(in_turn(close)) as proxy:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
                error = await _error_of("https://cyclr.test")
            assert isinstance(failure_of(error), OutcomeUnknown)

    asyncio.run(scenario())


def test_an_entry_for_the_host_in_netrc_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))

    async def scenario() -> None:
        async with RawServer(in_turn(answer(200))) as server:
            http = open_http(server.url, max_connections=1)
            await _send(http, "GET", server.url, headers={"Authorization": "Bearer ours"})
            await http.aclose()
            assert server.requests[0].headers["authorization"] == "Bearer ours"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "https://api.cyclr.com", None),
        ({"https_proxy": "http://proxy:3128"}, "https://api.cyclr.com", "http://proxy:3128"),
        ({"https_proxy": "proxy:3128"}, "https://api.cyclr.com", "http://proxy:3128"),
        ({"all_proxy": "http://proxy:3128"}, "https://api.cyclr.com", "http://proxy:3128"),
        ({"http_proxy": "http://proxy:3128"}, "https://api.cyclr.com", None),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "cyclr.com"}, "https://api.cyclr.com", None),
        ({"http_proxy": "http://proxy:3128"}, "http://127.0.0.1:8000", None),
        ({"http_proxy": "http://proxy:3128"}, "http://localhost:8000", None),
        ({"http_proxy": "http://proxy:3128"}, "http://[::1]:8000", None),
    ],
)
def test_the_proxy_for_a_url(
    variables: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_proxy(httpx.URL(url)) == proxy


def _self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
