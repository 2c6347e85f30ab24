"""Texts that leave us and come back: signed, so that nobody else can make one. What is signed can be read by anybody."""

import base64
import hashlib
import hmac
from collections.abc import Mapping

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Signer:
    """Signs with a key derived from the first sealing key, knows what any of them signed.

    `purpose`: a text signed for one purpose is nothing for another.
    """

    def __init__(self, sealing_keys: Mapping[str, bytes], purpose: str) -> None:
        self._keys = [_derived(key, purpose) for key in sealing_keys.values()]

    def sign(self, text: str) -> str:
        """Letters, digits, `-`, `_` and one dot: good for a cookie or a URL."""
        payload = _encoded(text.encode())
        return f"{payload}.{_encoded(_mac(self._keys[0], payload))}"

    def find(self, signed: str) -> str | None:
        """The text that was signed; None where it was not signed by us for this purpose."""
        payload, _, mac = signed.partition(".")
        for key in self._keys:
            if hmac.compare_digest(_encoded(_mac(key, payload)).encode(), mac.encode("utf-8", "replace")):
                return _decoded(payload)
        return None


def _derived(key: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"cyclr-bulk/{purpose}".encode()).derive(key)


def _mac(key: bytes, payload: str) -> bytes:
    return hmac.new(key, payload.encode("utf-8", "replace"), hashlib.sha256).digest()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(payload: str) -> str:
    return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
