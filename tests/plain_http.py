"""HTTP clients for servers on a loopback port.

httpx reads the machine's root certificates for every client, which takes 50 ms of CPU. These speak plain http, so all of
them are given one TLS context that trusts nobody.
"""

import ssl
from functools import cache
from typing import Any

import httpx


def http_client(**options: Any) -> httpx.Client:
    """`options`: of httpx.Client. No proxy of the environment is used."""
    return httpx.Client(verify=_no_roots(), trust_env=False, **options)


def async_http_client(**options: Any) -> httpx.AsyncClient:
    """The same for those who wait."""
    return httpx.AsyncClient(verify=_no_roots(), trust_env=False, **options)


# What a browser says of a form that a page of the server itself has sent.
AS_OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}


@cache
def _no_roots() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
