"""Keys and records of TLS 1.3 for a test's server, made with `cryptography`."""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from tls_wire import APPLICATION_DATA, vector


def expand_label(secret: bytes, label: str, context: bytes = b"", size: int = 32) -> bytes:
    text = b"tls13 " + label.encode()
    info = size.to_bytes(2, "big") + vector(text, 1) + vector(context, 1)
    return HKDFExpand(hashes.SHA256(), size, info).derive(secret)


def extract(salt: bytes, key: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), key or bytes(32), "sha256")


class Keys:
    """One direction of traffic: AES-128-GCM under a traffic secret."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.sequence = 0
        self._aead = AESGCM(expand_label(secret, "key", size=16))
        self._iv = int.from_bytes(expand_label(secret, "iv", size=12), "big")

    def _nonce(self) -> bytes:
        self.sequence += 1
        return (self._iv ^ (self.sequence - 1)).to_bytes(12, "big")

    def seal(self, kind: int, content: bytes, padding: int = 0) -> bytes:
        """A whole record with TLSInnerPlaintext of ``kind``; kind 0 adds no type at all."""
        inner = content + (bytes([kind]) if kind else b"") + bytes(padding)
        header = bytes([APPLICATION_DATA, 3, 3]) + (len(inner) + 16).to_bytes(2, "big")
        return header + self._aead.encrypt(self._nonce(), inner, header)

    def open(self, record: bytes) -> tuple[int, bytes]:
        inner = self._aead.decrypt(self._nonce(), record[5:], record[:5]).rstrip(b"\0")
        return inner[-1], inner[:-1]

    def updated(self) -> Keys:
        return Keys(expand_label(self.secret, "traffic upd"))
