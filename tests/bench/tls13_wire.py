"""Records, keys and messages of TLS 1.3 for a test's server, made with `cryptography`.

It shares no line with the product's engine, and does not check what a server would.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
RETRY_RANDOM = hashlib.sha256(b"HelloRetryRequest").digest()
ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    90: "user_canceled",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    116: "certificate_required",
    120: "no_application_protocol",
}


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


def vector(content: bytes, size: int) -> bytes:
    """``content`` with its length before it in ``size`` bytes."""
    return len(content).to_bytes(size, "big") + content


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + vector(body, 3)


def record(kind: int, content: bytes, version: int = 0x0303) -> bytes:
    return bytes([kind]) + version.to_bytes(2, "big") + vector(content, 2)


def extensions(parts: Iterable[tuple[int, bytes]]) -> bytes:
    return vector(
        b"".join(number.to_bytes(2, "big") + vector(body, 2) for number, body in parts), 2
    )


class Reader:
    """Reads vectors off a buffer; an overrun is the engine's mistake and fails the test."""

    def __init__(self, buffer: bytes) -> None:
        self.rest = buffer

    def take(self, count: int) -> bytes:
        assert len(self.rest) >= count, f"{count} bytes wanted of {self.rest.hex()}"
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    def extensions(self) -> dict[int, bytes]:
        inside, found = Reader(self.vector(2)), {}
        while inside.rest:
            number = inside.number(2)
            assert number not in found, f"extension {number} twice"
            found[number] = inside.vector(2)
        return found


def split_messages(flight: bytes) -> Iterator[bytes]:
    while flight:
        size = 4 + int.from_bytes(flight[1:4], "big")
        assert len(flight) >= size
        yield flight[:size]
        flight = flight[size:]
