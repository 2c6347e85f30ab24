"""What the sealing keys are for: secrets at rest, and texts that leave us and come back.

Secrets: AES-256-GCM, the key's id in front, job, row and what they are for as associated data. Texts are signed, so that nobody else can make one;
what is signed can be read by anybody.
"""

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES = 12
_as_json = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":")
).encode  # `dumps` would make one for each


class SealBroken(Exception):
    """Sealed data cannot be opened: its key is not configured, or it belongs to another row or was changed."""


class Sealer:
    """Seals with the first key, opens with any. `keys`: id -> 32 bytes, ordered."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._first = next(iter(keys))

    def seal(self, secrets: Mapping[str, str], *, job_id: str, row_number: int) -> bytes:
        return self._seal_json(secrets, _belongs_to(job_id, row_number))

    def seal_undo(self, kept: Mapping[str, Any], *, job_id: str, row_number: int) -> bytes:
        """What the row has overwritten: it opens for no other row, and not as the row's own values."""
        return self._seal_json(kept, _undo_of(job_id, row_number))

    def _seal_json(self, value: Mapping[str, Any], belongs_to: str) -> bytes:
        return self.seal_bytes(_as_json(dict(value)).encode("utf-8", "surrogatepass"), belongs_to)

    def seal_bytes(self, data: bytes, belongs_to: str) -> bytes:
        """`belongs_to`: what this is and of what it is a part; it opens as nothing else."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._keys[self._first].encrypt(nonce, data, belongs_to.encode())
        return self._first.encode() + b":" + nonce + sealed

    def is_sealed_with_first(self, sealed: bytes) -> bool:
        """Whether it was the first key that sealed this."""
        return bytes(sealed).partition(b":")[0] == self._first.encode()

    def open(self, sealed: bytes, *, job_id: str, row_number: int) -> dict[str, str]:
        """Column -> value. Raises: SealBroken."""
        return self._open_json(sealed, _belongs_to(job_id, row_number))

    def open_undo(self, sealed: bytes, *, job_id: str, row_number: int) -> dict[str, Any]:
        """What `seal_undo` was given. Raises: SealBroken."""
        return self._open_json(sealed, _undo_of(job_id, row_number))

    def _open_json(self, sealed: bytes, belongs_to: str) -> dict[str, Any]:
        opened: dict[str, Any] = json.loads(
            self.open_bytes(sealed, belongs_to).decode("utf-8", "surrogatepass")
        )
        return opened

    def open_bytes(self, sealed: bytes, belongs_to: str) -> bytes:
        """Raises: SealBroken."""
        key_id, _, rest = bytes(sealed).partition(b":")
        key = self._keys.get(key_id.decode("ascii", "replace"))
        if key is None:
            raise SealBroken("sealed with a key that is not configured")
        try:
            return key.decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], belongs_to.encode())
        except (InvalidTag, ValueError):  # ValueError: cut off within the nonce
            raise SealBroken("sealed for another row, or changed") from None

    def find(self, sealed: bytes | None, *, job_id: str, row_number: int) -> dict[str, str] | None:
        """Column -> value; None where the sealed data is wiped or cannot be opened."""
        if sealed is None:
            return None
        try:
            return self.open(sealed, job_id=job_id, row_number=row_number)
        except SealBroken:
            return None


def _belongs_to(job_id: str, row_number: int) -> str:
    return f"{job_id}/{row_number}"


def _undo_of(job_id: str, row_number: int) -> str:
    return f"{job_id}/{row_number}/undo"


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
