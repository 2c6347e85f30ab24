"""Whom a request comes from, as the connection, a proxy that is known, and a stranger say."""

import pytest
from starlette.datastructures import Headers

from worker.settings import CyclrSettings
from worker.web.serving import _told, caller_group, is_among, read_address

PROXIES = CyclrSettings(forwarded_allow_ips="10.0.0.7, 10.1.0.0/16, 2001:db8:1::/64").proxies


def told(peer: str, *lines: str, **more: str) -> dict[str, object]:
    headers = Headers(
        raw=[(b"x-forwarded-for", line.encode()) for line in lines]
        + [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    )
    return _told(headers, read_address(peer), PROXIES)


@pytest.mark.parametrize(
    ("lines", "caller"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9"], "203.0.113.9"),  # the first was written by the caller himself
        (["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, 10.1.2.3"], "203.0.113.9"),  # through two proxies of ours
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["[2001:db8:2::9]:4711"], "2001:db8:2::9"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["nobody"], "10.0.0.7"),
        (["203.0.113.9, nobody"], "10.0.0.7"),
        (["10.1.2.3, 10.1.2.4"], "10.1.2.3"),
        ([""], "10.0.0.7"),
        ([], "10.0.0.7"),
        (["203.0.113.9, " + "10.1.0.1, " * 30], "10.0.0.7"),
    ],
)
def test_the_caller_is_the_last_one_that_no_proxy_of_ours_is(lines: list[str], caller: str):
    assert told("10.0.0.7", *lines)["client"] == (caller, 0)


def test_the_scheme_is_the_last_one_told():
    assert told("10.0.0.7", x_forwarded_proto="HTTPS")["scheme"] == "https"
    assert told("10.0.0.7", x_forwarded_proto="https, http")["scheme"] == "http"
    assert "scheme" not in told("10.0.0.7", x_forwarded_proto="gopher")


def test_only_those_that_are_named_are_proxies():
    known = [
        is_among(read_address(each), PROXIES) for each in ("10.0.0.7", "::ffff:10.0.0.7", "2001:db8:1::5")
    ]
    others = [
        is_among(read_address(each), PROXIES) for each in ("10.0.0.8", "127.0.0.1", "2001:db8:2::5", "")
    ]
    assert (known, others) == ([True] * 3, [False] * 4)
    assert CyclrSettings().proxies == ()


def test_a_network_of_ipv6_is_one_caller():
    assert caller_group("2001:db8:2:3:4:5:6:7") == caller_group("2001:db8:2:3::1") == "2001:db8:2:3::/64"
    assert caller_group("::ffff:203.0.113.9") == caller_group("203.0.113.9") == "203.0.113.9"
    assert caller_group("::1") == "::1"
